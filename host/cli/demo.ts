// `npm start`: the examples on a real Envoy (or the embedded engine, where none can be had), behind one listener, each on a path of its own.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { bootstrap } from "../envoy/bootstrap.js";
import { cacheDirectory, findEnvoy } from "../envoy/find.js";
import { guestText } from "../envoy/log.js";
import { upwards } from "../upwards.js";
import { writeAtomically } from "./atomic.js";
import { showExchanges } from "./demo-exchanges.js";
import { type DemoServers, startServers } from "./demo-servers.js";
import { type EngineName, NODE_BANNER, type Serving, serve } from "./engine.js";
import { Failure } from "./failure.js";
import { type Interruption, interruption } from "./interruption.js";
import { buildOrExplain } from "./module.js";
import { explained, OWN_PORT, showLog } from "./serving.js";
import { bytes, paint } from "./terminal.js";

export interface DemoFlags {
  once?: boolean;
  port?: number;
}

const EXAMPLES: { name: string; config?: unknown }[] = [
  { name: "headers", config: { greeting: "hello" } },
  { name: "auth", config: { cluster: "auth" } },
  { name: "mask", config: { fields: ["password", "token"] } },
  { name: "buggy" },
];

export async function runDemo(flags: DemoFlags): Promise<void> {
  const modules = await buildExamples();
  const engine = await chooseEngine();
  const interrupted = interruption();
  const servers = await startServers();
  try {
    await demonstrate(engine, modules, servers, flags, interrupted);
  } catch (error) {
    if (!interrupted.came()) throw explained(error);
  } finally {
    await servers.close();
  }
}

async function demonstrate(
  engine: { name: EngineName; source: string },
  modules: Record<string, string>,
  servers: DemoServers,
  flags: DemoFlags,
  interrupted: Interruption,
): Promise<void> {
  const guestLog: string[] = [];
  let watching = false;
  const envoy = await serve(
    engine.name,
    {
      bootstrap: demoBootstrap(modules, servers, flags.port ?? (flags.once ? 0 : 10000)),
      onLog: (line) => {
        if (line.logger === "wasm") guestLog.push(guestText(line.text) ?? line.text);
        if (watching) showLog(line);
      },
      signal: interrupted.signal,
    },
    (line) => console.log(line),
  );
  try {
    console.log(
      `\n${paint("green", engine.name === "envoy" ? "Envoy is up" : "The engine is up")}  ${envoy.url}   admin ${envoy.adminUrl}   ${paint("dim", `(${engine.source})`)}`,
    );
    const outcome = await Promise.race([showExchanges(envoy, servers, guestLog).catch((error) => reasonOf(error, envoy)), interrupted.promise, ended(envoy)]);
    if (outcome === "interrupted") return;
    if (!outcome) throw new Failure("an example did not do what it should (see ✗ above)");
    console.log("\nEvery example did what it should.");
    if (flags.once) return;
    watching = true;
    console.log(
      `\nTry it:  curl -i ${envoy.url}/headers\n         curl -i -H 'authorization: ann' ${envoy.url}/auth\n         curl ${envoy.url}/mask\n         curl -i ${envoy.url}/buggy`,
    );
    console.log(paint("dim", "Ctrl-C ends."));
    await Promise.race([interrupted.promise, ended(envoy)]);
  } finally {
    await envoy.stop();
  }
}

/** A real Envoy where one is here or can be fetched; otherwise the embedded engine, and a banner that says so. */
async function chooseEngine(): Promise<{ name: EngineName; source: string }> {
  try {
    const { source } = await findEnvoy((line) => console.log(line));
    return { name: "envoy", source: source === "project" ? "the project's own" : `from ${source}` };
  } catch (error) {
    // Whoever names an Envoy wants that one.
    if (process.env.ENVOY_BIN) throw error;
    console.log(`\n${paint("yellow", `No Envoy: ${error instanceof Error ? error.message : error}`)}`);
    console.log(paint("yellow", `So ${NODE_BANNER}.`));
    return { name: "node", source: "embedded" };
  }
}

