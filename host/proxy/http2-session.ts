// One HTTP/2 connection, either side: frames in and out, streams, windows. What a message means is its server's or client's affair (http2.ts).
import type net from "node:net";
import { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";
import type { MessageDecoder, MessageEncoder, ResetReason } from "./codec.js";
import { encodeHpack, HpackDecoder, HpackError } from "./hpack.js";
import {
  Code,
  Flag,
  type Frame,
  FrameReader,
  frame,
  INITIAL_WINDOW,
  MAX_FRAME,
  MAX_WINDOW,
  PREFACE,
  Setting,
  settingsPayload,
  Type,
  uint32,
} from "./http2-frames.js";
import type { Field } from "./http2-headers.js";

export interface Http2Settings {
  /** What one stream, and all of them together, may send without being asked for more. */
  streamWindow: number;
  connectionWindow: number;
  maxConcurrentStreams: number;
}

/** envoy 1.40: what it announces unless it is configured. */
export const HTTP2_DEFAULTS: Http2Settings = { streamWindow: 16 << 20, connectionWindow: 24 << 20, maxConcurrentStreams: 1024 };

/** envoy 1.40: max_request_headers_kb and max_headers_count. */
const MAX_FIELD_BYTES = 60 * 1024;
const MAX_FIELDS = 100;

/** So much of header blocks is read to keep the compression's state, however much of it is thrown away. */
const MAX_BLOCK = 1 << 20;

/** Of what is to be sent and cannot be yet, more than this holds back where it comes from. */
const HIGH_WATERMARK = 1 << 20;

/** envoy 1.40's words for what its library's callbacks refuse. */
const REFUSED_BY_CALLBACK = "codec_error:The_user_callback_function_failed";

/** The connection cannot go on. */
export class Http2Error extends Error {
  constructor(
    /** Of the GOAWAY that says so; envoy 1.40 does not always send one. */
    readonly code: number | undefined,
    /** Details of the streams that end by it. */
    readonly details: string = REFUSED_BY_CALLBACK,
    /** The one stream that has other details than the rest. */
    readonly stream?: number,
  ) {
    super(details);
  }
}

export interface SessionCallbacks {
  /** Headers for an id that has no stream: it is given one, or they are nobody's. Throws Http2Error. */
  onBegin(id: number): Http2Stream | undefined;
  /** A header block that is whole. Throws Http2Error. */
  onHeaders(stream: Http2Stream, fields: Field[], endStream: boolean): void;
  /** Streams above this id will not be served. */
  onGoaway?(lastId: number): void;
  onSettings?(): void;
  /** A stream has ended on both sides, or was reset. */
  onStreamClosed(stream: Http2Stream): void;
  /** The connection has ended, or cannot go on; streams that were open have heard of it. */
  onEnd(error: Http2Error | undefined): void;
}

export class Http2Stream implements MessageEncoder {
  decoder: MessageDecoder | undefined;
  /** The peer has said all; and this side has. */
  remoteDone = false;
  localDone = false;
  closed = false;
  /** Headers that were no informational ones have come. */
  begun = false;
  /** By content-length; undefined where nobody knows. */
  expected: number | undefined;
  received = 0;
  sendWindow: number;
  private readonly queue = new Bytes();
  private ending: "data" | HeaderMap | undefined;
  private above = false;
  private disabled = 0;
  private held = 0;

  constructor(
    readonly session: Http2Session,
    readonly id: number,
  ) {
    this.sendWindow = session.peerStreamWindow;
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.localDone || this.closed) return;
    if (endStream) this.localDone = true;
    this.session.sendHeaders(this.id, headers, endStream);
    if (endStream) this.session.onLocalDone(this);
  }

  encodeData(data: Bytes, endStream: boolean): void {
    if (this.localDone || this.closed) {
      data.clear();
      return;
    }
    this.queue.move(data);
    if (endStream) {
      this.localDone = true;
      this.ending = "data";
    }
    this.pump();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.localDone || this.closed) return;
    this.localDone = true;
    // envoy 1.40: trailers without a field are the end of the body.
    this.ending = trailers.length > 0 ? trailers : "data";
    this.pump();
  }

  /** Sends as much as the windows let through. */
  pump(): void {
    if (this.closed) return;
    const { queue, session } = this;
    while (queue.length > 0) {
      const size = Math.min(queue.length, this.sendWindow, session.sendWindow, MAX_FRAME);
      if (size <= 0) break;
      this.sendWindow -= size;
      session.sendWindow -= size;
      const piece = queue.read(0, size);
      queue.drain(size);
      const last = queue.length === 0 && this.ending === "data";
      session.write(frame(Type.DATA, last ? Flag.END_STREAM : 0, this.id, piece));
      if (last) {
        this.sent();
        return;
      }
    }
    this.setAbove(queue.length > HIGH_WATERMARK || session.backedUp);
    if (queue.length > 0 || this.ending === undefined) return;
    if (this.ending === "data") session.write(frame(Type.DATA, Flag.END_STREAM, this.id));
    else session.sendHeaders(this.id, this.ending, true);
    this.sent();
  }

  private sent(): void {
    this.ending = undefined;
    this.setAbove(false);
    this.session.onLocalDone(this);
  }

  private setAbove(above: boolean): void {
    if (this.above === above) return;
    this.above = above;
    this.decoder?.onWatermark?.(above);
  }

  /** What still waits to be sent. */
  get waiting(): boolean {
    return this.queue.length > 0 || this.ending !== undefined || this.above;
  }

  reset(_reason: ResetReason): void {
    this.resetWith(Code.INTERNAL_ERROR);
  }

  resetWith(code: number): void {
    if (this.closed) return;
    this.session.write(frame(Type.RST_STREAM, 0, this.id, uint32(code)));
    this.decoder = undefined;
    this.close();
  }

  /** Nothing comes or goes any more. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.queue.clear();
    this.setAbove(false);
    // What was held back counts for the connection all the same.
    this.session.consumed(undefined, this.held);
    this.session.forget(this);
  }

  /** The peer, or the connection, ends it. */
  fail(reason: ResetReason, details?: string): void {
    const { decoder } = this;
    this.decoder = undefined;
    this.close();
    // envoy 1.40: of an upstream the reason is all that is told.
    decoder?.onReset(reason, this.session.isServer ? details : undefined);
  }

  readDisable(disable: boolean): void {
    this.disabled += disable ? 1 : -1;
    if (this.disabled > 0) return;
    const { held } = this;
    this.held = 0;
    this.session.consumed(this, held);
  }

  /** Data has come that took `size` of the windows. */
  took(size: number): void {
    if (this.disabled > 0) this.held += size;
    else this.session.consumed(this, size);
  }

  /** What of its window is to be given back. */
  unacked = 0;
}

