// HTTP/2 without TLS from clients, and to hosts with or without: what messages mean to the proxy.
import type net from "node:net";
import type { HeaderMap } from "../vm/headermap.js";
import type { HostPool, PoolCallbacks, ResetReason, ResponseDecoder, ResponseEncoder, ServerCallbacks, ServerConnection } from "./codec.js";
import { connectError, connectTo, type PoolOptions } from "./http1-client.js";
import { Code } from "./http2-frames.js";
import { type Fault, type Field, requestFault, responseFault, toMap, trailersFault } from "./http2-headers.js";
import { HTTP2_DEFAULTS, Http2Error, Http2Session, type Http2Settings, Http2Stream, type SessionCallbacks } from "./http2-session.js";

/** envoy 1.40: delayed_close_timeout. */
const DELAYED_CLOSE_MS = 1000;

/** A body's length as its headers promise it; undefined where they do not. */
function lengthOf(fields: readonly Field[]): number | undefined {
  const value = fields.find(([name]) => name === "content-length")?.[1];
  return value === undefined ? undefined : Number(value);
}

/** A response's stream can also send informational headers. */
class ServerStream extends Http2Stream implements ResponseEncoder {
  encode1xx(headers: Parameters<ResponseEncoder["encode1xx"]>[0]): void {
    if (!this.localDone && !this.closed) this.session.sendHeaders(this.id, headers, false);
  }
}

/** Serves a connection whose first bytes have been read already. */
export function serveHttp2(socket: net.Socket, first: Buffer, callbacks: ServerCallbacks, settings: Http2Settings = HTTP2_DEFAULTS): ServerConnection {
  const check = (stream: Http2Stream, fault: Fault | undefined) => {
    // envoy 1.40: nothing is said of it; the connection ends a moment later.
    if (fault) throw new Http2Error(undefined, fault, stream.id);
  };
  const sessionCallbacks: SessionCallbacks = {
    onBegin(id) {
      if (id % 2 === 0) throw new Http2Error(undefined);
      if (id <= session.lastRemoteId) return undefined;
      session.lastRemoteId = id;
      const stream = new ServerStream(session, id);
      session.streams.set(id, stream);
      if (session.streams.size > settings.maxConcurrentStreams) stream.resetWith(Code.REFUSED_STREAM);
      else stream.decoder = callbacks.newStream(stream);
      return stream.closed ? undefined : stream;
    },
    onHeaders(stream, fields, endStream) {
      const { decoder } = stream;
      if (stream.begun) {
        if (stream.remoteDone) throw new Http2Error(Code.STREAM_CLOSED);
        check(stream, trailersFault(fields, endStream));
        session.onRemoteDone(stream);
        decoder?.onTrailers(toMap("request-trailers", fields));
        return;
      }
      check(stream, requestFault(fields, endStream));
      stream.begun = true;
      stream.expected = lengthOf(fields);
      if (endStream) session.onRemoteDone(stream);
      decoder?.onHeaders(toMap("request", fields), endStream);
    },
    onStreamClosed() {},
    onEnd(error) {
      if (error) {
        setTimeout(() => socket.destroy(), DELAYED_CLOSE_MS).unref();
        socket.on("end", () => socket.destroy());
        socket.resume();
      } else socket.destroy();
      callbacks.onClose();
    },
  };
  socket.removeAllListeners("data");
  socket.removeAllListeners("end");
  const session: Http2Session = new Http2Session(socket, true, settings, sessionCallbacks);
  socket.unshift(first);
  socket.resume();
  return {
    protocol: "HTTP/2",
    remoteAddress: `${socket.remoteAddress}:${socket.remotePort}`,
    localAddress: `${socket.localAddress}:${socket.localPort}`,
    close(flush) {
      if (flush) session.close();
      else session.destroy();
    },
  };
}

class ClientStream extends Http2Stream {
  isHead = false;

  override encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    const method = headers.get(":method");
    this.isHead = method === "HEAD";
    // envoy 1.40: a guest's request may do without.
    if (method !== "CONNECT" && !headers.has(":scheme")) headers.add(":scheme", "http");
    super.encodeHeaders(headers, endStream);
  }
}

/** Streams on one connection to a host. */
class ClientConnection implements SessionCallbacks {
  readonly session: Http2Session;
  private draining = false;

  constructor(
    private readonly socket: net.Socket,
    settings: Http2Settings,
    private readonly pool: { onRoom(): void; onGone(connection: ClientConnection): void },
  ) {
    this.session = new Http2Session(socket, false, settings, this);
  }

  get usable(): boolean {
    return !this.draining && this.session.usable;
  }

  get hasRoom(): boolean {
    return this.session.streams.size < this.session.peerMaxStreams;
  }

  start(decoder: ResponseDecoder): Http2Stream {
    const stream = new ClientStream(this.session, this.session.newId());
    this.session.streams.set(stream.id, stream);
    stream.decoder = decoder;
    return stream;
  }

