// How often a failure is tried again, and after which pause.
import { setTimeout as delay } from "node:timers/promises";
import { type FailureKind, TransferError } from "./failure.js";

/** Tries per URL: as many as `attempts` says, or a number of its own. 1 means the next URL at once. */
const RETRIES: Record<FailureKind, "attempts" | 1 | 2> = {
  refused: "attempts",
  unreachable: "attempts",
  "connect-timeout": "attempts",
  stalled: "attempts",
  reset: "attempts",
  truncated: "attempts",
  "not-http": "attempts",
  other: "attempts",
  // Answers that a second question rarely changes.
  "unknown-host": 2,
  tls: 2,
  // The whole once more, past caches: a cache on the way may have kept bad bytes.
  "wrong-digest": 2,
  empty: 2,
  html: 2,
  status: 1,
  proxy: 1,
  redirects: 1,
  "invalid-url": 1,
  "missing-file": 1,
  disk: 1,
  aborted: 1,
};

/** Client errors that pass (bazel 7.7: HttpConnector retries 403, 408, 429 and 5xx, and nothing else below 500). */
const PASSING = new Set([403, 408, 429]);

export function isPassing(status: number): boolean {
  return PASSING.has(status) || (status >= 500 && status <= 599);
}

/** How many tries of one URL a failure is worth, at most `attempts`. */
export function triesFor(failure: TransferError, attempts: number): number {
  const { status, temporary } = failure.details;
  if (temporary || (status !== undefined && isPassing(status))) return attempts;
  const tries = RETRIES[failure.kind];
  return tries === "attempts" ? attempts : Math.min(tries, attempts);
}

export interface Backoff {
  /** ms before the second try; doubles with each. */
  first: number;
  /** ms, the most that is ever waited. */
  most: number;
}

/** Full jitter: anything between nothing and the doubled pause, so that many clients of a server that fell do not come back at once. `tries` counts from 1. */
export function pause(tries: number, backoff: Backoff): number {
  return Math.round(Math.random() * Math.min(backoff.most, backoff.first * 2 ** Math.min(tries - 1, 30)));
}

const LONGEST_RETRY_AFTER = 120_000;

/** Retry-After in ms, as seconds or as a date (RFC 9110 §10.2.3), at most two minutes. Undefined where the text is neither. */
export function retryAfter(text: string | undefined, now = Date.now()): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^\s*(\d+)\s*$/.exec(text)?.[1];
  const wait = seconds === undefined ? Date.parse(text) - now : Number(seconds) * 1000;
  return Number.isNaN(wait) ? undefined : Math.min(LONGEST_RETRY_AFTER, Math.max(0, wait));
}

/** Waits, unless the signal comes first: then it throws an "aborted" failure. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw interrupted();
  }
}

export function interrupted(): TransferError {
  return new TransferError("aborted", "interrupted; what is there is kept, run again to resume");
}
