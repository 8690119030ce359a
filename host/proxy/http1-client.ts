// HTTP/1 connections to one host, reused when a response is complete.

import net from "node:net";
import tls from "node:tls";
import { Bytes } from "../vm/bytes.js";
import { HeaderMap } from "../vm/headermap.js";
import type { HostPool, PoolCallbacks, RequestEncoder, ResetReason, ResponseDecoder } from "./codec.js";
import { connectionSays } from "./hop-headers.js";
import { type Framing, framingOf, MAX_RESPONSE_HEAD, type MessageHandler, MessageParser, ParseError } from "./http1-parser.js";
import { MessageWriter } from "./http1-writer.js";
import type { Scheduler } from "./scheduler.js";

export interface PoolOptions {
  host: string;
  port: number;
  connectTimeoutMs: number;
  enableTrailers: boolean;
  tls?: { sni: string | undefined } | undefined;
  scheduler: Scheduler;
  /** In place of a connection over the network; it says "connect" when it is there. */
  connect?(): net.Socket;
  /** Connections are counted. */
  newConnectionId(): number;
}

/** envoy 1.40: methods whose requests are taken to have no body. */
const BODILESS = new Set(["GET", "HEAD", "DELETE", "TRACE", "CONNECT"]);

const FULL_READ = 64 * 1024;

export function connectTo({ host, port, tls: secure }: PoolOptions): net.Socket {
  return secure
    ? tls.connect({ host, port, ...(secure.sni && net.isIP(secure.sni) === 0 ? { servername: secure.sni } : {}), rejectUnauthorized: false })
    : net.connect({ host, port, allowHalfOpen: false });
}

/** The transport's own words for why a connection could not be made. */
export function connectError(error: NodeJS.ErrnoException): string {
  const words: Record<string, string> = { ECONNREFUSED: "Connection refused", EHOSTUNREACH: "No route to host", ENETUNREACH: "Network is unreachable" };
  return `delayed connect error: ${words[error.code ?? ""] ?? error.message}`;
}

export function createHttp1Pool(options: PoolOptions): HostPool {
  const idle: Connection[] = [];
  const all = new Set<Connection>();
  let closed = false;

  return {
    newStream(decoder, callbacks) {
      for (let kept = idle.pop(); kept; kept = idle.pop()) {
        if (!kept.usable) continue;
        kept.use(decoder, callbacks, 0);
        return () => {};
      }
      let cancelled = false;
      const started = options.scheduler.now();
      options.newConnectionId();
      const socket = options.connect?.() ?? connectTo(options);
      socket.setNoDelay(true);
      const stopTimer = options.scheduler.setTimeout(() => fail("ConnectionTimeout", "connection timeout"), options.connectTimeoutMs);
      const fail = (reason: ResetReason, details: string) => {
        stopTimer();
        if (cancelled) return;
        cancelled = true;
        socket.destroy();
        callbacks.onFailure(reason, details);
      };
      socket.once("error", (error) => fail("RemoteConnectionFailure", connectError(error)));
      socket.once(options.tls ? "secureConnect" : "connect", () => {
        stopTimer();
        if (cancelled || closed) {
          socket.destroy();
          return;
        }
        cancelled = true;
        const connection = new Connection(socket, options, {
          onIdle: () => idle.push(connection),
          onGone: () => all.delete(connection),
        });
        all.add(connection);
        connection.use(decoder, callbacks, (options.scheduler.now() - started) * 1e6);
      });
      return () => {
        if (cancelled) return;
        cancelled = true;
        stopTimer();
        socket.destroy();
      };
    },
    close() {
      closed = true;
      for (const connection of all) connection.destroy();
    },
  };
}

class Connection implements MessageHandler, RequestEncoder {
  private readonly parser = new MessageParser(this, MAX_RESPONSE_HEAD);
  private readonly writer: MessageWriter;
  private readonly remoteAddress: string;
  private readonly localAddress: string;
  private decoder: ResponseDecoder | undefined;
  private method = "";
  private requestDone = false;
  private responseDone = false;
  private closes = false;
  private gone = false;
  private tunnel = false;
  private gathered: Buffer[] = [];
  private scheduled = false;
  private disabled = 0;

  constructor(
    private readonly socket: net.Socket,
    private readonly options: PoolOptions,
    private readonly pool: { onIdle(): void; onGone(): void },
  ) {
    this.remoteAddress = `${socket.remoteAddress}:${socket.remotePort}`;
    this.localAddress = `${socket.localAddress}:${socket.localPort}`;
    this.writer = new MessageWriter(socket, options.enableTrailers, (above) => this.decoder?.onWatermark?.(above));
    socket.removeAllListeners("error");
    socket.on("error", () => this.onClose());
    socket.on("data", (data: Buffer) => this.onRead(data));
    socket.on("end", () => this.onClose());
    socket.on("close", () => this.onClose());
  }

  get usable(): boolean {
    return !this.gone && !this.socket.destroyed && this.parser.idle;
  }

  use(decoder: ResponseDecoder, callbacks: PoolCallbacks, readyNanoseconds: number): void {
    this.decoder = decoder;
    this.requestDone = false;
    this.responseDone = false;
    if (this.disabled > 0) this.socket.resume();
    this.disabled = 0;
    callbacks.onReady(this, { protocol: "HTTP/1.1", remoteAddress: this.remoteAddress, localAddress: this.localAddress, readyNanoseconds });
  }

