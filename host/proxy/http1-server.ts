// A client's HTTP/1 connection.
import type net from "node:net";
import { Bytes } from "../vm/bytes.js";
import { HeaderMap } from "../vm/headermap.js";
import type { Protocol, RequestDecoder, ResponseEncoder, ServerCallbacks, ServerConnection } from "./codec.js";
import { asksToClose, connectionSays, removeNamedByConnection } from "./hop-headers.js";
import { type Framing, framingOf, isField, MAX_REQUEST_HEAD, type MessageHandler, MessageParser, ParseError } from "./http1-parser.js";
import { MessageWriter, reasonPhrase } from "./http1-writer.js";

export interface Http1Options {
  enableTrailers: boolean;
  acceptHttp10: boolean;
  defaultHostForHttp10?: string | undefined;
  /** A response that ends before its request does not end the connection: what comes of the request is read on (envoy 1.40 closes it). */
  readsOn?: boolean;
}

/** envoy 1.40 knows no others. */
const METHODS = new Set(
  (
    "ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE MSEARCH NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH " +
    "PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE"
  ).split(" "),
);
const ABSOLUTE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/i;
const AUTHORITY = /^[\w\-.~!$&'()*+,;=:@[\]%]*$/;

/** envoy 1.40: a path, "*", an absolute URL or, for CONNECT, a host and port, of visible ASCII. */
function isTarget(target: string, method: string): boolean {
  if (!/^[\x21-\x7e]+$/.test(target)) return false;
  return method === "CONNECT" || target.startsWith("/") || target.startsWith("*") || ABSOLUTE.test(target);
}

/** Whether a request's line and headers are such that the codec has nothing to say about them, and does nothing to them. */
export function isOrdinary(headers: HeaderMap): boolean {
  const method = headers.get(":method") ?? "";
  if (!METHODS.has(method) || method === "CONNECT" || !/^\/[\x21-\x7e]*$/.test(headers.get(":path") ?? "") || !AUTHORITY.test(headers.get(":authority") ?? ""))
    return false;
  const { names, values } = headers.lists();
  if (names.length > ORDINARY_FIELDS || headers.byteSize > ORDINARY_BYTES) return false;
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    if (name.charCodeAt(0) !== 58 && (SPECIAL.has(name) || !isField(name, values[i]!))) return false;
  }
  return true;
}

/** Well below what the codec takes. */
const ORDINARY_FIELDS = 50;
const ORDINARY_BYTES = 16 * 1024;

/** Headers that the codec reads. */
const SPECIAL = new Set(["connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"]);

/** envoy 1.40: delayed_close_timeout. */
const DELAYED_CLOSE_MS = 1000;

/** What is read of a stream that is held. */
const READ_AHEAD = 1 << 20;

/** So many requests that came together are answered without a turn of the event loop. */
const IN_A_ROW = 8;

/** What a read can bring at most: after such a one there may be more at once. */
const FULL_READ = 64 * 1024;

export function serveHttp1(socket: net.Socket, first: Buffer, callbacks: ServerCallbacks, options: Http1Options): ServerConnection {
  const connection = new Connection(socket, callbacks, options);
  connection.start(first);
  return connection;
}

interface Exchange {
  decoder: RequestDecoder;
  encoder: Encoder;
  requestDone: boolean;
  responseDone: boolean;
  /** envoy 1.40: a request that ends with its headers is complete only when filters have had them. */
  requestTaken?: boolean;
}

class Connection implements ServerConnection, MessageHandler {
  protocol: Protocol = "HTTP/1.1";
  readonly remoteAddress: string;
  readonly localAddress: string;
  private readonly parser = new MessageParser(this, MAX_REQUEST_HEAD);
  readonly writer: MessageWriter;
  private exchange: Exchange | undefined;
  private gathered: Buffer[] = [];
  private scheduled = false;
  private closed = false;
  private closing = false;
  private disabled = 0;
  private keepAlive = true;
  private exchanges = 0;
  private ending: NodeJS.Timeout | undefined;

  constructor(
    readonly socket: net.Socket,
    private readonly callbacks: ServerCallbacks,
    private readonly options: Http1Options,
  ) {
    this.remoteAddress = `${socket.remoteAddress}:${socket.remotePort}`;
    this.localAddress = `${socket.localAddress}:${socket.localPort}`;
    this.writer = new MessageWriter(socket, options.enableTrailers, (above) => this.exchange?.decoder.onWatermark?.(above));
  }

  start(first: Buffer): void {
    const { socket } = this;
    socket.setNoDelay(true);
    socket.on("data", (data: Buffer) => this.onRead(data));
    socket.on("end", () => this.onPeerClose());
    socket.on("error", () => this.onPeerClose());
    socket.on("close", () => this.onPeerClose());
    if (first.length > 0) this.onRead(first);
  }

