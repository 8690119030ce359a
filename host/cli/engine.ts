// The two engines behind one face: a real Envoy, or the embedded one in a thread.
import { findEnvoy } from "../envoy/find.js";
import { type LogLine, launchEnvoy } from "../envoy/launch.js";
import { launchNodeEngine } from "../proxy/launch.js";
import { LEVELS } from "../vm/environment.js";

export type EngineName = "envoy" | "node";

export interface ServingOptions {
  bootstrap: object;
  /** What the bootstrap was read from. */
  file?: string;
  /** Level of the wasm logger, as Envoy names it or "warn". */
  wasmLogLevel?: string;
  onLog?(line: LogLine & { thread?: "main" | "worker" }): void;
  /** Lines of the access log. */
  onOutput?(line: string): void;
  /** Ends it, also while it starts. */
  signal: AbortSignal;
}

export interface Serving {
  /** Of the first listener. */
  url: string | undefined;
  adminUrl: string | undefined;
  exited: Promise<{ code: number | null; reason: string }>;
  stop(): Promise<void>;
}

/** `progress` gets a line where an Envoy has to be fetched first. */
export async function serve(engine: EngineName, options: ServingOptions, progress: (line: string) => void): Promise<Serving> {
  const level = options.wasmLogLevel === "warn" ? "warning" : (options.wasmLogLevel ?? "info");
  if (engine === "envoy") {
    const { path: binary } = await findEnvoy(progress);
    return launchEnvoy({ ...options, binary, wasmLogLevel: level });
  }
  let rest = "";
  return launchNodeEngine({
    bootstrap: options.bootstrap,
    file: options.file ?? "bootstrap",
    signal: options.signal,
    wasmLogLevel: LEVELS.indexOf(level as (typeof LEVELS)[number]),
    onLog: (line) => options.onLog?.(line),
    onOutput: (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) options.onOutput?.(line);
    },
  });
}

/** Said where the embedded engine serves. */
export const NODE_BANNER = "the embedded engine serves, not a real Envoy (it behaves like Envoy 1.40 for filters; not for production)";
