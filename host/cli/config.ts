// `envoyscript config`: the Envoy YAML a filter needs.
import path from "node:path";
import { type ClusterTarget, type FilterEntry, bootstrap, clusterFor, filterEntry } from "../envoy/bootstrap.js";
import { readConfig } from "./arguments.js";
import { checkConfig, clustersOf, loadModule } from "./module.js";

export interface ConfigFlags {
  config?: string;
  filter?: string;
  cluster?: ClusterTarget[];
  wasm?: string;
  upstream?: string;
  bootstrap?: boolean;
  json?: boolean;
}

/** Where a cluster's address is not known. */
const PLACEHOLDER = "http://127.0.0.1:1";

export async function runConfig(files: string[], flags: ConfigFlags): Promise<void> {
  const { manifest } = loadModule(files, {});
  const config = readConfig(flags.config);
  const used = await checkConfig(manifest, config, flags.filter);
  const name = flags.filter ?? (used.length === 1 ? used[0]!.name : path.basename(files[0]!).replace(/\.\w+$/, ""));
  const entry: FilterEntry = {
    name,
    wasm: flags.wasm ?? (files[0]!.endsWith(".wasm") ? path.resolve(files[0]!) : path.resolve(files[0]!.replace(/\.ts$/, ".wasm"))),
    ...(flags.filter ? { rootId: flags.filter } : {}),
    ...(config === undefined ? {} : { config }),
  };
  const given = flags.cluster ?? [];
  const missing = clustersOf(manifest, used).filter((cluster) => cluster !== "upstream" && !given.some((c) => c.name === cluster));
  const clusters = [...given, ...missing.map((cluster) => ({ name: cluster, url: PLACEHOLDER }))];
  const document = flags.bootstrap
    ? bootstrap({ filters: [entry], upstream: { name: "upstream", url: flags.upstream ?? PLACEHOLDER }, clusters, port: 10000, adminPort: 9901 })
    : { http_filters: [filterEntry(entry)], clusters: clusters.map(clusterFor) };
  if (flags.json) {
    console.log(JSON.stringify(document, null, 2));
    return;
  }
  const { stringify } = await import("yaml");
  const unknown = [...missing, ...(flags.bootstrap && !flags.upstream ? ["upstream"] : [])];
  const head = flags.bootstrap
    ? ["# A whole bootstrap: envoy -c this.yaml"]
    : ["# http_filters: put the entry before envoy.filters.http.router. clusters: add to static_resources.clusters."];
  if (unknown.length) head.push(`# The address of ${unknown.join(", ")} is a placeholder (127.0.0.1:1): replace it, or give --${unknown[0] === "upstream" ? "upstream URL" : `cluster ${unknown[0]}=http://host:port`}.`);
  console.log(`${head.join("\n")}\n${stringify(document, { lineWidth: 0 })}`.trimEnd());
}
