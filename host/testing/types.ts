// The testing API's types: what a mounted filter looks like on either engine.
import type { FetchInit, SeenRequest } from "./exchange.js";
import type { ClusterSpec } from "./handlers.js";

export type EngineName = "node" | "envoy";

export interface MountOptions {
  /** Which engine; default: ENVOYSCRIPT_ENGINE, else "node". "both" runs every request on both and fails where they differ. */
  engine?: EngineName | "both";
  /** The filter's configuration: a value that becomes JSON, or a string that goes as it is. */
  config?: unknown;
  /** The filter to use (root_id) where the module has several. */
  filter?: string;
  /** Further modules behind this one, in order. */
  chain?: { module: string; config?: unknown; filter?: string }[];
  /** What stands behind each cluster. `upstream` is where requests go; without one it answers 200 with an empty body. */
  clusters?: Record<string, ClusterSpec>;
  /** Envoy's configuration of routes, the connection manager and the listener, as in YAML. */
  routes?: object[];
  hcm?: Record<string, unknown>;
  listener?: Record<string, unknown>;
  /** Further fields of PluginConfig, e.g. `{ failure_policy: "FAIL_OPEN" }`. */
  plugin?: Record<string, unknown>;
  /** Least level of the filter's log; default "info". */
  logLevel?: "trace" | "debug" | "info" | "warning" | "error" | "critical" | "off";
  /** Time that moves only by `advance()`. Node engine only. */
  time?: "real" | "manual";
  /** Breaks bodies into random pieces; a number is the seed. The seed is printed when the test fails. */
  splits?: boolean | number;
  /** Names given to `set_property` whose values are shown in `streams`. */
  properties?: string[];
  /** Bytes of the VM's memory ceiling, and loop turns in one go, for a filter that is compiled. */
  memory?: number;
  budget?: number;
  /** false: `close()` does not look for leaks. */
  leaks?: boolean;
}

export interface LogRecord {
  level: string;
  text: string;
}

/** A stream that has ended, as Envoy's access log tells of it. */
export interface StreamRecord {
  method: string;
  path: string;
  /** 0 where there was no answer. */
  status: number;
  /** RESPONSE_CODE_DETAILS */
  details: string;
  /** RESPONSE_FLAGS, "-" for none. */
  flags: string;
  cluster: string;
  route: string;
  /** Body bytes. */
  received: number;
  sent: number;
  /** What the filter set by `set_property`, as far as `properties` asks. */
  properties: Record<string, string>;
}

export interface Mounted {
  readonly engine: EngineName | "both";
  /** Sends a request through the filter. `path` begins with "/". Rejects where the connection ends without an answer. */
  fetch(path: string, init?: FetchInit): Promise<Response>;
  /** What the filter logged, and Envoy's own errors about it. */
  readonly logs: LogRecord[];
  /** Resolves with the first log line, earlier ones too, whose text matches. */
  logged(pattern: RegExp): Promise<LogRecord>;
  /** Streams that have ended, oldest first: `await settled()` before you look (a real Envoy records them a moment after the answer). */
  readonly streams: StreamRecord[];
  /** Resolves when every stream that was begun has ended and been recorded. */
  settled(): Promise<void>;
  /** Requests that reached a cluster, oldest first (the last 1,000). */
  requests(cluster?: string): SeenRequest[];
  /** Values of the metrics that the filter defined, by name: counters and gauges. */
  metrics(): Promise<Record<string, number>>;
  /** Lets time pass: at once with `time: "manual"`, really otherwise. Milliseconds. */
  advance(ms: number): Promise<void>;
  /** Ends everything. Rejects where the filter leaked: streams that never ended, memory that grew with each request. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
