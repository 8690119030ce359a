// The body of a test's request: everything that the fetch standard takes, and lists and generators of pieces.

/** One piece as it is sent. */
export type Piece = string | Uint8Array;

/**
 * What `fetch` sends. A list and an iterable are sent piece by piece, the latter as it comes; all others in one piece, with content-length.
 * A Blob, FormData or URLSearchParams brings its content-type.
 */
export type RequestBody = string | ArrayBuffer | ArrayBufferView | Blob | FormData | URLSearchParams | Iterable<Piece> | AsyncIterable<Piece> | null;

export interface SentBody {
  pieces: Uint8Array[] | AsyncIterable<Uint8Array> | undefined;
  /** Sent with content-length. */
  whole: boolean;
  contentType?: string | undefined;
}

const WANTED = "a string, bytes, a Blob, FormData, URLSearchParams, a list or an iterable of strings and bytes, or a ReadableStream";

function bytesOf(piece: unknown): Uint8Array {
  if (typeof piece === "string") return Buffer.from(piece);
  if (piece instanceof Uint8Array) return piece;
  throw new TypeError(`fetch(): a piece of the body is ${nameOf(piece)}, it has to be a string or a Uint8Array`);
}

function nameOf(value: unknown): string {
  return typeof value === "object" && value !== null ? (value.constructor?.name ?? "an object") : String(value);
}

async function* piecesOf(source: Iterable<unknown> | AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const piece of source) yield bytesOf(piece);
}

async function wholeOf(body: Blob | FormData | URLSearchParams): Promise<SentBody> {
  const standard = new Response(body);
  return { pieces: [new Uint8Array(await standard.arrayBuffer())], whole: true, contentType: standard.headers.get("content-type") ?? undefined };
}

/** Throws TypeError for what is no body, before anything is sent. */
export function readBody(body: RequestBody | undefined): SentBody | Promise<SentBody> {
  if (body === undefined || body === null) return { pieces: undefined, whole: false };
  if (typeof body === "string" || body instanceof Uint8Array) return { pieces: [bytesOf(body)], whole: true };
  if (body instanceof ArrayBuffer) return { pieces: [new Uint8Array(body)], whole: true };
  if (ArrayBuffer.isView(body)) return { pieces: [new Uint8Array(body.buffer, body.byteOffset, body.byteLength)], whole: true };
  if (body instanceof Blob || body instanceof FormData || body instanceof URLSearchParams) return wholeOf(body);
  if (Array.isArray(body)) return { pieces: body.map(bytesOf), whole: false };
  if (typeof body === "object" && (Symbol.asyncIterator in body || Symbol.iterator in body)) return { pieces: piecesOf(body), whole: false };
  throw new TypeError(`fetch(): body is ${nameOf(body)}, it has to be ${WANTED}; JSON.stringify() makes a string of an object`);
}
