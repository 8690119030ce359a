// What a replay needs of an engine.

export interface LogLine {
  thread: "main" | "worker";
  logger: string;
  level: string;
  /** May have line breaks in it. */
  text: string;
}

/** A log line, or a mark: what the replay did at that moment. */
export type LogEntry = LogLine | { mark: string };

export interface StartOptions {
  bootstrap: object;
  concurrency: number;
  wasmLogLevel: string;
  adminPort: number;
  env: Record<string, string>;
  args: string[];
}

export interface RunningEngine {
  /** Resolves when it serves, where the engine can tell. */
  ready?: Promise<void>;
  /** Exit code, or the name of the signal that ended it. */
  ended: Promise<number | string>;
  /** SIGTERM */
  terminate(): void;
  /** SIGKILL */
  kill(): void;
  /** Puts a mark into the log: everything that was logged until now is before it. */
  mark(text: string): void;
  /** Everything that was logged, once it has ended. */
  log(): LogEntry[];
  /** What it wrote to stdout: the access log. */
  output(): string;
}

export interface Engine {
  name: "envoy" | "node";
  start(options: StartOptions): RunningEngine;
}
