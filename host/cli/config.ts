// `envoyscript config`: the Envoy YAML a filter needs.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Document } from "yaml";
import { bootstrap, type ClusterTarget, clusterFor, type FilterEntry, filterEntry } from "../envoy/bootstrap.js";
import { findEnvoy } from "../envoy/find.js";
import { validate } from "../envoy/validate.js";
import { readConfig } from "./arguments.js";
import { Failure } from "./failure.js";
import { checkConfig, clustersOf, loadModule } from "./module.js";
import { color, paint } from "./terminal.js";

export interface ConfigFlags {
  config?: string;
  filter?: string;
  cluster?: ClusterTarget[];
  wasm?: string;
  upstream?: string;
  bootstrap?: boolean;
  validate?: boolean;
  json?: boolean;
}

/** Where a cluster's address is not known. */
const PLACEHOLDER = "http://127.0.0.1:1";

export async function runConfig(files: string[], flags: ConfigFlags): Promise<void> {
  const config = readConfig(flags.config);
  const { wasm, manifest } = await loadModule(files, {});
  const used = await checkConfig(manifest, config, flags.filter);
  const name = flags.filter ?? (used.length === 1 ? used[0]!.name : path.basename(files[0]!).replace(/\.\w+$/, ""));
  const entry: FilterEntry = {
    name,
    wasm: flags.wasm ?? path.resolve(files[0]!.replace(/\.ts$/, ".wasm")),
    ...(flags.filter ? { rootId: flags.filter } : {}),
    ...(config === undefined ? {} : { config }),
  };
  const given = flags.cluster ?? [];
  const missing = clustersOf(manifest, used).filter((cluster) => cluster !== "upstream" && !given.some((c) => c.name === cluster));
  const clusters = [...given, ...missing.map((cluster) => ({ name: cluster, url: PLACEHOLDER }))];
  const whole = (of: FilterEntry) =>
    bootstrap({ filters: [of], upstream: { name: "upstream", url: flags.upstream ?? PLACEHOLDER }, clusters, port: 10000, adminPort: 9901 });
  if (flags.validate) await ask((file) => whole({ ...entry, wasm: file }), wasm);
  const document = flags.bootstrap ? whole(entry) : { http_filters: [filterEntry(entry)], clusters: clusters.map(clusterFor) };
  const unknown = [...missing, ...(flags.bootstrap && !flags.upstream ? ["upstream"] : [])];
  if (flags.json) {
    if (unknown.length) console.error(paint("yellow", placeholders(unknown), color.err));
    console.log(JSON.stringify(document, null, 2));
    return;
  }
  const head = [
    flags.bootstrap
      ? "A whole bootstrap: envoy -c this.yaml"
      : "http_filters: put the entry before envoy.filters.http.router. clusters: add to static_resources.clusters.",
    ...(files[0]!.endsWith(".wasm") ? [] : [`The module: envoyscript build ${files.join(" ")} -o ${entry.wasm}`]),
    ...(unknown.length ? [placeholders(unknown)] : []),
  ];
  console.log(`${head.map((line) => `# ${line}`).join("\n")}\n${await yaml(document, unknown)}`.trimEnd());
}

function placeholders(names: string[]): string {
  const options = names.map((name) => (name === "upstream" ? "--upstream http://host:port" : `--cluster ${name}=http://host:port`));
  return `PLACEHOLDER (127.0.0.1:1) as the address of ${names.join(", ")}: replace it, or give ${options.join(" ")}`;
}

/** The document as YAML; every address that is only a placeholder says so beside it. */
async function yaml(document: object, unknown: string[]): Promise<string> {
  const { Document: YamlDocument, isMap } = await import("yaml");
  const tree: Document = new YamlDocument(document);
  const clusters = ("clusters" in document ? document.clusters : (document as { static_resources: { clusters: unknown } }).static_resources.clusters) as {
    name: string;
  }[];
  for (const [i, { name }] of clusters.entries()) {
    if (!unknown.includes(name)) continue;
    const address = tree.getIn([
      ...("clusters" in document ? ["clusters"] : ["static_resources", "clusters"]),
      i,
      "load_assignment",
      "endpoints",
      0,
      "lb_endpoints",
      0,
      "endpoint",
      "address",
      "socket_address",
    ]);
    if (isMap(address)) address.commentBefore = ` PLACEHOLDER: put the address of ${name} here`;
  }
  return tree.toString({ lineWidth: 0 });
}

/** Envoy loads the module and hands it its configuration, as it would when it starts. */
async function ask(bootstrapFor: (file: string) => object, wasm: Uint8Array): Promise<void> {
  const binary = await findEnvoy((line) => console.error(line));
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-config-"));
  try {
    const file = path.join(directory, "filter.wasm");
    writeFileSync(file, wasm);
    const reason = await validate(binary.path, bootstrapFor(file));
    if (reason !== undefined) throw new Failure(`Envoy refuses the configuration: ${reason}`);
    console.error(paint("green", "Envoy accepts the configuration", color.err));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
