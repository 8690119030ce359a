// An incremental parser of HTTP/1 messages. Body bytes that came in together are handed on together, and a body ends with an empty last piece (envoy 1.40).
import { Bytes } from "../vm/bytes.js";

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

const MAX_HEAD = 60 * 1024;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that must not be in a value.
const BAD_VALUE = /[\x00\r\n]/;

const EMPTY = Buffer.alloc(0);

type State = "head" | "length" | "chunk-size" | "chunk" | "chunk-end" | "trailers" | "close" | "tunnel" | "stopped";

export class MessageParser {
  private rest: Buffer = EMPTY;
  private state: State = "head";
  private left = 0;
  private body = new Bytes();
  private paused = false;

  constructor(private readonly handler: MessageHandler) {}

  /** Nothing of a message has been read. */
  get idle(): boolean {
    return this.state === "head" && this.rest.length === 0;
  }

  get betweenMessages(): boolean {
    return this.state === "head";
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
        if (this.rest.length < 2) return false;
        if (this.rest[0] !== 13 || this.rest[1] !== 10) throw new ParseError("http1.codec_error");
        this.rest = this.rest.subarray(2);
        this.state = "chunk-size";
        return true;
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
    const end = this.rest.indexOf("\r\n\r\n", 0, "latin1");
    if (end < 0 || end > MAX_HEAD) {
      if (this.rest.length > MAX_HEAD) throw new ParseError("http1.headers_too_large", 431);
      return false;
    }
    const text = this.rest.toString("latin1", 0, end);
    this.rest = this.rest.subarray(end + 4);
    const names: string[] = [];
    const values: string[] = [];
    let line = text.indexOf("\r\n");
    const startLine = line < 0 ? text : text.slice(0, line);
    while (line >= 0) {
      const next = text.indexOf("\r\n", line + 2);
      addField(next < 0 ? text.slice(line + 2) : text.slice(line + 2, next), names, values);
      line = next;
    }
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

  private chunkSize(): boolean {
    const end = this.rest.indexOf("\r\n", 0, "latin1");
    if (end < 0) {
      if (this.rest.length > 4096) throw new ParseError("http1.codec_error");
      return false;
    }
    const text = this.rest.toString("latin1", 0, end).split(";", 1)[0]!.trim();
    if (!/^[0-9a-fA-F]{1,15}$/.test(text)) throw new ParseError("http1.codec_error");
    this.left = Number.parseInt(text, 16);
    this.rest = this.rest.subarray(end + 2);
    this.state = this.left === 0 ? "trailers" : "chunk";
    return true;
  }

  private trailers(): boolean {
    if (this.rest[0] === 13 && this.rest[1] === 10) {
      this.rest = this.rest.subarray(2);
      this.complete(undefined);
      return true;
    }
    const end = this.rest.indexOf("\r\n\r\n", 0, "latin1");
    if (end < 0) {
      if (this.rest.length > MAX_HEAD) throw new ParseError("http1.trailers_too_large", 431);
      return false;
    }
    const names: string[] = [];
    const values: string[] = [];
    for (const line of this.rest.toString("latin1", 0, end).split("\r\n")) addField(line, names, values);
    this.rest = this.rest.subarray(end + 4);
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

function addField(line: string, names: string[], values: string[]): void {
  const colon = line.indexOf(":");
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).trim();
  if (colon < 0 || !TOKEN.test(name) || BAD_VALUE.test(value)) throw new ParseError("http1.codec_error");
  names.push(name.toLowerCase());
  values.push(value);
}

/** What frames the body of a message by its headers. */
export function framingOf(names: string[], values: string[], whenNeither: Framing): Framing | ParseError {
  const encoding = names.lastIndexOf("transfer-encoding");
  const length = names.indexOf("content-length");
  if (encoding >= 0) {
    if (!/(^|,)\s*chunked$/i.test(values[encoding]!)) return new ParseError("http1.unexpected_transfer_encoding", 501);
    // RFC 9112 6.1: both together smell of request smuggling.
    if (length >= 0) return new ParseError("http1.content_length_and_chunked_not_allowed");
    return { kind: "chunked" };
  }
  if (length < 0) return whenNeither;
  const all = names.flatMap((name, i) => (name === "content-length" ? [values[i]!] : []));
  if (!/^\d+$/.test(all[0]!) || all.some((value) => value !== all[0])) return new ParseError("http1.codec_error");
  return { kind: "length", size: Number(all[0]) };
}
