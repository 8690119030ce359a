// `envoyscript run`: serves a filter through a real Envoy, or the embedded engine, until Ctrl-C.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { bootstrap, type ClusterTarget } from "../envoy/bootstrap.js";
import type { LogLine } from "../envoy/log.js";
import { readConfig } from "./arguments.js";
import { type EngineName, NODE_BANNER, serve } from "./engine.js";
import { Failure, usage } from "./failure.js";
import { interruption } from "./interruption.js";
import { type BuildFlags, buildOptions, checkConfig, clustersOf, loadModule } from "./module.js";
import { ACCESS_LOG, explained, OWN_PORT, showAccess, showLog } from "./serving.js";
import { color, paint } from "./terminal.js";

export interface RunFlags extends Pick<BuildFlags, "memory" | "budget"> {
  config?: string;
  filter?: string;
  upstream?: string;
  engine?: EngineName;
  bootstrap?: string;
  cluster?: ClusterTarget[];
  port?: number;
  adminPort?: number;
  logLevel?: string;
}

/** What the bootstrap says itself. */
const WITHOUT_BOOTSTRAP = ["config", "filter", "upstream", "cluster", "port", "adminPort", "memory", "budget"] as const;

export async function runRun(files: string[], flags: RunFlags): Promise<void> {
  const engine = flags.engine ?? "envoy";
  if (flags.bootstrap !== undefined) {
    if (files.length > 0) throw usage("--bootstrap names the modules itself: give either files or --bootstrap");
    const other = WITHOUT_BOOTSTRAP.find((name) => flags[name] !== undefined);
    if (other) throw usage(`--bootstrap is a whole configuration: --${other.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} has to stand in it`);
    const { runBootstrap } = await import("./run-bootstrap.js");
    return runBootstrap(flags.bootstrap, engine, flags.logLevel);
  }
  if (files.length === 0) throw usage("name TypeScript files or a .wasm, or a whole configuration with --bootstrap");
  const { upstream } = flags;
  if (upstream === undefined) throw usage("required option '--upstream <url>' not specified");
  const config = readConfig(flags.config);
  const { wasm, manifest } = await loadModule(files, buildOptions({ ...flags, debug: true }));
  const used = await checkConfig(manifest, config, flags.filter);
  const clusters = flags.cluster ?? [];
  for (const name of clustersOf(manifest, used)) {
    if (name !== "upstream" && !clusters.some((c) => c.name === name))
      console.error(paint("yellow", `the filter calls cluster "${name}", which has no address: add --cluster ${name}=http://host:port`, color.err));
  }
  const interrupted = interruption();
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-run-"));
  try {
    const file = path.join(directory, "filter.wasm");
    writeFileSync(file, wasm);
    // Until Envoy is up, what goes wrong is the reason of the failure and is told then.
    let early: LogLine[] | undefined = [];
    const settings = {
      wasmLogLevel: flags.logLevel ?? "info",
      bootstrap: bootstrap({
        filters: [
          {
            name: flags.filter ?? used[0]?.name ?? "filter",
            wasm: file,
            ...(flags.filter ? { rootId: flags.filter } : {}),
            ...(config === undefined ? {} : { config }),
          },
        ],
        upstream: { name: "upstream", url: upstream },
        clusters,
        port: flags.port ?? 10000,
        adminPort: flags.adminPort ?? 0,
        listener: OWN_PORT,
        accessLog: ACCESS_LOG,
      }),
      onLog: (line: LogLine) => (early ? void early.push(line) : showLog(line)),
      onOutput: showAccess,
      signal: interrupted.signal,
    };
    const envoy = await serve(engine, settings, (line) => console.error(line));
    try {
      if (engine === "node") console.log(paint("yellow", NODE_BANNER));
      console.log(`${paint("green", "serving")}  ${envoy.url} → ${upstream}`);
      console.log(`${paint("dim", "admin")}    ${envoy.adminUrl}   ${paint("dim", "Ctrl-C ends")}`);
      early.forEach(showLog);
      early = undefined;
      const end = await Promise.race([interrupted.promise, envoy.exited]);
      if (end !== "interrupted" && !interrupted.came()) throw new Failure(`${engine === "node" ? "the engine" : "Envoy"} ended: ${end.reason}`);
    } finally {
      await envoy.stop();
    }
  } catch (error) {
    if (!interrupted.came()) throw explained(error);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