export class Http2Session {
  readonly streams = new Map<number, Http2Stream>();
  sendWindow = INITIAL_WINDOW;
  peerStreamWindow = INITIAL_WINDOW;
  peerMaxStreams = Number.MAX_SAFE_INTEGER;
  /** The highest id that the peer has used. */
  lastRemoteId = 0;
  private nextId = 1;
  private readonly reader = new FrameReader();
  private readonly hpack = new HpackDecoder();
  private awaitsPreface: boolean;
  private block: { id: number; endStream: boolean; parts: Buffer[]; size: number } | undefined;
  private output: Buffer[] = [];
  private scheduled = false;
  private unacked = 0;
  private over = false;
  backedUp = false;

  constructor(
    private readonly socket: net.Socket,
    readonly isServer: boolean,
    private readonly settings: Http2Settings,
    private readonly callbacks: SessionCallbacks,
  ) {
    this.awaitsPreface = isServer;
    const announced: [number, number][] = [[Setting.INITIAL_WINDOW_SIZE, settings.streamWindow]];
    if (isServer) announced.push([Setting.MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams]);
    else announced.unshift([Setting.ENABLE_PUSH, 0]);
    if (!isServer) this.write(PREFACE);
    this.write(frame(Type.SETTINGS, 0, 0, settingsPayload(announced)));
    if (settings.connectionWindow > INITIAL_WINDOW) this.write(frame(Type.WINDOW_UPDATE, 0, 0, uint32(settings.connectionWindow - INITIAL_WINDOW)));
    socket.on("data", (data: Buffer) => this.onRead(data));
    socket.on("end", () => this.end());
    socket.on("error", () => this.end());
    socket.on("close", () => this.end());
    socket.on("drain", () => this.onDrain());
  }

