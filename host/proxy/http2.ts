// HTTP/2 without TLS, both sides, on Node's own HTTP/2.

import http2 from "node:http2";
import type net from "node:net";
import { Bytes } from "../vm/bytes.js";
import { HeaderMap, type MapKind } from "../vm/headermap.js";
import { TOKEN } from "./byte-string.js";
import type {
  HostPool,
  MessageDecoder,
  MessageEncoder,
  PoolCallbacks,
  RequestDecoder,
  ResetReason,
  ResponseDecoder,
  ResponseEncoder,
  ServerCallbacks,
  ServerConnection,
} from "./codec.js";
import { connectError, connectTo, type PoolOptions } from "./http1-client.js";

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_PROTOCOL_ERROR } = http2.constants;

/** Headers that HTTP/2 does not know. */
const CONNECTION_HEADERS = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

const RESPONSE_PSEUDO = new Set([":status"]);
const NO_PSEUDO = new Set<string>();
const REQUEST_PSEUDO = new Set([":method", ":scheme", ":path", ":authority", ":protocol"]);

/** What a peer refuses as PROTOCOL_ERROR (RFC 9113 8.2.2, 8.3), and Node does not send at all. */
function isRefused(headers: HeaderMap, pseudo: ReadonlySet<string>): boolean {
  const seen = new Set<string>();
  for (const [name, value] of headers.entries()) {
    if (CONNECTION_HEADERS.has(name)) return true;
    if (name === "te" && value !== "trailers") return true;
    if (!name.startsWith(":")) continue;
    if (!pseudo.has(name) || seen.has(name)) return true;
    seen.add(name);
  }
  return false;
}

function toObject(headers: HeaderMap): http2.OutgoingHttpHeaders {
  const object: Record<string, string | string[]> = {};
  for (const [name, value] of headers.entries()) {
    if (CONNECTION_HEADERS.has(name) || name === "http2-settings" || (!name.startsWith(":") && !TOKEN.test(name)) || /[\r\n\0]/.test(value)) continue;
    const present = object[name];
    object[name] = present === undefined ? value : Array.isArray(present) ? [...present, value] : [present, value];
  }
  return object as http2.OutgoingHttpHeaders;
}

/** Headers in the order in which they came. */
function toMap(kind: MapKind, raw: readonly string[]): HeaderMap {
  const map = new HeaderMap(kind);
  for (let i = 0; i + 1 < raw.length; i += 2) map.add(raw[i]!.toLowerCase(), raw[i + 1]!);
  return map;
}

/** envoy 1.40: pieces of a cookie are one header, at the end; `host` is the authority where there is none. */
function requestMap(raw: readonly string[]): HeaderMap {
  const map = new HeaderMap("request");
  const cookies: string[] = [];
  const hasAuthority = raw.some((name, i) => i % 2 === 0 && name === ":authority");
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    if (name === "cookie") cookies.push(raw[i + 1]!);
    else if (name !== "host" || !hasAuthority) map.add(name, raw[i + 1]!);
  }
  if (cookies.length > 0) map.add("cookie", cookies.join("; "));
  return map;
}

function fromObject(kind: MapKind, headers: http2.IncomingHttpHeaders): HeaderMap {
  const map = new HeaderMap(kind);
  for (const [name, value] of Object.entries(headers))
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) map.add(name, String(one));
  return map;
}

/** The reading side of a stream: a last piece that came with the end is one piece. */
function readInto(stream: http2.Http2Stream, decoder: () => MessageDecoder | undefined, trailersKind: MapKind): void {
  let pending: Bytes | undefined;
  let trailers: HeaderMap | undefined;
  const flush = (endStream: boolean) => {
    const data = pending ?? new Bytes();
    pending = undefined;
    decoder()?.onData(data, endStream);
  };
  stream.on("data", (chunk: Buffer) => {
    // envoy 1.40: each DATA frame is told of; the last one with the end.
    if (pending) flush(false);
    const piece = new Bytes(chunk);
    pending = piece;
    setImmediate(() => {
      if (pending === piece) flush(false);
    });
  });
  stream.on("trailers", ((_headers: unknown, _flags: number, raw: string[]) => {
    trailers = toMap(trailersKind, raw);
  }) as never);
  stream.on("end", () => {
    // A stream that was reset ends, too.
    if (stream.rstCode !== NGHTTP2_NO_ERROR && stream.destroyed) return;
    if (trailers) {
      if (pending) flush(false);
      decoder()?.onTrailers(trailers);
    } else flush(true);
  });
}

class Writer implements MessageEncoder {
  protected done = false;
  private trailers: HeaderMap | undefined;
  private disabled = 0;
  protected begun = false;

  constructor(protected readonly stream: http2.Http2Stream) {
    stream.on("wantTrailers", () => {
      if (this.trailers && isRefused(this.trailers, NO_PSEUDO)) stream.close(NGHTTP2_PROTOCOL_ERROR);
      else if (this.trailers) (stream as http2.ServerHttp2Stream).sendTrailers(toObject(this.trailers));
      else (stream as http2.ServerHttp2Stream).sendTrailers({});
      setImmediate(() => this.onSent());
    });
  }

