// One URL, asked until its file is there and verified, or until asking again makes no sense.
import type { Digest } from "../cache/digest.js";
import { type Answer, ask, type Network } from "./exchange.js";
import { type FailureKind, networkFailure, TransferError } from "./failure.js";
import { copyLocal } from "./local.js";
import type { PartialFile } from "./partial.js";
import { askForRest, isResumable, judge, type Meta } from "./range.js";
import { throttle } from "./rate.js";
import { type Backoff, interrupted, pause, triesFor, wait } from "./retry.js";
import { type Verified, verify } from "./verify.js";

export type ProgressEvent =
  /** Bytes from the first one on follow. `total`: bytes of the whole file, where the server says so. */
  | { type: "started"; total?: number }
  | { type: "resumed"; from: number; total?: number }
  /** `received`: bytes of the file that are there, resumed ones included. It falls when a download starts over. */
  | { type: "bytes"; received: number; total?: number }
  /** `wait`: ms until the next try of the same URL. */
  | { type: "retry"; reason: string; wait: number; url: string }
  /** The next URL is tried. */
  | { type: "mirror"; url: string; reason: string }
  | { type: "done"; bytes: number };

export interface Job {
  digest: Digest | undefined;
  partial: PartialFile;
  network: Network;
  attempts: number;
  backoff: Backoff;
  limitRate: number | undefined;
  keepBad: boolean;
  progress(event: ProgressEvent): void;
}

/** What is learned about a URL while it is tried. */
interface Course {
  url: string;
  /** Ranges are worth asking for. */
  ranges: boolean;
  /** Caches on the way are to be passed by. */
  fresh: boolean;
  /** Bad bytes were blamed on a splice once. */
  forgiven: boolean;
  /** How often whole files came that were not the wanted one. Getting further makes up for lost connections, not for these. */
  bad: number;
  /** The most bytes that were ever there. */
  reached: number;
  resumedFrom: number | undefined;
}

export type Outcome = { ok: true; verified: Verified; resumedFrom: number | undefined } | { ok: false; failure: TransferError; tries: number };

/**
 * Bytes by which a try has to get further than any before it, to count for nothing against `attempts`: a network that drops each connection
 * after a few megabytes still carries a file of any size.
 */
const PROGRESS = 64 * 1024;

const SCHEMES = new Set(["http:", "https:", "file:"]);

function parse(url: string): URL {
  if (!URL.canParse(url)) throw new TransferError("invalid-url", "not a URL");
  const parsed = new URL(url);
  if (!SCHEMES.has(parsed.protocol)) throw new TransferError("invalid-url", `${parsed.protocol} URLs are not downloaded, only http, https and file`);
  parsed.hash = "";
  return parsed;
}

/** Tries `url` until it gives the file. Never throws a TransferError: it is part of the outcome. */
export async function download(url: string, job: Job): Promise<Outcome> {
  const { partial, attempts, network } = job;
  const course: Course = { url, ranges: true, fresh: false, forgiven: false, bad: 0, reached: partial.offset, resumedFrom: undefined };
  const seen = new Map<FailureKind, number>();
  let counted = 0;
  for (let tries = 1; ; tries++) {
    let failure: TransferError;
    try {
      return { ok: true, verified: await attempt(parse(url), course, job, counted), resumedFrom: course.resumedFrom };
    } catch (error) {
      failure = await settle(error, job);
    }
    if (failure.kind === "disk") return { ok: false, failure, tries };
    if (network.signal.aborted) return { ok: false, failure: interrupted(), tries };
    const further = partial.offset >= course.reached + PROGRESS && isResumable(partial, job.digest !== undefined);
    if (further) {
      course.reached = partial.offset;
      counted = 0;
      seen.clear();
    } else if (!failure.details.free) {
      counted++;
      seen.set(failure.kind, (seen.get(failure.kind) ?? 0) + 1);
      if (counted >= attempts || Math.max(seen.get(failure.kind)!, course.bad) >= triesFor(failure, attempts)) return { ok: false, failure, tries };
    }
    const ms = failure.details.free ? 0 : (failure.details.retryAfter ?? pause(Math.max(counted, 1), job.backoff));
    job.progress({ type: "retry", reason: failure.message, wait: ms, url });
    try {
      await wait(ms, network.signal);
    } catch (error) {
      return { ok: false, failure: networkFailure(error), tries };
    }
  }
}