  /** envoy 1.40 reads until there is nothing more: reads of one turn belong together. */
  private onRead(data: Buffer): void {
    if (this.closed || this.closing) return;
    this.gathered.push(data);
    if (this.disabled > 0) {
      // Reading goes on a little, for that is how the client's going is noticed.
      if (this.gathered.reduce((sum, { length }) => sum + length, 0) > READ_AHEAD) this.socket.pause();
      return;
    }
    if (this.scheduled) return;
    if (data.length < FULL_READ) {
      this.dispatch();
      return;
    }
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.dispatch();
    });
  }

  private dispatch(): void {
    if (this.closed || this.disabled > 0 || this.gathered.length === 0) return;
    const data = this.gathered.length === 1 ? this.gathered[0]! : Buffer.concat(this.gathered);
    this.gathered = [];
    this.parse(() => this.parser.push(data));
  }

  private parse(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.parser.stop();
      const encoder = this.exchange?.encoder ?? new Encoder(this, "GET");
      this.keepAlive = false;
      if (!this.exchange) {
        const decoder = this.callbacks.newStream(encoder);
        this.exchange = { decoder, encoder, requestDone: false, responseDone: false };
      }
      this.callbacks.onProtocolError?.(encoder, error.details, error.status);
    }
    if (this.parser.waiting > 0 && this.exchange?.requestDone && !this.closed) this.socket.pause();
  }

  // What the parser finds.

  onHead(startLine: string, names: string[], values: string[]): Framing | ParseError {
    const match = /^([A-Z]+)[ \t]+(\S+)(?:[ \t]+HTTP\/(\d\.\d))?[ \t]*$/.exec(startLine);
    if (!match) return new ParseError("http1.codec_error");
    const [, method = "", target = "", version] = match;
    if (!METHODS.has(method) || !isTarget(target, method)) return new ParseError("http1.codec_error");
    // envoy 1.40: what is not HTTP/1.1 is HTTP/1.0; before that there were no headers.
    this.protocol = version === "1.1" ? "HTTP/1.1" : "HTTP/1.0";
    if (version === undefined) names = values = [];
    const headers = new HeaderMap("request");
    // envoy 1.40 has no part in an upgrade to HTTP/2: it is a request like any other.
    const wanted = names.includes("upgrade") && names.some((name, i) => name === "connection" && /upgrade/i.test(values[i]!));
    const isUpgrade = wanted && values[names.indexOf("upgrade")]!.toLowerCase() !== "h2c";
    const framing = isUpgrade || method === "CONNECT" ? ({ kind: "tunnel" } as const) : framingOf(names, values, { kind: "none" });
    if (framing instanceof ParseError) return framing;
    for (let i = 0; i < names.length; i++) headers.add(names[i]!, values[i]!);
    if (this.protocol === "HTTP/1.0" && !headers.has(":authority") && this.options.defaultHostForHttp10)
      headers.add(":authority", this.options.defaultHostForHttp10);
    const absolute = ABSOLUTE.exec(target);
    if (absolute) {
      const [, scheme = "", authority = "", rest = ""] = absolute;
      headers.assign(":authority", authority);
      headers.add(":scheme", scheme.toLowerCase());
      headers.add(":path", rest.startsWith("/") ? rest : `/${rest}`);
    } else if (method === "CONNECT") headers.assign(":authority", target);
    else if (target.startsWith("*") && !(target === "*" && method === "OPTIONS")) return new ParseError("http1.invalid_url");
    else headers.add(":path", target);
    headers.add(":method", method);
    if (!AUTHORITY.test(headers.get(":authority") ?? "")) return new ParseError("http.invalid_authority");
    if (wanted && !isUpgrade) for (const name of ["upgrade", "http2-settings"]) headers.remove(name);
    if (!removeNamedByConnection(headers)) return new ParseError("http1.connection_header_rejected");
    this.keepAlive = !asksToClose(headers, this.protocol);
    if (this.protocol === "HTTP/1.0" && !this.options.acceptHttp10) {
      this.protocol = "HTTP/1.1";
      return new ParseError("low_version", 426);
    }
    const encoder = new Encoder(this, method);
    const exchange: Exchange = { decoder: this.callbacks.newStream(encoder), encoder, requestDone: false, responseDone: false };
    this.exchange = exchange;
    const endStream = framing.kind === "none" || (framing.kind === "length" && framing.size === 0);
    if (endStream) exchange.requestDone = true;
    this.parser.pause();
    exchange.decoder.onHeaders(headers, endStream);
    exchange.requestTaken = endStream;
    // envoy 1.40: of an upgraded connection the request's data begins with an empty piece.
    if (framing.kind === "tunnel" && !exchange.responseDone) exchange.decoder.onData(new Bytes(), false);
    return framing;
  }

  onData(data: Bytes): void {
    const { exchange } = this;
    if (exchange && (!exchange.responseDone || this.options.readsOn)) exchange.decoder.onData(data, false);
  }

  onComplete(trailers: [string, string][] | undefined): void {
    const { exchange } = this;
    if (!exchange) return;
    if (exchange.requestDone) {
      // A request without a body was complete with its headers.
      if (exchange.responseDone) this.next();
      return;
    }
    exchange.requestDone = exchange.requestTaken = true;
    if (exchange.responseDone && !this.options.readsOn) {
      this.next();
      return;
    }
    if (trailers && this.options.enableTrailers) exchange.decoder.onTrailers(HeaderMap.of("request-trailers", trailers));
    else exchange.decoder.onData(new Bytes(), true);
    if (exchange.responseDone) this.next();
  }

  // What the response's encoder finds.

  get willClose(): boolean {
    return !this.keepAlive;
  }

  onResponseDone(encoder: Encoder, closes: boolean): void {
    const { exchange } = this;
    if (exchange?.encoder !== encoder) return;
    exchange.responseDone = true;
    if (!exchange.requestDone && this.options.readsOn && !closes && this.keepAlive) return;
    if (!exchange.requestDone || closes || !this.keepAlive) {
      this.exchange = undefined;
      this.parser.stop();
      // envoy 1.40: where the client has said all and asks for the end, nothing can be lost by it.
      if (exchange.requestTaken && !this.keepAlive) process.nextTick(() => this.close(true));
      else this.closeDelayed();
      return;
    }
    this.next();
  }

  /** On to the next request of a connection that is kept. */
  private next(): void {
    this.exchange = undefined;
    if (this.closed || this.closing) return;
    // What held the one does not hold the other.
    this.disabled = 0;
    this.socket.resume();
    // Not inside the call that ended the response: what is behind it runs first. And what waits for the event loop has its turn now and then.
    const go = () => {
      if (!this.closed && !this.closing && !this.exchange) this.parse(() => this.parser.resume());
    };
    if (++this.exchanges % IN_A_ROW === 0) setImmediate(go);
    else process.nextTick(go);
  }

  onReset(encoder: Encoder): void {
    if (this.exchange?.encoder !== encoder) return;
    this.exchange = undefined;
    this.parser.stop();
    this.closeDelayed();
  }

  readDisable(disable: boolean): void {
    this.disabled += disable ? 1 : -1;
    if (this.disabled > 0) return;
    this.socket.resume();
    this.dispatch();
  }

  /** envoy 1.40: what is written is flushed; the connection ends when the peer does, or a second later. */
  private closeDelayed(): void {
    if (this.closed || this.closing) return;
    this.closing = true;
    this.socket.resume();
    this.ending = setTimeout(() => {
      this.socket.end();
      this.socket.destroySoon();
      this.onPeerClose();
    }, DELAYED_CLOSE_MS);
  }

  close(flush: boolean): void {
    if (this.closed) return;
    this.writer.flush();
    if (flush) this.socket.destroySoon();
    else this.socket.destroy();
    this.onPeerClose();
  }

  private onPeerClose(): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.ending);
    const { exchange } = this;
    this.exchange = undefined;
    this.parser.stop();
    this.socket.destroy();
    if (exchange && !exchange.responseDone) exchange.decoder.onReset("ConnectionTermination");
    this.callbacks.onClose();
  }
}

