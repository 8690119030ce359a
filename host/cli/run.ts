// `envoyscript run`: serves a filter through a real Envoy until Ctrl-C.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type ClusterTarget, bootstrap } from "../envoy/bootstrap.js";
import { findEnvoy } from "../envoy/find.js";
import { type LogLine, launchEnvoy } from "../envoy/launch.js";
import { checkedUrl, readConfig } from "./arguments.js";
import { Failure } from "./failure.js";
import { checkConfig, clustersOf, loadModule } from "./module.js";
import { paint } from "./terminal.js";

export interface RunFlags {
  config?: string;
  filter?: string;
  upstream: string;
  cluster?: ClusterTarget[];
  port?: number;
  adminPort?: number;
  logLevel?: string;
  memory?: number;
  budget?: number;
}

export async function runRun(files: string[], flags: RunFlags): Promise<void> {
  checkedUrl(flags.upstream);
  const config = readConfig(flags.config);
  const { wasm, manifest } = loadModule(files, {
    ...(flags.memory === undefined ? {} : { memory: flags.memory }),
    ...(flags.budget === undefined ? {} : { budget: flags.budget }),
  });
  const used = await checkConfig(manifest, config, flags.filter);
  const clusters = flags.cluster ?? [];
  for (const name of clustersOf(manifest, used)) {
    if (name !== "upstream" && !clusters.some((c) => c.name === name)) console.error(paint("yellow", `the filter calls cluster "${name}", which has no address: --cluster ${name}=http://host:port`));
  }
  const binary = await findEnvoy((line) => console.error(line));
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-run-"));
  const file = path.join(directory, "filter.wasm");
  writeFileSync(file, wasm);
  const interrupted = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
  });
  try {
    const envoy = await launchEnvoy({
      binary: binary.path,
      wasmLogLevel: flags.logLevel ?? "info",
      bootstrap: bootstrap({
        filters: [{ name: flags.filter ?? used[0]?.name ?? "filter", wasm: file, ...(flags.filter ? { rootId: flags.filter } : {}), ...(config === undefined ? {} : { config }) }],
        upstream: { name: "upstream", url: flags.upstream },
        clusters,
        port: flags.port ?? 10000,
        adminPort: flags.adminPort ?? 0,
        accessLog: "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% → %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %DURATION% ms",
      }),
      onLog: showLog,
      onOutput: (line) => console.log(paint("dim", line)),
    });
    console.log(`${paint("green", "serving")}  ${envoy.url} → ${flags.upstream}`);
    console.log(`${paint("dim", "admin")}    ${envoy.adminUrl}   ${paint("dim", "Ctrl-C ends")}`);
    const end = await Promise.race([interrupted, envoy.exited]);
    if (end) throw new Failure(`Envoy ended: ${end.reason}`);
    await envoy.stop();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const STYLES: Record<string, "dim" | "blue" | "yellow" | "red"> = { trace: "dim", debug: "dim", info: "blue", warning: "yellow", error: "red", critical: "red" };

/** Guest lines without Envoy's prefix; of Envoy itself only what went wrong. */
export function showLog(line: LogLine): void {
  const guest = /^wasm log[^:]*: (.*)$/s.exec(line.text);
  if (!guest && line.level !== "error" && line.level !== "critical") return;
  console.log(`${paint(STYLES[line.level] ?? "dim", line.level.padEnd(7))}  ${guest ? guest[1] : line.text}`);
}
