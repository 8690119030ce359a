// What a mounted filter leaves behind while it runs: log lines, ended streams, requests to clusters; and waiting for them.
import { guestText } from "../envoy/log.js";
import type { SeenRequest } from "./exchange.js";
import { MARK, streamRecord } from "./setting.js";
import type { LogRecord, StreamRecord } from "./types.js";

const KEPT = 1000;

export class Records {
  readonly logs: LogRecord[] = [];
  readonly streams: StreamRecord[] = [];
  private readonly seen: { cluster: string; request: SeenRequest }[] = [];
  private waiting: { done: () => boolean; resolve: () => void; reject: (error: Error) => void }[] = [];
  /** Requests that were begun. */
  begun = 0;
  private failure: Error | undefined;
  /** A cluster's function that failed. */
  fault: Error | undefined;

  constructor(private readonly properties: string[]) {}

  /** A line of the wasm logger. */
  log(level: string, text: string): void {
    this.logs.push({ level, text: guestText(text) ?? text });
    this.check();
  }

  /** Text of the access log. */
  output(text: string): void {
    for (const line of text.split("\n")) if (line.startsWith(MARK)) this.streams.push(streamRecord(line.slice(MARK.length), this.properties));
    this.check();
  }

  handlerFailed(cluster: string, error: Error): void {
    this.fault ??= new Error(`the function of cluster "${cluster}" failed: ${error.message}`, { cause: error });
  }

  request(cluster: string, request: SeenRequest): void {
    this.seen.push({ cluster, request });
    if (this.seen.length > KEPT) this.seen.splice(0, KEPT / 2);
  }

  requests(cluster?: string): SeenRequest[] {
    return this.seen.filter((entry) => cluster === undefined || entry.cluster === cluster).map(({ request }) => request);
  }

  /** Nothing more will come: whoever waits hears why. */
  end(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }

  private check(): void {
    if (this.waiting.length === 0) return;
    this.waiting = this.waiting.filter(({ done, resolve }) => {
      if (!done()) return true;
      resolve();
      return false;
    });
  }

  private until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => this.waiting.push({ done, resolve, reject }));
  }

  async logged(pattern: RegExp): Promise<LogRecord> {
    const find = () => this.logs.find(({ text }) => pattern.test(text));
    await this.until(() => find() !== undefined);
    return find()!;
  }

  settled(): Promise<void> {
    return this.until(() => this.streams.length >= this.begun);
  }
}
