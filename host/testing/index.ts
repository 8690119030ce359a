// `envoyscript/testing`: runs a filter in a test, on the Node engine in milliseconds or on a real Envoy, with the same test.
import { mountBoth } from "./both.js";
import { moduleFor } from "./module.js";
import { mountNode } from "./node.js";
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
 * @param file path of the source or module
 * @throws Error with one line: what the compiler, Envoy or the filter's configuration says
 * @example
 * const envoy = await mount("./who.ts", { config: { auth: "auth" }, clusters: { auth: () => new Response("ann") } });
 * const response = await envoy.fetch("/", { headers: { authorization: "t" } });
 * await envoy.close();
 */
export async function mount(file: string, options: MountOptions = {}): Promise<Mounted> {
  const name = options.engine ?? (process.env.ENVOYSCRIPT_ENGINE || "node");
  const engine = ENGINES.find((candidate) => candidate === name);
  if (!engine) throw new Error(`ENVOYSCRIPT_ENGINE is "${name}": use ${ENGINES.join(", ")}`);
  const settings = { ...(options.memory ? { memory: options.memory } : {}), ...(options.budget === undefined ? {} : { budget: options.budget }) };
  const modules: Module[] = [{ path: await moduleFor(file, settings), config: options.config, filter: options.filter }];
  for (const { module, config, filter } of options.chain ?? []) modules.push({ path: await moduleFor(module, settings), config, filter });
  const seed =
    options.splits === undefined || options.splits === false ? undefined : options.splits === true ? Math.floor(Math.random() * 2 ** 31) : options.splits;
  if (seed !== undefined) await showOnFailure(seed);
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

/** Has vitest print the seed where the test that runs fails. */
async function showOnFailure(seed: number): Promise<void> {
  try {
    const { onTestFailed } = await import("vitest");
    onTestFailed(() => console.error(`mount(): bodies were split with { splits: ${seed} }`));
  } catch {
    // No vitest, or not inside a test.
  }
}
