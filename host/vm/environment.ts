// What all VMs of one process share, and what they need of whoever runs them: log, clock, timers, calls to other servers, statistics.
import type { Bytes } from "./bytes.js";
import type { HeaderMap } from "./headermap.js";
import type { MetricStore } from "./metrics.js";
import type { SharedData, SharedQueues } from "./shared.js";
import type { Clock } from "./stream-info.js";

/** spdlog's numbers, which are proxy-wasm's too; 6 is off. */
export const LEVELS = ["trace", "debug", "info", "warning", "error", "critical", "off"] as const;
export type Level = (typeof LEVELS)[number];

/** One of Envoy's threads. All of them run in one here, each with VMs of its own. */
export interface Thread {
  readonly name: "main" | "worker";
  readonly index: number;
}

/** What the caller of `send` hears; exactly one of the two, unless it cancels. */
export interface HttpCallCallbacks {
  onSuccess(headers: HeaderMap, body: Bytes, trailers: HeaderMap | undefined): void;
  onFailure(): void;
}

export interface AsyncStreamCallbacks {
  onHeaders(headers: HeaderMap, endStream: boolean): void;
  onData(data: Bytes, endStream: boolean): void;
  onTrailers(trailers: HeaderMap): void;
  /** The response is complete. */
  onComplete(): void;
  onReset(): void;
  /** Details of what the proxy answered itself, e.g. "no_healthy_upstream"; "via_upstream" otherwise. */
  details?: string;
}

export interface AsyncStream {
  sendHeaders(headers: HeaderMap, endStream: boolean): void;
  sendData(data: Bytes, endStream: boolean): void;
  reset(): void;
  readonly details: string;
}

/** Requests that do not come from a client (envoy: Http::AsyncClient). */
export interface AsyncClient {
  hasCluster(name: string): boolean;
  /** Undefined where the answer came before this returns (no healthy host, say): the callbacks were called then. */
  send(cluster: string, headers: HeaderMap, body: Uint8Array, timeoutMs: number | undefined, callbacks: HttpCallCallbacks): { cancel(): void } | undefined;
  start(cluster: string, callbacks: AsyncStreamCallbacks, timeoutMs: number | undefined): AsyncStream;
}

export interface Environment {
  readonly clock: Clock;
  /** Returns a function that stops the timer. */
  setTimer(callback: () => void, ms: number): () => void;
  /** Runs after the current work, as a post to a thread's dispatcher does. */
  post(callback: () => void): void;
  /** Number of the least level that the `wasm` logger shows. */
  readonly wasmLogLevel: number;
  log(thread: Thread, level: Level, text: string): void;
  readonly sharedData: SharedData;
  readonly queues: SharedQueues;
  readonly metrics: MetricStore;
  readonly client: AsyncClient;
  /** The node of the bootstrap. */
  readonly node: { id: string; cluster: string; metadata: Record<string, unknown>; encoded: Uint8Array };
  /** A guest did what takes a real Envoy down. */
  crash(signal: "SIGSEGV" | "SIGABRT" | "hang", call: string): void;
}
