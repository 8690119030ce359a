// An incremental parser of HTTP/1 messages. Body bytes that came in together are handed on together, and a body ends with an empty last piece (envoy 1.40).

import { Bytes } from "../vm/bytes.js";
import { TOKEN } from "./byte-string.js";

export type Framing = { kind: "none" } | { kind: "length"; size: number } | { kind: "chunked" } | { kind: "close" } | { kind: "tunnel" };

export interface MessageHandler {
  /** The head of a message; what its body is framed by, or an error to stop with. */
  onHead(startLine: string, names: string[], values: string[]): Framing | ParseError;
  onData(data: Bytes): void;
  /** The message is complete; trailers only behind a chunked body that has some. */
  onComplete(trailers: [string, string][] | undefined): void;
}

export class ParseError extends Error {
  constructor(
    readonly details: string,
    readonly status = 400,
  ) {
    super(details);
  }
}

/** envoy 1.40: max_request_headers_kb, and what an upstream may send. */
export const MAX_REQUEST_HEAD = 60 * 1024;
export const MAX_RESPONSE_HEAD = 80 * 1024;
/** envoy 1.40: max_headers_count. */
const MAX_FIELDS = 100;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that must not be in a value.
const BAD_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/;

const EMPTY = Buffer.alloc(0);

type State = "head" | "length" | "chunk-size" | "chunk" | "chunk-end" | "trailers" | "close" | "tunnel" | "stopped";

export class MessageParser {
  private rest: Buffer = EMPTY;
  private state: State = "head";
  private left = 0;
  private body = new Bytes();
  private paused = false;

  constructor(
    private readonly handler: MessageHandler,
    private readonly maxHead: number,
  ) {}

  /** Nothing of a message has been read. */
  get idle(): boolean {
    return this.state === "head" && this.rest.length === 0;
  }

  /** A body that lasts until the end of the connection. */
  get untilClose(): boolean {
    return this.state === "close";
  }

  get waiting(): number {
    return this.rest.length;
  }

  /** Keeps what comes after the message that is complete for later. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    if (this.rest.length > 0) this.push(EMPTY);
  }

  stop(): void {
    this.state = "stopped";
    this.rest = EMPTY;
  }

  /** Throws ParseError. */
  push(data: Buffer): void {
    this.rest = this.rest.length === 0 ? data : data.length === 0 ? this.rest : Buffer.concat([this.rest, data]);
    while (this.rest.length > 0 && this.step());
    this.flush();
  }

  /** The connection has ended. Returns false in the middle of a message. */
  end(): boolean {
    if (this.state === "close") {
      this.complete(undefined);
      return true;
    }
    return this.state === "head" && this.rest.length === 0;
  }

  /** One step; false where more bytes are needed. */
  private step(): boolean {
    switch (this.state) {
      case "head":
        return !this.paused && this.head();
      case "length":
        this.take(Math.min(this.left, this.rest.length));
        if (this.left === 0) this.complete(undefined);
        return true;
      case "chunk-size":
        return this.chunkSize();
      case "chunk":
        this.take(Math.min(this.left, this.rest.length));
        if (this.left === 0) this.state = "chunk-end";
        return true;
      case "chunk-end":
        return this.chunkEnd();
      case "trailers":
        return this.trailers();
      case "close":
      case "tunnel":
        this.body.append(this.rest);
        this.rest = EMPTY;
        return false;
      default:
        this.rest = EMPTY;
        return false;
    }
  }

  private take(size: number): void {
    if (size > 0) this.body.append(this.rest.subarray(0, size));
    this.rest = this.rest.subarray(size);
    this.left -= size;
  }

  private head(): boolean {
    // Empty lines before a message do not count.
    let start = 0;
    while (this.rest[start] === 13 || this.rest[start] === 10) start++;
    if (start > 0) this.rest = this.rest.subarray(start);
    const text = this.block("http1.headers_too_large");
    if (text === undefined) return false;
    const names: string[] = [];
    const values: string[] = [];
    const line = text.indexOf("\n");
    const startLine = text.slice(0, text.charCodeAt(line - 1) === 13 ? line - 1 : line);
    addFields(text, line + 1, names, values);
    if (names.length > MAX_FIELDS) throw new ParseError("http1.too_many_headers", 431);
    const framing = this.handler.onHead(startLine, names, values);
    if (framing instanceof ParseError) throw framing;
    switch (framing.kind) {
      case "none":
        this.complete(undefined);
        break;
      case "length":
        this.left = framing.size;
        this.state = "length";
        if (this.left === 0) this.complete(undefined);
        break;
      case "chunked":
        this.state = "chunk-size";
        break;
      default:
        this.state = framing.kind;
    }
    return true;
  }