/** Everything that came is written, and the failure says how far it got. */
async function settle(error: unknown, { partial }: Job): Promise<TransferError> {
  const failure = networkFailure(error);
  if (!(error instanceof TransferError) && !isOperational(error)) throw error;
  try {
    await partial.flush();
  } catch (disk) {
    return networkFailure(disk);
  }
  const cutShort = failure.kind === "truncated" || failure.kind === "stalled" || failure.kind === "reset";
  if (!cutShort || failure.details.received !== undefined || partial.offset === 0) return failure;
  const expected = partial.meta.total;
  const extent = expected === undefined ? `${partial.offset} bytes` : `${partial.offset} of ${expected} bytes`;
  const details = { ...failure.details, received: partial.offset, ...(expected === undefined ? {} : { expected }) };
  return new TransferError(failure.kind, `${failure.message}, after ${extent}`, details);
}

/** An error with a code comes from the system; one without is a bug and not to be retried away. */
function isOperational(error: unknown): boolean {
  return error instanceof Error && "code" in error;
}

async function attempt(parsed: URL, course: Course, job: Job, tries: number): Promise<Verified> {
  if (parsed.protocol === "file:") {
    await copyLocal(parsed, course.url, job);
    return verified({}, parsed, course, job);
  }
  const answer = await request(parsed, course, job, tries);
  await receive(answer, job);
  return verified(answer.headers, parsed, course, job);
}

/** Asks for the rest where there is one to ask for, else for the whole, and readies the partial file for what comes. */
async function request(parsed: URL, course: Course, job: Job, tries: number): Promise<Answer> {
  const { partial, network, digest } = job;
  for (;;) {
    const rest = course.ranges ? askForRest(partial, course.url, digest !== undefined) : undefined;
    if (rest) await partial.prepare();
    const caches = course.fresh ? { "cache-control": "no-cache", pragma: "no-cache" } : {};
    const answer = await ask(parsed, { ...rest, ...caches }, network, tries, digest !== undefined);
    const verdict = await judged(answer, rest !== undefined, course, job);
    if (verdict.kind === "whole") {
      await begun(answer, verdict.meta, partial);
      job.progress({ type: "started", ...totalOf(partial) });
      return answer;
    }
    if (verdict.kind === "rest") {
      course.resumedFrom ??= partial.offset;
      partial.resume(verdict.meta);
      job.progress({ type: "resumed", from: partial.offset, ...totalOf(partial) });
      return answer;
    }
    // A server whose ranges do not fit once is not asked for them again.
    course.ranges = false;
    await answer.discard();
    await partial.restart();
  }
}

async function judged(answer: Answer, asked: boolean, course: Course, { partial }: Job): Promise<ReturnType<typeof judge>> {
  try {
    return judge(answer, asked, partial, course.url);
  } catch (failure) {
    await answer.discard();
    throw failure;
  }
}

async function begun(answer: Answer, meta: Meta, partial: PartialFile): Promise<void> {
  try {
    await partial.begin(meta);
  } catch (error) {
    answer.abandon();
    throw error;
  }
}

function totalOf(partial: PartialFile): { total?: number } {
  return partial.meta.total === undefined ? {} : { total: partial.meta.total };
}

async function receive(answer: Answer, job: Job): Promise<void> {
  const { partial, limitRate, network } = job;
  const total = totalOf(partial);
  for await (const chunk of answer.body) {
    if (limitRate) await throttle(chunk.length, limitRate, network.signal);
    const writing = partial.append(chunk);
    if (writing) await writing;
    job.progress({ type: "bytes", received: partial.offset, ...total });
  }
  const expected = total.total ?? partial.offset;
  if (partial.offset < expected) throw new TransferError("truncated", "the server ended its answer early");
  if (partial.offset === expected) return;
  const received = partial.offset;
  await partial.restart();
  throw new TransferError("truncated", `the server sent ${received} bytes of a file of ${expected}`, { received, expected });
}

/** Bad bytes are thrown away; those that several answers gave are first blamed on the splice. */
async function verified(headers: Answer["headers"], parsed: URL, course: Course, job: Job): Promise<Verified> {
  const { spliced } = job.partial;
  const result = await verify(headers, parsed, job);
  if (!(result instanceof TransferError)) return result;
  course.fresh = true;
  course.reached = 0;
  const free = spliced && !course.forgiven;
  if (free) course.forgiven = true;
  else course.bad++;
  throw new TransferError(result.kind, result.message, { ...result.details, free });
}
