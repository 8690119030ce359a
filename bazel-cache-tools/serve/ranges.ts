// Conditional and range requests (RFC 9110, 13 and 14), for bytes that never change under their digest.

export interface Representation {
  /** Bytes. */
  size: number;
  /** Strong, with its quotes. */
  etag: string;
  /** ms, whole seconds. */
  lastModified: number;
}

export type Answer =
  | { status: 200 | 304 }
  /** First and last byte. */
  | { status: 206; first: number; last: number }
  | { status: 416 };

export interface Conditions {
  method: string;
  range?: string | undefined;
  ifRange?: string | undefined;
  ifNoneMatch?: string | undefined;
  ifModifiedSince?: string | undefined;
}

export function answerFor(conditions: Conditions, representation: Representation): Answer {
  if (isUnmodified(conditions, representation)) return { status: 304 };
  const { method, range, ifRange } = conditions;
  if (method !== "GET" || range === undefined || (ifRange !== undefined && !stillHolds(ifRange, representation))) return { status: 200 };
  return parseRange(range, representation.size) ?? { status: 200 };
}

function isUnmodified({ ifNoneMatch, ifModifiedSince }: Conditions, { etag, lastModified }: Representation): boolean {
  if (ifNoneMatch !== undefined) return ifNoneMatch.trim() === "*" || ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
  return ifModifiedSince !== undefined && Date.parse(ifModifiedSince) >= lastModified;
}

/** A weak tag never holds, a date only exactly. */
function stillHolds(ifRange: string, { etag, lastModified }: Representation): boolean {
  return ifRange.startsWith('"') || ifRange.startsWith("W/") ? ifRange === etag : Date.parse(ifRange) === lastModified;
}

/** Undefined for what is to be ignored: other units, several ranges, nonsense. */
export function parseRange(range: string, size: number): Answer | undefined {
  const [, from, to] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(range) ?? [];
  if (from === undefined || to === undefined || (from === "" && to === "")) return undefined;
  if (from === "") {
    const length = Math.min(Number(to), size);
    return length === 0 ? { status: 416 } : { status: 206, first: size - length, last: size - 1 };
  }
  const first = Number(from);
  const last = to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (to !== "" && Number(to) < first) return undefined;
  return first >= size ? { status: 416 } : { status: 206, first, last };
}