  /** Takes lines until an empty one, each with its end (envoy 1.40: a line may end without a carriage return); nothing where more bytes are needed. */
  private block(tooLarge: string): string | undefined {
    const { rest } = this;
    let end = rest.indexOf("\n\r\n", 0, "latin1");
    let size = 3;
    const bare = (end < 0 ? rest : rest.subarray(0, end + 1)).indexOf("\n\n", 0, "latin1");
    if (bare >= 0) {
      end = bare;
      size = 2;
    }
    if (end < 0 || end > this.maxHead) {
      if (rest.length > this.maxHead) throw new ParseError(tooLarge, 431);
      return undefined;
    }
    this.rest = rest.subarray(end + size);
    return rest.toString("latin1", 0, end + 1);
  }

  /** envoy 1.40: what stands between a chunk and the end of its line does not count. */
  private chunkEnd(): boolean {
    const end = this.rest.indexOf(10);
    this.rest = end < 0 ? EMPTY : this.rest.subarray(end + 1);
    if (end >= 0) this.state = "chunk-size";
    return end >= 0;
  }

  private chunkSize(): boolean {
    const end = this.rest.indexOf(10);
    if (end < 0) {
      if (this.rest.length > 4096) throw new ParseError("http1.codec_error");
      return false;
    }
    const text = this.rest.toString("latin1", 0, end).split(";", 1)[0]!.trim();
    if (!/^[0-9a-fA-F]{1,15}$/.test(text)) throw new ParseError("http1.codec_error");
    this.left = Number.parseInt(text, 16);
    this.rest = this.rest.subarray(end + 1);
    this.state = this.left === 0 ? "trailers" : "chunk";
    return true;
  }

  private trailers(): boolean {
    const empty = this.rest[0] === 10 ? 1 : this.rest[0] === 13 && this.rest[1] === 10 ? 2 : 0;
    if (empty > 0) {
      this.rest = this.rest.subarray(empty);
      this.complete(undefined);
      return true;
    }
    const text = this.block("http1.trailers_too_large");
    if (text === undefined) return false;
    const names: string[] = [];
    const values: string[] = [];
    addFields(text, 0, names, values);
    this.complete(names.map((name, i) => [name, values[i]!]));
    return true;
  }

  private flush(): void {
    if (this.body.length === 0) return;
    const { body } = this;
    this.body = new Bytes();
    this.handler.onData(body);
  }

  private complete(trailers: [string, string][] | undefined): void {
    this.flush();
    if (this.state === "stopped") return;
    this.state = "head";
    this.handler.onComplete(trailers);
  }
}

/** Adds the header lines of `text` from `start` on. */
function addFields(text: string, start: number, names: string[], values: string[]): void {
  while (start < text.length) {
    let end = text.indexOf("\n", start);
    let line = text.slice(start, text.charCodeAt(end - 1) === 13 ? end - 1 : end);
    // A line that begins with white space goes on with the one before.
    while (text[end + 1] === " " || text[end + 1] === "\t") {
      start = end + 1;
      end = text.indexOf("\n", start);
      line = `${line.trimEnd()} ${text.slice(start, end).trim()}`;
    }
    const colon = line.indexOf(":");
    if (colon < 0 || !TOKEN.test(line.slice(0, colon))) throw new ParseError("http1.codec_error");
    const value = trimmed(line, colon + 1);
    if (BAD_VALUE.test(value)) throw new ParseError("http1.invalid_characters");
    names.push(line.slice(0, colon).toLowerCase());
    values.push(value);
    start = end + 1;
  }
}

/** Whether a header goes over the wire and comes out as it was. */
export const isField = (name: string, value: string): boolean => TOKEN.test(name) && !BAD_VALUE.test(value) && !/^[ \t]|[ \t]$/.test(value);

/** Without the spaces and tabs at both ends: String.trim takes other bytes too. */
function trimmed(line: string, start: number): string {
  let end = line.length;
  while (start < end && (line[start] === " " || line[start] === "\t")) start++;
  while (end > start && (line[end - 1] === " " || line[end - 1] === "\t")) end--;
  return line.slice(start, end);
}

/** What frames the body of a message by its headers. */
export function framingOf(names: string[], values: string[], whenNeither: Framing): Framing | ParseError {
  const encoding = names.lastIndexOf("transfer-encoding");
  const length = names.indexOf("content-length");
  if (encoding >= 0) {
    // RFC 9112 6.1: both together smell of request smuggling.
    if (length >= 0) return new ParseError("http1.content_length_and_chunked_not_allowed");
    if (values[encoding]!.toLowerCase() !== "chunked") return new ParseError("http1.invalid_transfer_encoding", 501);
    return { kind: "chunked" };
  }
  if (length < 0) return whenNeither;
  // envoy 1.40: said twice is wrong, even if it is the same.
  if (names.lastIndexOf("content-length") !== length || !/^\d{1,19}$/.test(values[length]!)) return new ParseError("http1.codec_error");
  return { kind: "length", size: Number(values[length]) };
}