  /** The end was written. */
  protected onSent(): void {}

  encodeHeaders(_headers: HeaderMap, _endStream: boolean): void {}

  encodeData(data: Bytes, endStream: boolean): void {
    if (this.done || this.stream.destroyed || this.stream.closed) return;
    const bytes = data.length > 0 ? Buffer.from(data.all()) : undefined;
    data.clear();
    if (endStream) {
      this.done = true;
      if (bytes) this.stream.end(bytes);
      else this.stream.end();
    } else if (bytes) this.stream.write(bytes);
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.done || this.stream.destroyed || this.stream.closed) return;
    this.done = true;
    this.trailers = trailers;
    this.stream.end();
  }

  reset(_reason: ResetReason): void {
    this.done = true;
    if (!this.stream.closed) this.stream.close(NGHTTP2_INTERNAL_ERROR);
  }

  readDisable(disable: boolean): void {
    this.disabled += disable ? 1 : -1;
    if (this.disabled > 0) this.stream.pause();
    else this.stream.resume();
  }
}

class ServerWriter extends Writer implements ResponseEncoder {
  /** envoy 1.40: a response that is complete before its request ends the stream: RST_STREAM(NO_ERROR). */
  protected override onSent(): void {
    const { stream } = this;
    if (!stream.readableEnded && !stream.destroyed && !stream.closed) stream.close(NGHTTP2_NO_ERROR);
  }

  encode1xx(headers: HeaderMap): void {
    if (!this.stream.destroyed && !this.stream.closed) (this.stream as http2.ServerHttp2Stream).additionalHeaders(toObject(headers));
  }

  override encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.done || this.stream.destroyed || this.stream.closed) return;
    const status = Number(headers.get(":status"));
    if (isRefused(headers, RESPONSE_PSEUDO) || !(status >= 200 && status <= 599)) {
      this.done = true;
      this.stream.close(NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    if (endStream) this.done = true;
    (this.stream as http2.ServerHttp2Stream).respond(toObject(headers), { endStream, waitForTrailers: !endStream });
    if (endStream) setImmediate(() => this.onSent());
  }
}

/** Serves a connection whose first bytes have been read already. */
export function serveHttp2(socket: net.Socket, first: Buffer, callbacks: ServerCallbacks): ServerConnection {
  const connection: ServerConnection = {
    protocol: "HTTP/2",
    remoteAddress: `${socket.remoteAddress}:${socket.remotePort}`,
    localAddress: `${socket.localAddress}:${socket.localPort}`,
    close(flush) {
      if (flush) session?.close();
      else session?.destroy();
      if (!session) socket.destroy();
    },
  };
  let session: http2.ServerHttp2Session | undefined;
  const server = http2.createServer({ settings: { enableConnectProtocol: false } });
  server.on("sessionError", () => {});
  server.on("session", (made) => {
    session = made;
    made.on("error", () => {});
    made.on("close", () => callbacks.onClose());
  });
  // The raw headers come fourth; they keep the order.
  server.on("stream", ((stream: http2.ServerHttp2Stream, _headers: unknown, flags: number, raw: string[]) => {
    let over = false;
    stream.on("error", () => {});
    const encoder = new ServerWriter(stream);
    const decoder: RequestDecoder = callbacks.newStream(encoder);
    const last = (flags & 1) !== 0;
    // A request that ends with its headers has no data to tell of: another end would be heard as a body.
    if (!last) readInto(stream, () => (over ? undefined : decoder), "request-trailers");
    else stream.resume();
    stream.on("close", () => {
      if (over) return;
      over = true;
      if (stream.rstCode !== NGHTTP2_NO_ERROR || stream.aborted) gone();
    });
    stream.on("aborted", () => {
      if (over) return;
      over = true;
      gone();
    });
    const gone = () => {
      // envoy 1.40: RST_STREAM has its own words and flag.
      if (socket.destroyed || socketEnded) decoder.onReset("ConnectionTermination");
      else decoder.onReset("RemoteReset", stream.rstCode === NGHTTP2_REFUSED_STREAM ? "http2.remote_refuse" : "http2.remote_reset");
    };
    decoder.onHeaders(requestMap(raw), last);
  }) as never);
  // envoy 1.40: a client that closes its side is gone.
  let socketEnded = false;
  // Node's HTTP/2 takes what is left in the socket; it must not flow away before.
  socket.removeAllListeners("data");
  socket.removeAllListeners("end");
  socket.pause();
  socket.unshift(first);
  server.emit("connection", socket);
  socket.on("end", () => {
    socketEnded = true;
    session?.destroy();
  });
  return connection;
}

/** One stream of a connection to a host. */
class ClientStream implements MessageEncoder {
  private writer: ClientRequest | undefined;
  over = false;

