// `envoyscript/testing`: runs a filter in a test, on the Node engine in milliseconds or on a real Envoy, with the same test.
import { mountBoth } from "./both.js";
import { moduleFor } from "./module.js";
import { mountNode } from "./node.js";
import { checkOptions } from "./options.js";
import type { Module } from "./setting.js";
import type { Mounted, MountOptions } from "./types.js";

export { EnginesDiffer } from "./both.js";
export { FetchError, type FetchInit, type SeenRequest } from "./exchange.js";
export { type ClusterSpec, grpcMessages, grpcResponse, type Handler, http2, noHosts, refused, reset, trailersOf, withTrailers } from "./handlers.js";
export type { EngineName, LogRecord, Mounted, MountOptions, StreamRecord } from "./types.js";

const ENGINES = ["node", "envoy", "both"] as const;

/**
 * Mounts a filter: a TypeScript source (compiled once and cached) or a `.wasm`.
 *
 * @param file path of the source or module, relative to the working directory, or a file: URL
 * @throws TypeError for an option that there is not, Error with one line of what the compiler, Envoy or the filter's configuration says
 * @example
 * await using envoy = await mount("./who.ts", { config: { auth: "auth" }, clusters: { auth: () => new Response("ann") } });
 * const response = await envoy.fetch("/", { headers: { authorization: "t" } });
 */
export async function mount(file: string | URL, options: MountOptions = {}): Promise<Mounted> {
  checkOptions(options);
  const name = options.engine ?? (process.env.ENVOYSCRIPT_ENGINE || "node");
  const engine = ENGINES.find((candidate) => candidate === name);
  if (!engine) throw new Error(`ENVOYSCRIPT_ENGINE is "${name}": use ${ENGINES.join(", ")}`);
  const settings = { ...(options.memory ? { memory: options.memory } : {}), ...(options.budget === undefined ? {} : { budget: options.budget }) };
  const modules: Module[] = [{ path: await moduleFor(file, settings), config: options.config, filter: options.filter }];
  for (const { module, config, filter } of options.chain ?? []) modules.push({ path: await moduleFor(module, settings), config, filter });
  const { splits } = options;
  const seed = splits === undefined || splits === false ? undefined : splits === true ? Math.floor(Math.random() * 2 ** 31) : splits;
  const mounted = await mountOn(engine, modules, options, seed);
  await withTest(mounted, seed);
  return mounted;
}

async function mountOn(engine: (typeof ENGINES)[number], modules: Module[], options: MountOptions, seed: number | undefined): Promise<Mounted> {
  if (engine === "node") return mountNode(modules, options, seed);
  // A real Envoy takes longer to load than to be left out.
  const { mountEnvoy } = await import("./envoy.js");
  if (engine === "envoy") return mountEnvoy(modules, options, seed);
  const envoy = await mountEnvoy(modules, options, seed);
  try {
    return mountBoth(await mountNode(modules, options, seed), envoy);
  } catch (error) {
    await envoy.close().catch(() => {});
    throw error;
  }
}

/** In a test of vitest's: its end is the filter's too, whatever became of it, and the seed is printed where it fails. */
async function withTest(mounted: Mounted, seed: number | undefined): Promise<void> {
  if (!process.env.VITEST) return;
  try {
    const { onTestFailed, onTestFinished } = await import("vitest");
    // Leaks and faults are for those who close it themselves.
    onTestFinished(() => mounted.close().catch(() => {}));
    if (seed !== undefined) onTestFailed(() => console.error(`mount(): bodies were split with { splits: ${seed} }`));
  } catch {
    // Not inside a test: whoever mounts it for many tests closes it.
  }
}
