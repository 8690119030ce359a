// Starts the Node engine in a thread of its own and watches over it, as host/envoy/launch.ts does with a real Envoy.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { EngineLogLine } from "./engine.js";

export interface WorkerSettings {
  bootstrap: unknown;
  file: string;
  concurrency: number;
  wasmLogLevel: number;
  /** Two numbers: one counts while the thread is alive, the other log lines that have been taken from it. */
  beats: SharedArrayBuffer;
}

export type WorkerMessage =
  | { kind: "ready"; listeners: { name: string; host: string; port: number }[]; admin: { host: string; port: number } | undefined }
  | { kind: "log"; lines: EngineLogLine[] }
  | { kind: "output"; text: string }
  | { kind: "crash"; signal: string; call: string }
  | { kind: "ended"; how: number | string };

export interface NodeEngineOptions {
  bootstrap: unknown;
  file?: string;
  concurrency?: number;
  wasmLogLevel?: number;
  onLog?(line: EngineLogLine): void;
  onOutput?(text: string): void;
  /** File of the thread; the engine's own where it is not given. */
  worker?: string;
  /** A thread that has not moved for so long is in an endless loop. Default 10,000. */
  stuckMs?: number;
  /** Ends it, also while it starts. */
  signal?: AbortSignal;
}

export interface RunningNodeEngine {
  listeners: { name: string; host: string; port: number }[];
  /** `http://host:port` of the first listener; undefined where there is none. */
  url: string | undefined;
  adminUrl: string | undefined;
  /** Exit code, or the signal that a real Envoy would have died of, and why. */
  exited: Promise<{ code: number; reason: string }>;
  /** Resolves when it has ended; a thread that does not answer is ended by force. */
  stop(): Promise<void>;
}

const STOP_MS = 2000;

/** In which a thread that does not move is found out. */
const LOOKS = 20;

/** So many times longer may it take to start: a large configuration is read in one go. */
const START_FACTOR = 12;

/** Resolves when it serves; rejects with the reason that Envoy would have had. */
export async function launchNodeEngine(options: NodeEngineOptions): Promise<RunningNodeEngine> {
  const beats = new SharedArrayBuffer(8);
  const counter = new Int32Array(beats);
  const settings: WorkerSettings = {
    bootstrap: options.bootstrap,
    file: options.file ?? "bootstrap",
    concurrency: options.concurrency ?? 1,
    wasmLogLevel: options.wasmLogLevel ?? 2,
    beats,
  };
  const stuckMs = options.stuckMs ?? 10_000;
  const worker = new Worker(options.worker ?? workerFile(), { workerData: settings });
  let reason = "";
  let over = false;
  let onReady: ((message: Extract<WorkerMessage, { kind: "ready" }>) => void) | undefined;
  const ready = new Promise<Extract<WorkerMessage, { kind: "ready" }>>((resolve) => {
    onReady = resolve;
  });
  let onEnd!: (end: { code: number; reason: string }) => void;
  const exited = new Promise<{ code: number; reason: string }>((resolve) => {
    onEnd = resolve;
  });
  const end = (code: number, why: string) => {
    if (over) return;
    over = true;
    clearInterval(watch);
    onEnd({ code, reason: why });
  };
  let last = 0;
  // Looks are counted, not time: a process that is stopped and goes on later has not been stuck.
  let still = 0;
  const watch = setInterval(() => {
    const now = Atomics.load(counter, 0);
    still = now === last ? still + 1 : 0;
    last = now;
    if (still <= (now === 0 ? LOOKS * START_FACTOR : LOOKS)) return;
    void worker.terminate();
    end(1, `a filter has been in an endless loop for ${stuckMs / 1000} s (a real Envoy's worker would hang in it)`);
  }, stuckMs / LOOKS);
  watch.unref();
  worker.on("message", (message: WorkerMessage) => {
    if (message.kind === "ready") onReady?.(message);
    else if (message.kind === "log") {
      for (const line of message.lines) {
        if (line.level === "critical" && line.logger === "main") reason = line.text.split("\n").at(-1) ?? "";
        options.onLog?.(line);
      }
      Atomics.add(counter, 1, message.lines.length);
      Atomics.notify(counter, 1);
    } else if (message.kind === "output") options.onOutput?.(message.text);
    else if (message.kind === "crash") reason = `a real Envoy would ${message.signal === "hang" ? "hang" : `die (${message.signal})`} here: ${message.call}`;
    else end(message.how === 0 ? 0 : 1, reason || (message.how === 0 ? "exit code 0" : String(message.how)));
  });
  worker.on("error", (error) => end(1, `the engine failed: ${error.message}`));
  worker.on("exit", (code) => end(code, reason || `exit code ${code}`));

  const stop = async (): Promise<void> => {
    if (!over) worker.postMessage("terminate");
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS);
    });
    await Promise.race([exited, late]);
    clearTimeout(timer);
    end(1, "it did not answer and was ended by force");
    await worker.terminate();
  };

  const aborted = new Promise<{ code: 1; reason: string }>((resolve) => {
    const abort = () => resolve({ code: 1, reason: "it was ended before it served" });
    if (options.signal?.aborted) abort();
    else options.signal?.addEventListener("abort", abort, { once: true });
  });
  const first = await Promise.race([ready, exited, aborted]);
  if ("code" in first) {
    await stop();
    throw new Error(first.reason);
  }
  const { listeners, admin } = first;
  const authority = ({ host, port }: { host: string; port: number }) => `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return { listeners, url: listeners[0] && `http://${authority(listeners[0])}`, adminUrl: admin && `http://${authority(admin)}`, exited, stop };
}

/** Beside the bundle in an installed package. */
function workerFile(): string {
  const beside = fileURLToPath(new URL("./engine-worker.mjs", import.meta.url));
  return existsSync(beside) ? beside : fileURLToPath(new URL("../dist/engine-worker.mjs", import.meta.url));
}