  get usable(): boolean {
    return !this.over && !this.socket.destroyed;
  }

  /** The id of a stream that this side begins. */
  newId(): number {
    const id = this.nextId;
    this.nextId += 2;
    return id;
  }

  forget(stream: Http2Stream): void {
    this.streams.delete(stream.id);
    this.callbacks.onStreamClosed(stream);
  }

  onLocalDone(stream: Http2Stream): void {
    if (stream.remoteDone) stream.close();
    // envoy 1.40: a response that is complete before its request ends the stream.
    else if (this.isServer) stream.resetWith(Code.NO_ERROR);
  }

  onRemoteDone(stream: Http2Stream): void {
    stream.remoteDone = true;
    if (stream.localDone && !stream.waiting) stream.close();
  }

  // Out.

  sendHeaders(id: number, headers: HeaderMap, endStream: boolean): void {
    const block = encodeHpack(headers.entries());
    for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME) {
      const isLast = at + MAX_FRAME >= block.length;
      const flags = (at === 0 && endStream ? Flag.END_STREAM : 0) | (isLast ? Flag.END_HEADERS : 0);
      this.write(frame(at === 0 ? Type.HEADERS : Type.CONTINUATION, flags, id, block.subarray(at, at + MAX_FRAME)));
    }
  }

  write(bytes: Buffer): void {
    this.output.push(bytes);
    if (this.scheduled) return;
    this.scheduled = true;
    // Everything of one turn of the event loop leaves together.
    process.nextTick(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  flush(): void {
    const { output, socket } = this;
    this.output = [];
    if (output.length === 0 || socket.destroyed || !socket.writable) return;
    if (!socket.write(output.length === 1 ? output[0]! : Buffer.concat(output))) this.backedUp = socket.writableLength > HIGH_WATERMARK;
  }

  private onDrain(): void {
    this.backedUp = false;
    for (const stream of [...this.streams.values()]) if (stream.waiting) stream.pump();
  }

  /** Bytes of data have been taken: windows open again when half of them is used up. */
  consumed(stream: Http2Stream | undefined, size: number): void {
    if (size === 0) return;
    this.unacked += size;
    if (this.unacked * 2 >= this.settings.connectionWindow) {
      this.write(frame(Type.WINDOW_UPDATE, 0, 0, uint32(this.unacked)));
      this.unacked = 0;
    }
    if (!stream || stream.closed || stream.remoteDone) return;
    stream.unacked += size;
    if (stream.unacked * 2 < this.settings.streamWindow) return;
    this.write(frame(Type.WINDOW_UPDATE, 0, stream.id, uint32(stream.unacked)));
    stream.unacked = 0;
  }

  // In.

  private onRead(data: Buffer): void {
    if (this.over) return;
    this.reader.push(data);
    try {
      if (this.awaitsPreface && !this.preface()) return;
      for (let next = this.reader.next(); next && !this.over; next = this.reader.next()) {
        if (next === "too large") throw new Http2Error(Code.FRAME_SIZE_ERROR);
        this.onFrame(next);
      }
    } catch (error) {
      if (!(error instanceof Http2Error)) throw error;
      this.fail(error);
    }
  }

  private preface(): boolean {
    const begun = this.reader.peek(PREFACE.length);
    if (!begun.equals(PREFACE.subarray(0, begun.length))) throw new Http2Error(Code.PROTOCOL_ERROR);
    if (!this.reader.take(PREFACE.length)) return false;
    this.awaitsPreface = false;
    return true;
  }

  private onFrame({ type, flags, stream: id, payload }: Frame): void {
    if (this.block && (type !== Type.CONTINUATION || id !== this.block.id)) throw new Http2Error(Code.PROTOCOL_ERROR);
    switch (type) {
      case Type.DATA:
        this.onData(id, flags, payload);
        return;
      case Type.HEADERS: {
        if (id === 0) throw new Http2Error(Code.PROTOCOL_ERROR);
        const fragment = unpadded(flags, payload, flags & Flag.PRIORITY ? 5 : 0);
        this.block = { id, endStream: (flags & Flag.END_STREAM) !== 0, parts: [fragment], size: fragment.length };
        if (flags & Flag.END_HEADERS) this.onBlock();
        return;
      }
      case Type.CONTINUATION:
        if (!this.block) throw new Http2Error(Code.PROTOCOL_ERROR);
        this.block.parts.push(payload);
        this.block.size += payload.length;
        if (this.block.size > MAX_BLOCK) throw new Http2Error(undefined);
        if (flags & Flag.END_HEADERS) this.onBlock();
        return;
      case Type.RST_STREAM:
        this.onReset(id, payload);
        return;
      case Type.SETTINGS:
        this.onSettings(id, flags, payload);
        return;
      case Type.PUSH_PROMISE:
        throw new Http2Error(undefined, "http2.unknown.nghttp2.error");
      case Type.PING:
        if (payload.length !== 8 || id !== 0) throw new Http2Error(payload.length === 8 ? Code.PROTOCOL_ERROR : Code.FRAME_SIZE_ERROR);
        if (!(flags & Flag.ACK)) this.write(frame(Type.PING, Flag.ACK, 0, payload));
        return;
      case Type.GOAWAY:
        if (payload.length < 8 || id !== 0) throw new Http2Error(payload.length < 8 ? Code.FRAME_SIZE_ERROR : Code.PROTOCOL_ERROR);
        this.callbacks.onGoaway?.(payload.readUInt32BE(0) & MAX_WINDOW);
        return;
      case Type.WINDOW_UPDATE:
        this.onWindowUpdate(id, payload);
        return;
      default:
      // PRIORITY, and what is not known, changes nothing.
    }
  }

  private onData(id: number, flags: number, payload: Buffer): void {
    const stream = this.streams.get(id);
    const data = unpadded(flags, payload, 0);
    if (id === 0 || (!stream && this.isIdle(id))) throw new Http2Error(Code.PROTOCOL_ERROR);
    if (!stream) {
      // Was on its way when the stream was reset.
      this.consumed(undefined, payload.length);
      return;
    }
    if (stream.remoteDone) throw new Http2Error(Code.STREAM_CLOSED);
    const endStream = (flags & Flag.END_STREAM) !== 0;
    stream.received += data.length;
    const { expected, received } = stream;
    if (!stream.begun) throw new Http2Error(Code.PROTOCOL_ERROR);
    if (expected !== undefined && (received > expected || (endStream && received !== expected))) {
      this.consumed(undefined, payload.length);
      this.refuse(stream, Code.PROTOCOL_ERROR, "ProtocolError", "http2.remote_reset");
      return;
    }
    stream.took(payload.length);
    const { decoder } = stream;
    if (endStream) this.onRemoteDone(stream);
    // Parts of what was read live longer than the rest of it.
    decoder?.onData(new Bytes(Uint8Array.from(data)), endStream);
  }

  private isIdle(id: number): boolean {
    return this.isServer ? id > this.lastRemoteId || id % 2 === 0 : id >= this.nextId || id % 2 === 0;
  }

  private onBlock(): void {
    const { id, endStream, parts } = this.block!;
    this.block = undefined;
    const stream = this.streams.get(id) ?? this.callbacks.onBegin(id);
    const fields: Field[] = [];
    let bytes = 0;
    try {
      this.hpack.decode(parts.length === 1 ? parts[0]! : Buffer.concat(parts), (name, value) => {
        bytes += name.length + value.length;
        if (bytes <= MAX_FIELD_BYTES && fields.length <= MAX_FIELDS) fields.push([name, value]);
      });
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      throw new Http2Error(Code.COMPRESSION_ERROR);
    }
    if (!stream) return;
    if (bytes > MAX_FIELD_BYTES) this.refuse(stream, Code.INTERNAL_ERROR, "RemoteReset", "http2.header_list_size_too_large");
    else if (fields.length > MAX_FIELDS) this.refuse(stream, Code.INTERNAL_ERROR, "RemoteReset", "http2.too_many_headers");
    else this.callbacks.onHeaders(stream, fields, endStream);
  }

  /** This side finds a fault in one stream. */
  refuse(stream: Http2Stream, code: number, reason: ResetReason, details: string): void {
    this.write(frame(Type.RST_STREAM, 0, stream.id, uint32(code)));
    stream.fail(reason, details);
  }

  private onReset(id: number, payload: Buffer): void {
    if (payload.length !== 4) throw new Http2Error(Code.FRAME_SIZE_ERROR);
    if (id === 0 || (!this.streams.has(id) && this.isIdle(id))) throw new Http2Error(undefined);
    const stream = this.streams.get(id);
    if (!stream) return;
    const code = payload.readUInt32BE(0);
    if (code === Code.REFUSED_STREAM) stream.fail("RemoteRefusedStreamReset", "http2.remote_refuse");
    else stream.fail(code === Code.PROTOCOL_ERROR && !this.isServer ? "ProtocolError" : "RemoteReset", "http2.remote_reset");
  }

  private onSettings(id: number, flags: number, payload: Buffer): void {
    if (id !== 0 || payload.length % 6 !== 0) throw new Http2Error(id === 0 ? Code.FRAME_SIZE_ERROR : Code.PROTOCOL_ERROR);
    if (flags & Flag.ACK) return;
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      switch (payload.readUInt16BE(at)) {
        case Setting.ENABLE_PUSH:
          if (value > 1) throw new Http2Error(undefined);
          break;
        case Setting.MAX_CONCURRENT_STREAMS:
          this.peerMaxStreams = value;
          break;
        case Setting.INITIAL_WINDOW_SIZE: {
          if (value > MAX_WINDOW) throw new Http2Error(undefined);
          const change = value - this.peerStreamWindow;
          this.peerStreamWindow = value;
          for (const stream of [...this.streams.values()]) {
            stream.sendWindow += change;
            if (stream.sendWindow > MAX_WINDOW) throw new Http2Error(undefined);
            stream.pump();
          }
          break;
        }
        case Setting.MAX_FRAME_SIZE:
          if (value < MAX_FRAME || value > 0xffffff) throw new Http2Error(undefined);
          break;
        default:
      }
    }
    this.write(frame(Type.SETTINGS, Flag.ACK, 0));
    this.callbacks.onSettings?.();
  }

  private onWindowUpdate(id: number, payload: Buffer): void {
    if (payload.length !== 4) throw new Http2Error(Code.FRAME_SIZE_ERROR);
    const increment = payload.readUInt32BE(0) & MAX_WINDOW;
    if (increment === 0) throw new Http2Error(undefined);
    if (id === 0) {
      this.sendWindow += increment;
      if (this.sendWindow > MAX_WINDOW) throw new Http2Error(undefined);
      for (const stream of [...this.streams.values()]) stream.pump();
      return;
    }
    const stream = this.streams.get(id);
    if (!stream) {
      if (this.isIdle(id)) throw new Http2Error(undefined);
      return;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_WINDOW) this.refuse(stream, Code.FLOW_CONTROL_ERROR, "ProtocolError", "http2.remote_reset");
    else stream.pump();
  }

  // The end.

  private fail(error: Http2Error): void {
    if (this.over) return;
    this.over = true;
    if (error.code !== undefined) this.write(frame(Type.GOAWAY, 0, 0, uint32(this.lastRemoteId, error.code)));
    this.flush();
    for (const stream of [...this.streams.values()])
      stream.fail("ProtocolError", error.stream === undefined || error.stream === stream.id ? error.details : REFUSED_BY_CALLBACK);
    this.callbacks.onEnd(error);
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    for (const stream of [...this.streams.values()]) stream.fail("ConnectionTermination");
    this.callbacks.onEnd(undefined);
  }

  /** Writes what there is, and closes. */
  close(): void {
    this.flush();
    this.socket.destroySoon();
    this.end();
  }

  destroy(): void {
    this.flush();
    this.socket.destroy();
    this.end();
  }
}

/** A payload without its padding, and without `skip` bytes at its front. */
function unpadded(flags: number, payload: Buffer, skip: number): Buffer {
  const isPadded = (flags & Flag.PADDED) !== 0;
  const start = (isPadded ? 1 : 0) + skip;
  const end = payload.length - (isPadded ? (payload[0] ?? 0) : 0);
  if (end < start) throw new Http2Error(Code.PROTOCOL_ERROR);
  return payload.subarray(start, end);
}
