// When a request is tried again: what a route's retry_policy, or headers of the request (set by a filter, or by the caller of http_call), ask for.
import type { HeaderMap } from "../vm/headermap.js";
import type { ResetReason } from "./codec.js";
import type { Fields } from "./config/fields.js";
import { type HeaderMatch, readHeaderMatch } from "./matchers.js";

export interface RetryPolicy {
  on: string[];
  retries: number | undefined;
  codes: number[];
  headers: HeaderMatch[];
  /** Where there are some, one of them has to match. */
  requestHeaders: HeaderMatch[];
  perTryTimeoutMs: number;
  baseMs: number;
  maxMs: number;
}

const BASE_MS = 25;

const names = (text: string): string[] =>
  text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");

/** Throws ConfigError. */
export function readRetryPolicy(fields: Fields): RetryPolicy {
  const backoff = fields.message("retry_back_off");
  const baseMs = backoff?.duration("base_interval") ?? BASE_MS;
  const policy: RetryPolicy = {
    on: names(fields.string("retry_on") ?? ""),
    retries: fields.number("num_retries"),
    codes: fields.numbers("retriable_status_codes"),
    headers: fields.list("retriable_headers").map(readHeaderMatch),
    requestHeaders: fields.list("retriable_request_headers").map(readHeaderMatch),
    perTryTimeoutMs: fields.duration("per_try_timeout") ?? 0,
    baseMs,
    maxMs: backoff?.duration("max_interval") ?? 10 * baseMs,
  };
  backoff?.done();
  fields.done();
  return policy;
}

const GRPC: Record<string, number> = { cancelled: 1, "deadline-exceeded": 4, "resource-exhausted": 8, internal: 13, unavailable: 14 };

/** What the router takes out of a request. */
const ASKED = [
  "x-envoy-retry-on",
  "x-envoy-retry-grpc-on",
  "x-envoy-max-retries",
  "x-envoy-retriable-header-names",
  "x-envoy-retriable-status-codes",
  "x-envoy-hedge-on-per-try-timeout",
  "x-envoy-upstream-rq-per-try-timeout-ms",
] as const;

const CONNECTING: ResetReason[] = ["LocalConnectionFailure", "RemoteConnectionFailure", "ConnectionTimeout"];

const number = (text: string | undefined): number | undefined => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined);

const ASKING = new Set<string>(ASKED);

/** Whether a request asks for anything that has to do with retries. */
function asks(request: HeaderMap): boolean {
  const { names: present } = request.lists();
  for (let i = 0; i < present.length; i++) if (ASKING.has(present[i]!)) return true;
  return false;
}

export class Retries {
  /** Where something is asked for; its headers are taken out of the request's. */
  static of(policy: RetryPolicy | undefined, request: HeaderMap): Retries | undefined {
    return policy || asks(request) ? new Retries(policy, request) : undefined;
  }

  private readonly on: Set<string>;
  private readonly grpcOn: Set<number | undefined>;
  private readonly codes: Set<number>;
  private readonly headers: HeaderMatch[];
  private left: number;
  private interval: number;
  private readonly maxMs: number;
  readonly perTryTimeoutMs: number;

  private constructor(policy: RetryPolicy | undefined, request: HeaderMap) {
    const asked = new Map(ASKED.map((name) => [name as string, request.get(name)]));
    for (const name of ASKED) request.remove(name);
    const applies = policy !== undefined && (policy.requestHeaders.length === 0 || policy.requestHeaders.some((match) => match(request)));
    this.on = new Set([...(applies ? policy.on : []), ...names(asked.get("x-envoy-retry-on") ?? "")]);
    this.grpcOn = new Set(names(asked.get("x-envoy-retry-grpc-on") ?? "").map((name) => GRPC[name]));
    this.codes = new Set([...(policy?.codes ?? []), ...names(asked.get("x-envoy-retriable-status-codes") ?? "").map(Number)]);
    const again = names(asked.get("x-envoy-retriable-header-names") ?? "").map((name) => name.toLowerCase());
    this.headers = [
      ...(policy?.headers ?? []),
      ...again.map(
        (name): HeaderMatch =>
          (response) =>
            response.has(name),
      ),
    ];
    this.left = number(asked.get("x-envoy-max-retries")) ?? policy?.retries ?? 1;
    this.perTryTimeoutMs = number(asked.get("x-envoy-upstream-rq-per-try-timeout-ms")) ?? policy?.perTryTimeoutMs ?? 0;
    this.interval = policy?.baseMs ?? BASE_MS;
    this.maxMs = policy?.maxMs ?? 10 * BASE_MS;
  }

  /** Whether there is anything to try again for. */
  get enabled(): boolean {
    return this.on.size > 0 || this.grpcOn.size > 0;
  }

  /** By a response's headers. */
  wants(response: HeaderMap): boolean {
    const status = Number(response.get(":status"));
    if (response.has("x-envoy-ratelimited")) return this.on.has("envoy-ratelimited");
    if (this.on.has("5xx") && status >= 500) return true;
    if (this.on.has("gateway-error") && status >= 502 && status <= 504) return true;
    if (this.on.has("retriable-4xx") && status === 409) return true;
    if (this.on.has("retriable-status-codes") && this.codes.has(status)) return true;
    if (this.on.has("retriable-headers") && this.headers.some((match) => match(response))) return true;
    const grpc = number(response.get("grpc-status"));
    return grpc !== undefined && this.grpcOn.has(grpc);
  }

  /** By the end of an upstream that has not answered; a timeout of its own counts as one. */
  wantsAfter(reason: ResetReason): boolean {
    if (reason === "Overflow") return false;
    if (this.on.has("5xx") || this.on.has("gateway-error") || this.on.has("reset")) return true;
    if (this.on.has("connect-failure") && CONNECTING.includes(reason)) return true;
    return this.on.has("refused-stream") && reason === "RemoteRefusedStreamReset";
  }

  /** Takes one of the tries that are left: milliseconds until it, or undefined where there is none. envoy 1.40: by chance, up to an interval that doubles. */
  take(): number | undefined {
    if (this.left === 0) return undefined;
    this.left--;
    const wait = Math.floor(Math.random() * this.interval);
    this.interval = Math.min(this.interval * 2, this.maxMs);
    return wait;
  }
}