/** Rejects when Envoy ends. */
async function ended(envoy: Serving): Promise<never> {
  throw new Failure(`Envoy ended: ${(await envoy.exited).reason}`);
}

/** A broken connection is seen a moment before the end of the Envoy that broke it. */
async function reasonOf(error: unknown, envoy: Serving): Promise<never> {
  let timer: NodeJS.Timeout | undefined;
  const later = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 1000);
  });
  await Promise.race([ended(envoy), later]).finally(() => clearTimeout(timer));
  throw error;
}

/** Compiles the examples, or takes what an earlier start compiled from the same sources with the same compiler. */
async function buildExamples(): Promise<Record<string, string>> {
  const sdk = guestDirectory();
  const directory = path.join(cacheDirectory(), "examples");
  mkdirSync(directory, { recursive: true });
  // The entry names its chunks by their contents: it stands for the whole compiler.
  const compiler = path.join(path.dirname(fileURLToPath(import.meta.url)), "envoyscript.mjs");
  const state = contentHash([...filesUnder(sdk, ".ts").filter((file) => !file.includes("examples")), compiler]);
  const modules: Record<string, string> = {};
  for (const { name } of EXAMPLES) {
    const source = path.join(sdk, "examples", `${name}.ts`);
    const file = path.join(directory, `${name}-${createHash("sha256").update(state).update(readFileSync(source)).digest("hex").slice(0, 16)}.wasm`);
    if (!existsSync(file)) {
      const started = performance.now();
      const { wasm } = await buildOrExplain([path.relative(process.cwd(), source)], {});
      for (const old of readdirSync(directory)) if (old.startsWith(`${name}-`)) rmSync(path.join(directory, old), { force: true });
      writeAtomically(file, wasm);
      console.log(
        `built ${path.relative(process.cwd(), source)}  ${paint("dim", `${bytes(wasm.length)}, ${((performance.now() - started) / 1000).toFixed(1)} s`)}`,
      );
    }
    modules[name] = file;
  }
  return modules;
}

/** The guest package of this repository. (The compiler knows it too, but takes a second to load.) */
function guestDirectory(): string {
  const root = upwards(path.dirname(fileURLToPath(import.meta.url)), (directory) =>
    existsSync(path.join(directory, "guest", "examples")) ? directory : undefined,
  );
  if (root === undefined) throw new Failure("the examples are not here: clone the repository and run npm start in it");
  return path.join(root, "guest");
}

function filesUnder(directory: string, ending: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending) && !name.includes("node_modules"))
    .sort()
    .map((name) => path.join(directory, name));
}

function contentHash(files: string[]): Buffer {
  const sum = createHash("sha256");
  for (const file of files) sum.update(`${path.basename(file)}\0`).update(readFileSync(file));
  return sum.digest();
}

/** One listener; on each path one of the examples is on, the others are switched off by their route. */
function demoBootstrap(modules: Record<string, string>, servers: DemoServers, port: number): object {
  const off = (name: string) => [name, { "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", disabled: true }];
  const routes = EXAMPLES.map(({ name }) => ({
    match: { prefix: `/${name}` },
    route: { cluster: "upstream" },
    typed_per_filter_config: Object.fromEntries(EXAMPLES.filter((other) => other.name !== name).map((other) => off(other.name))),
  }));
  return bootstrap({
    filters: EXAMPLES.map(({ name, config }) => ({ name, wasm: modules[name]!, ...(config ? { config } : {}) })),
    upstream: { name: "upstream", url: servers.upstream.url },
    clusters: [{ name: "auth", url: servers.auth.url }],
    port,
    listener: OWN_PORT,
    hcm: { route_config: { name: "routes", virtual_hosts: [{ name: "all", domains: ["*"], routes }] } },
  });
}