  // The request.

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.method = headers.get(":method") ?? "";
    const authority = headers.get(":authority");
    const upgrade = connectionSays(headers, "upgrade") && headers.has("upgrade");
    const target = this.method === "CONNECT" ? (authority ?? "") : headers.get(":path");
    const startLine = `${this.method} ${target} HTTP/1.1\r\n${authority === undefined ? "" : `host: ${authority}\r\n`}`;
    this.writer.head(startLine, headers, upgrade ? "none" : endStream ? (BODILESS.has(this.method) ? "none" : "zero") : "chunked");
    if (endStream) this.endRequest();
  }

  encodeData(data: Bytes, endStream: boolean): void {
    this.writer.data(data, endStream);
    if (endStream) this.endRequest();
  }

  encodeTrailers(trailers: HeaderMap): void {
    this.writer.trailers(trailers);
    this.endRequest();
  }

  private endRequest(): void {
    this.requestDone = true;
    if (this.responseDone) this.release();
  }

  reset(): void {
    this.decoder = undefined;
    // envoy 1.40: what was written has left.
    this.writer.flush();
    this.destroy();
  }

  readDisable(disable: boolean): void {
    this.disabled += disable ? 1 : -1;
    if (this.disabled > 0) this.socket.pause();
    else this.socket.resume();
  }

  // The response.

  private onRead(data: Buffer): void {
    if (this.gone) return;
    this.gathered.push(data);
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
    if (this.gone || this.gathered.length === 0) return;
    const data = this.gathered.length === 1 ? this.gathered[0]! : Buffer.concat(this.gathered);
    this.gathered = [];
    try {
      this.parser.push(data);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.parser.stop();
      const { decoder } = this;
      this.decoder = undefined;
      this.destroy();
      decoder?.onReset("ProtocolError");
    }
  }

  onHead(startLine: string, names: string[], values: string[]): Framing | ParseError {
    const match = /^HTTP\/1\.([01]) (\d{3})(?: (.*))?$/.exec(startLine);
    // A response that nobody asked for is none either.
    if (!match || !this.decoder) return new ParseError("http1.codec_error");
    const status = Number(match[2]);
    if (status < 100) return new ParseError("http1.codec_error");
    const headers = new HeaderMap("response");
    headers.add(":status", match[2]!);
    for (let i = 0; i < names.length; i++) headers.add(names[i]!, values[i]!);
    if (status >= 100 && status < 200 && status !== 101) {
      this.decoder.on1xx(headers);
      this.informational = true;
      return { kind: "none" };
    }
    this.closes = match[1] === "0" ? !/keep-alive/i.test(headers.get("connection") ?? "") : connectionSays(headers, "close");
    if (status === 204) {
      if (headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0") return new ParseError("http1.codec_error");
      headers.remove("content-length");
    }
    const bodiless = this.method === "HEAD" || status === 204 || status === 304;
    const framing: Framing | ParseError = status === 101 ? { kind: "tunnel" } : bodiless ? { kind: "none" } : framingOf(names, values, { kind: "close" });
    if (framing instanceof ParseError) return framing;
    this.tunnel = framing.kind === "tunnel";
    if (framing.kind === "close") this.closes = true;
    const endStream = framing.kind === "none" || (framing.kind === "length" && framing.size === 0);
    this.headersOnly = endStream;
    if (endStream) this.finish();
    const { decoder } = this;
    decoder.onHeaders(headers, endStream);
    if (this.tunnel) decoder.onData(new Bytes(), false);
    return framing;
  }

  private informational = false;
  private headersOnly = false;

  onData(data: Bytes): void {
    this.decoder?.onData(data, false);
  }

  onComplete(trailers: [string, string][] | undefined): void {
    if (this.informational) {
      this.informational = false;
      return;
    }
    if (!this.headersOnly) {
      const { decoder } = this;
      this.finish();
      if (trailers && this.options.enableTrailers) decoder?.onTrailers(HeaderMap.of("response-trailers", trailers));
      else decoder?.onData(new Bytes(), true);
    }
    if (this.requestDone) this.release();
  }

  private finish(): void {
    this.responseDone = true;
  }

  /** Both messages are complete. */
  private release(): void {
    if (this.gone || !this.responseDone) return;
    this.decoder = undefined;
    this.writer.forget();
    if (this.closes || this.parser.waiting > 0) this.destroy();
    else this.pool.onIdle();
  }

  private onClose(): void {
    if (this.gone) return;
    this.dispatch();
    const { decoder } = this;
    // envoy 1.40: the end of an upgraded connection comes with an empty piece before it.
    if (this.tunnel && !this.responseDone) decoder?.onData(new Bytes(), false);
    const whole = this.parser.untilClose;
    if (whole) this.parser.end();
    this.decoder = undefined;
    this.destroy();
    // envoy 1.40: the end of the connection is parsed too, and in the middle of a message it is an error of the protocol.
    if (!whole && decoder && !this.responseDone) decoder.onReset(this.tunnel || this.parser.idle ? "ConnectionTermination" : "ProtocolError");
    else if (decoder && this.responseDone && !this.requestDone) decoder.onReset("ConnectionTermination");
  }

  destroy(): void {
    if (this.gone) return;
    this.gone = true;
    this.socket.destroy();
    this.pool.onGone();
  }
}