  constructor(
    private readonly session: http2.ClientHttp2Session,
    private readonly decoder: ResponseDecoder,
  ) {}

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (isRefused(headers, REQUEST_PSEUDO) || headers.get(":method") === "CONNECT") {
      setImmediate(() => {
        if (this.over) return;
        this.over = true;
        this.decoder.onReset("ProtocolError");
      });
      return;
    }
    const stream = this.session.request(toObject(headers), { endStream, waitForTrailers: !endStream });
    this.writer = new ClientRequest(stream, endStream);
    const end = (reason: ResetReason) => {
      if (this.over) return;
      this.over = true;
      this.decoder.onReset(reason);
    };
    stream.on("error", () => {});
    stream.on("headers", (informational: http2.IncomingHttpHeaders) => this.decoder.on1xx(fromObject("response", informational)));
    stream.on("response", ((_headers: unknown, flags: number, raw: string[]) => {
      if (this.over) return;
      const map = toMap("response", raw);
      const last = (flags & 1) !== 0;
      if (last) this.over = true;
      else readInto(stream, () => this.reading(), "response-trailers");
      this.decoder.onHeaders(map, last);
    }) as never);
    stream.on("close", () => {
      if (stream.rstCode === NGHTTP2_PROTOCOL_ERROR) end("ProtocolError");
      else if (stream.rstCode === NGHTTP2_REFUSED_STREAM) end("RemoteRefusedStreamReset");
      else if (this.session.destroyed || this.session.closed) end("ConnectionTermination");
      else end("RemoteReset");
    });
  }

  private reading(): MessageDecoder | undefined {
    if (this.over) return undefined;
    const { decoder } = this;
    return {
      onHeaders() {},
      onReset() {},
      onData: (data, endStream) => {
        if (endStream) this.over = true;
        decoder.onData(data, endStream);
      },
      onTrailers: (trailers) => {
        this.over = true;
        decoder.onTrailers(trailers);
      },
    };
  }

  encodeData(data: Bytes, endStream: boolean): void {
    this.writer?.encodeData(data, endStream);
  }

  encodeTrailers(trailers: HeaderMap): void {
    this.writer?.encodeTrailers(trailers);
  }

  reset(): void {
    this.over = true;
    this.writer?.cancel();
  }

  readDisable(disable: boolean): void {
    this.writer?.readDisable(disable);
  }
}

class ClientRequest extends Writer {
  constructor(stream: http2.ClientHttp2Stream, done: boolean) {
    super(stream);
    this.done = done;
  }

  cancel(): void {
    this.done = true;
    if (!this.stream.closed) this.stream.close(NGHTTP2_INTERNAL_ERROR);
  }
}

export function createHttp2Pool(options: PoolOptions): HostPool {
  let session: http2.ClientHttp2Session | undefined;
  let address = { remote: "", local: "" };
  let connecting: { wishes: Set<{ decoder: ResponseDecoder; callbacks: PoolCallbacks; at: number }> } | undefined;

  const hand = (ready: http2.ClientHttp2Session, decoder: ResponseDecoder, callbacks: PoolCallbacks, readyNanoseconds: number) => {
    callbacks.onReady(new ClientStream(ready, decoder), { protocol: "HTTP/2", remoteAddress: address.remote, localAddress: address.local, readyNanoseconds });
  };

  const connect = () => {
    const wishes: NonNullable<typeof connecting>["wishes"] = new Set();
    connecting = { wishes };
    options.newConnectionId();
    const socket = connectTo(options);
    const fail = (reason: ResetReason, details: string) => {
      stopTimer();
      if (connecting?.wishes !== wishes) return;
      connecting = undefined;
      socket.destroy();
      for (const { callbacks } of wishes) callbacks.onFailure(reason, details);
    };
    const stopTimer = options.scheduler.setTimeout(() => fail("ConnectionTimeout", "connection timeout"), options.connectTimeoutMs);
    socket.once("error", (error) => fail("RemoteConnectionFailure", connectError(error)));
    socket.once(options.tls ? "secureConnect" : "connect", () => {
      stopTimer();
      if (connecting?.wishes !== wishes) return;
      connecting = undefined;
      address = { remote: `${socket.remoteAddress}:${socket.remotePort}`, local: `${socket.localAddress}:${socket.localPort}` };
      const made = http2.connect(`http://${options.host}:${options.port}`, { createConnection: () => socket });
      made.on("error", () => {});
      made.on("close", () => {
        if (session === made) session = undefined;
      });
      made.on("goaway", () => {
        if (session === made) session = undefined;
      });
      session = made;
      for (const { decoder, callbacks, at } of wishes) hand(made, decoder, callbacks, (options.scheduler.now() - at) * 1e6);
    });
  };

  return {
    newStream(decoder, callbacks) {
      if (session && !session.destroyed && !session.closed) {
        hand(session, decoder, callbacks, 0);
        return () => {};
      }
      if (!connecting) connect();
      const wish = { decoder, callbacks, at: options.scheduler.now() };
      const { wishes } = connecting!;
      wishes.add(wish);
      return () => wishes.delete(wish);
    },
    close() {
      // What was reset just now has to be told first.
      const open = session;
      setImmediate(() => open?.destroy());
    },
  };
}
