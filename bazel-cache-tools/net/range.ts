// Whether a download may go on where it stopped, and whether what the server sent is that rest (RFC 9110 §14 ranges, §13.1.5 If-Range).
import type { IncomingHttpHeaders } from "node:http";
import { TransferError } from "./failure.js";
import { isPassing, retryAfter } from "./retry.js";

/** What is remembered of a file between requests and between runs. */
export interface Meta {
  /** The wanted URL the bytes are of. */
  url?: string;
  /** Strong ones only, quotes included. */
  etag?: string;
  /** Only where it is a strong validator. */
  lastModified?: string;
  /** Bytes of the whole file. */
  total?: number;
  /** The server says that it takes no ranges. */
  noRanges?: boolean;
}

export interface Held {
  offset: number;
  meta: Meta;
}

/** A date is a strong validator where it is at least a second older than the answer (RFC 9110 §8.8.2.2): the file may have changed twice within one. */
function strongDate(headers: IncomingHttpHeaders): string | undefined {
  const modified = headers["last-modified"];
  if (modified === undefined || headers.date === undefined) return undefined;
  return Date.parse(headers.date) - Date.parse(modified) >= 1000 ? modified : undefined;
}

function strongTag(headers: IncomingHttpHeaders): string | undefined {
  const tag = headers.etag?.trim();
  return tag && /^"[\x21\x23-\x7e\x80-\xff]*"$/.test(tag) ? tag : undefined;
}

/** The meta of an answer. `total` is what it says of the whole file. */
export function metaOf(url: string, headers: IncomingHttpHeaders, total: number | undefined): Meta {
  const etag = strongTag(headers);
  const lastModified = strongDate(headers);
  return {
    url,
    ...(etag ? { etag } : {}),
    ...(lastModified ? { lastModified } : {}),
    ...(total === undefined ? {} : { total }),
    ...(headers["accept-ranges"]?.trim().toLowerCase() === "none" ? { noRanges: true } : {}),
  };
}

/** Whether any request could ever go on from here. Otherwise the partial file is of no use. */
export function isResumable(held: Held, verified: boolean): boolean {
  return held.offset > 0 && (verified || held.meta.etag !== undefined || held.meta.lastModified !== undefined);
}

/**
 * The headers that ask for the rest, or undefined where the whole has to be asked for. Bytes of another URL, or of a server without validators,
 * go on only where a digest judges the result.
 */
export function askForRest({ offset, meta }: Held, url: string, verified: boolean): Record<string, string> | undefined {
  if (offset === 0) return undefined;
  const range = `bytes=${offset}-`;
  if (meta.url !== url) return verified ? { range } : undefined;
  const validator = meta.etag ?? meta.lastModified;
  if (validator !== undefined) return { range, "if-range": validator };
  return verified && !meta.noRanges ? { range } : undefined;
}

/** `whole`: the body is the file from its first byte. `rest`: it goes on at the offset. `again`: neither; ask without a range. */
export type Verdict = { kind: "whole" | "rest"; meta: Meta } | { kind: "again" };

interface ContentRange {
  first: number;
  total: number | undefined;
}

function contentRange(text: string | undefined): ContentRange | undefined {
  const [, first, last, total] = /^\s*bytes\s+(\d+)-(\d+)\/(\d+|\*)\s*$/i.exec(text ?? "") ?? [];
  if (first === undefined || Number(last) < Number(first)) return undefined;
  return { first: Number(first), total: total === "*" ? undefined : Number(total) };
}

function contentLength(headers: IncomingHttpHeaders): number | undefined {
  const text = headers["content-length"];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/**
 * What an answer is for a file of which `held` is there.
 * @param asked a range was asked for.
 * @throws TransferError "status" where the answer carries no file.
 */
export function judge(answer: { status: number; headers: IncomingHttpHeaders }, asked: boolean, held: Held, url: string): Verdict {
  const { status, headers } = answer;
  // 203 is a 200 that a proxy touched (RFC 9110 §15.3.4).
  if (status === 200 || status === 203) return { kind: "whole", meta: metaOf(url, headers, contentLength(headers)) };
  if (status === 206) return asked ? judgePart(headers, held, url) : part(status);
  if (status === 416 && asked) return { kind: "again" };
  const wait = isPassing(status) ? retryAfter(headers["retry-after"]) : undefined;
  throw new TransferError("status", `the server answers ${status}`, { status, ...(wait === undefined ? {} : { retryAfter: wait }) });
}

function part(status: number): never {
  throw new TransferError("status", "the server sends a part where the whole was asked for", { status });
}

function judgePart(headers: IncomingHttpHeaders, held: Held, url: string): Verdict {
  const range = contentRange(headers["content-range"]);
  if (range?.first !== held.offset) return { kind: "again" };
  const known = held.meta.total;
  if (range.total !== undefined && (range.total < held.offset || (known !== undefined && range.total !== known))) return { kind: "again" };
  const meta = metaOf(url, headers, range.total ?? known);
  if (held.meta.url !== url) return { kind: "rest", meta };
  // A server that ignores If-Range still gives itself away by another tag.
  if (held.meta.etag !== undefined && headers.etag !== undefined && headers.etag.trim() !== held.meta.etag) return { kind: "again" };
  // A 206 to an If-Range may leave the validators out (RFC 9110 §15.3.7).
  return { kind: "rest", meta: { ...held.meta, ...meta } };
}