  onBegin(id: number): undefined {
    if (id % 2 === 0) throw new Http2Error(Code.PROTOCOL_ERROR);
    return undefined;
  }

  onHeaders(stream: ClientStream, fields: Field[], endStream: boolean): void {
    const decoder = stream.decoder as ResponseDecoder | undefined;
    const fault = stream.begun ? trailersFault(fields, endStream) : responseFault(fields);
    if (fault) throw new Http2Error(undefined, fault);
    if (stream.begun) {
      this.session.onRemoteDone(stream);
      decoder?.onTrailers(toMap("response-trailers", fields));
      return;
    }
    const headers = toMap("response", fields);
    const status = headers.get(":status")!;
    if (status < "200") {
      decoder?.on1xx(headers);
      return;
    }
    stream.begun = true;
    // A response to HEAD, and one that says that nothing has changed, promise what they do not send.
    stream.expected = status === "204" ? 0 : status === "304" || stream.isHead ? undefined : lengthOf(fields);
    if (endStream) this.session.onRemoteDone(stream);
    decoder?.onHeaders(headers, endStream);
  }

  onSettings(): void {
    this.pool.onRoom();
  }

  onStreamClosed(): void {
    this.pool.onRoom();
    if (this.draining && this.session.streams.size === 0) this.socket.destroySoon();
  }

  onGoaway(lastId: number): void {
    this.draining = true;
    this.pool.onGone(this);
    for (const stream of [...this.session.streams.values()]) if (stream.id > lastId) stream.fail("RemoteRefusedStreamReset");
    if (this.session.streams.size === 0) this.socket.destroySoon();
  }

  onEnd(): void {
    this.pool.onGone(this);
    this.socket.destroySoon();
  }
}

interface Wish {
  decoder: ResponseDecoder;
  callbacks: PoolCallbacks;
  at: number;
}

export function createHttp2Pool(options: PoolOptions & { settings?: Http2Settings | undefined }): HostPool {
  const connections: ClientConnection[] = [];
  const addresses = new Map<ClientConnection, { remote: string; local: string }>();
  /** Those who wait for a connection, or for room on one. */
  const wishes = new Set<Wish>();
  let connecting: net.Socket | undefined;
  let closed = false;

  const hand = (connection: ClientConnection, { decoder, callbacks, at }: Wish, waited: boolean) => {
    const { remote, local } = addresses.get(connection)!;
    const readyNanoseconds = waited ? (options.scheduler.now() - at) * 1e6 : 0;
    callbacks.onReady(connection.start(decoder), { protocol: "HTTP/2", remoteAddress: remote, localAddress: local, readyNanoseconds });
  };
  const free = () => connections.find((connection) => connection.usable && connection.hasRoom);
  const serve = () => {
    for (const wish of [...wishes]) {
      const connection = free();
      if (!connection) break;
      wishes.delete(wish);
      hand(connection, wish, true);
    }
    if (wishes.size > 0 && !connecting && !closed && !connections.some(({ usable }) => usable)) connect();
  };

  const connect = () => {
    options.newConnectionId();
    const socket = options.connect?.() ?? connectTo(options);
    connecting = socket;
    const fail = (reason: ResetReason, details: string) => {
      stopTimer();
      if (connecting !== socket) return;
      connecting = undefined;
      socket.destroy();
      const waiting = [...wishes];
      wishes.clear();
      for (const { callbacks } of waiting) callbacks.onFailure(reason, details);
    };
    const stopTimer = options.scheduler.setTimeout(() => fail("ConnectionTimeout", "connection timeout"), options.connectTimeoutMs);
    const onError = (error: Error) => fail("RemoteConnectionFailure", connectError(error));
    socket.once("error", onError);
    socket.once(options.tls ? "secureConnect" : "connect", () => {
      stopTimer();
      if (connecting !== socket) return;
      connecting = undefined;
      socket.off("error", onError);
      socket.setNoDelay(true);
      const connection = new ClientConnection(socket, options.settings ?? HTTP2_DEFAULTS, {
        onRoom: serve,
        onGone(gone) {
          const at = connections.indexOf(gone);
          if (at >= 0) connections.splice(at, 1);
          serve();
        },
      });
      addresses.set(connection, { remote: `${socket.remoteAddress}:${socket.remotePort}`, local: `${socket.localAddress}:${socket.localPort}` });
      connections.push(connection);
      serve();
    });
  };

  return {
    newStream(decoder, callbacks) {
      const wish: Wish = { decoder, callbacks, at: options.scheduler.now() };
      const connection = wishes.size === 0 ? free() : undefined;
      if (connection) {
        hand(connection, wish, false);
        return () => {};
      }
      wishes.add(wish);
      serve();
      return () => wishes.delete(wish);
    },
    close() {
      closed = true;
      wishes.clear();
      connecting?.destroy();
      // What was reset just now has to be told first.
      const open = [...connections];
      setImmediate(() => {
        for (const { session } of open) session.destroy();
      });
    },
  };
}