class Encoder implements ResponseEncoder {
  private done = false;
  private closes = false;

  constructor(
    private readonly connection: Connection,
    private readonly method: string,
  ) {}

  encode1xx(headers: HeaderMap): void {
    const status = Number(headers.get(":status"));
    this.connection.writer.head(`HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n`, headers, "none");
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.done) return;
    const { connection } = this;
    const text = headers.get(":status") ?? "";
    const status = Number(text);
    const isHead = this.method === "HEAD";
    const bodiless = status < 200 || status === 204 || status === 304;
    if (connection.protocol === "HTTP/1.0" || (connection.willClose && !headers.has("connection"))) {
      headers.assign("connection", connection.willClose ? "close" : "keep-alive");
    }
    const framing = bodiless ? "none" : endStream && !isHead ? "zero" : connection.protocol === "HTTP/1.0" ? "none" : "chunked";
    this.closes = connectionSays(headers, "close");
    connection.writer.head(`${connection.protocol === "HTTP/1.0" ? "HTTP/1.0" : "HTTP/1.1"} ${text} ${reasonPhrase(status)}\r\n`, headers, framing);
    if (endStream) this.end();
  }

  encodeData(data: Bytes, endStream: boolean): void {
    if (this.done) return;
    // A response to HEAD has no body, whatever its headers say.
    if (this.method === "HEAD") data.clear();
    else this.connection.writer.data(data, endStream);
    if (endStream) this.end();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.done) return;
    this.connection.writer.trailers(trailers);
    this.end();
  }

  private end(): void {
    this.done = true;
    this.connection.writer.forget();
    this.connection.onResponseDone(this, this.closes);
  }

  reset(): void {
    if (this.done) return;
    this.done = true;
    this.connection.onReset(this);
  }

  readDisable(disable: boolean): void {
    if (!this.done) this.connection.readDisable(disable);
  }
}
