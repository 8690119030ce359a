// A request or a response of a stream: headers, body, trailers, and how far the message has come.

import { Body } from "./body";
import { HeaderMap, statusOf } from "./headers";
import { Json } from "./json";
import { Level, write } from "./log";
import { Direction, getBuffer, getBufferStatus, MapType, Status, setBuffer } from "./runtime/abi";
import { awaitEnd } from "./runtime/chain";
import { focus } from "./runtime/focus";
import { decimal, out, receiveManaged, takeReceived } from "./runtime/memory";
import { Cell } from "./runtime/roots";
import { Stream } from "./stream";

export class Message {
  // ---- State, for the runtime only. "held" = a status of ours keeps Envoy from sending it on.
  /** @internal Headers have arrived. */ seen: bool = false;
  /** @internal No more bytes will come. */ ended: bool = false;
  /** @internal The message was complete with its headers. */ bodyless: bool = false;
  /** @internal We returned a stop status and owe a continue. */ paused: bool = false;
  /** @internal Every filter has let the headers go. */ released: bool = false;
  /** @internal A callback of this direction is on the stack: its return value decides, never `proxy_continue_stream`. */ inside: bool = false;
  /** @internal `size` bytes of the body are in Envoy's buffer, complete and ours to replace. */ whole: bool = false;
  /** @internal Bytes of the body at hand in Envoy's buffer: the whole of it, or the current frame. */ size: i32 = 0;
  /** @internal Envoy's buffer can be read and written now. */ bufferOpen: bool = false;
  /** @internal The last body status was AndBuffer: later callbacks show all that was held, and it stays readable in between. */ buffering: bool = false;
  /** @internal The body is read chunk by chunk. */ streaming: bool = false;
  /** @internal The whole body, once read. */ content: ArrayBuffer | null = null;
  /** @internal Where the current chunk begins in Envoy's buffer. */ chunkStart: i32 = 0;
  /** @internal */ chunkSize: i32 = 0;
  /** @internal A chunk is being looked at. */ chunkOpen: bool = false;
  /** @internal */ trailersSeen: bool = false;
  /** @internal The filter that reads it chunk by chunk. */ reader: Cell | null = null;
  /** @internal This response is a reply of our own. */ ownReply: bool = false;
  /** @internal A frame was passed on by a low-level filter. */ passed: bool = false;
  /** @internal A low-level filter resumed it inside its own callback. */ resumed: bool = false;

  /** @internal */ headerMap: HeaderMap | null = null;
  /** @internal */ trailerMap: HeaderMap | null = null;

  /** @internal Set by the stream that makes it. */ stream: Stream = changetype<Stream>(0);

  /** @internal */
  constructor(/** @internal */ public direction: i32) {}

  /** @internal */
  get label(): string {
    return this.direction == Direction.Request ? "request" : "response";
  }

  /** @internal */
  get buffer(): i32 {
    return this.direction;
  }

  /** The headers. Changes reach Envoy at once, until the headers are sent on. */
  get headers(): HeaderMap {
    let map = this.headerMap;
    if (map === null) {
      map = new HeaderMap(this.direction == Direction.Request ? MapType.RequestHeaders : MapType.ResponseHeaders, this.stream.id);
      map.live = this.seen && !this.released;
      this.headerMap = map;
    }
    return map;
  }

  /** @internal */
  awaitTrailers(): HeaderMap {
    if (!this.ended) awaitEnd(this);
    return this.openTrailers();
  }

  /** @internal */
  openTrailers(): HeaderMap {
    let map = this.trailerMap;
    if (map === null) {
      map = new HeaderMap(this.direction == Direction.Request ? MapType.RequestTrailers : MapType.ResponseTrailers, this.stream.id);
      // Envoy 1.40 makes trailers where there are none when they are written in the last body callback. Where something of the message is held
      // then, it passes them on twice, which corrupts an HTTP/1 connection: only a message that flows can be given trailers.
      map.live = this.trailersSeen || (this.ended && this.inside && this.bufferOpen && this.released && !this.paused);
      this.trailerMap = map;
    }
    return map;
  }

  /** @internal Trailers arrived: a view that was opened before shows them. */
  receiveTrailers(): void {
    this.trailersSeen = true;
    const map = this.trailerMap;
    if (map === null) return;
    map.live = true;
    map.forget();
  }

  /** @internal Trailers were made in this callback: Envoy hands them on when it returns, so what comes before them cannot be held. */
  get madeTrailers(): bool {
    const map = this.trailerMap;
    return map !== null && map.changed && !this.trailersSeen;
  }

  // ---- Chunks. Envoy's buffer is either one frame (the usual case) or, while a filter waits for something else, all that came meanwhile.

  /** @internal Moves behind the current chunk. */
  settleChunk(): void {
    if (!this.chunkOpen) return;
    this.chunkStart += this.chunkSize;
    this.chunkOpen = false;
    this.chunkSize = 0;
  }

  /** @internal Opens what lies behind the chunks seen so far. */
  presentChunk(): bool {
    if (!this.bufferOpen || this.size <= this.chunkStart) return false;
    this.chunkSize = this.size - this.chunkStart;
    this.chunkOpen = true;
    return true;
  }

  /** @internal */
  readChunk(): ArrayBuffer {
    if (!this.bufferOpen || this.chunkSize == 0 || !focus(this.stream.id)) return new ArrayBuffer(0);
    receiveManaged();
    getBuffer(this.buffer, this.chunkStart, this.chunkSize, out, out + 4);
    return takeReceived();
  }

  /** @internal */
  replaceChunk(bytes: ArrayBuffer): bool {
    if (!this.chunkOpen || !this.bufferOpen || !focus(this.stream.id)) return this.tooLate();
    const size = bytes.byteLength;
    const before = this.chunkStart;
    if (before == 0) {
      setBuffer(this.buffer, 0, this.chunkSize, changetype<usize>(bytes), size);
    } else {
      // Envoy cannot replace in the middle: chunks already dealt with are still in front, so everything is put back.
      receiveManaged();
      getBuffer(this.buffer, 0, before, out, out + 4);
      const front = takeReceived();
      receiveManaged();
      const behind = before + this.chunkSize;
      getBuffer(this.buffer, behind, this.size - behind, out, out + 4);
      const back = takeReceived();
      const all = new ArrayBuffer(front.byteLength + size + back.byteLength);
      const to = changetype<usize>(all);
      memory.copy(to, changetype<usize>(front), front.byteLength);
      memory.copy(to + front.byteLength, changetype<usize>(bytes), size);
      memory.copy(to + front.byteLength + size, changetype<usize>(back), back.byteLength);
      setBuffer(this.buffer, 0, this.size, to, all.byteLength);
    }
    this.size += size - this.chunkSize;
    this.chunkSize = size;
    return true;
  }

  /** @internal */
  appendChunk(bytes: ArrayBuffer): bool {
    if (!this.bufferOpen || !(this.chunkOpen || this.ended) || !focus(this.stream.id)) return this.tooLate();
    const behind = this.chunkOpen ? this.chunkStart + this.chunkSize : this.size;
    if (behind < this.size) {
      const old = this.readChunk();
      const both = new ArrayBuffer(old.byteLength + bytes.byteLength);
      memory.copy(changetype<usize>(both), changetype<usize>(old), old.byteLength);
      memory.copy(changetype<usize>(both) + old.byteLength, changetype<usize>(bytes), bytes.byteLength);
      return this.replaceChunk(both);
    }
    // A start behind the end appends.
    setBuffer(this.buffer, i32.MAX_VALUE, 0, changetype<usize>(bytes), bytes.byteLength);
    this.size += bytes.byteLength;
    if (this.chunkOpen) this.chunkSize += bytes.byteLength;
    else this.chunkStart = this.size;
    return true;
  }

  private tooLate(): bool {
    write(Level.Error, "the " + this.label + " body was not changed: no chunk is at hand here");
    return false;
  }

  /** @internal What Envoy holds for us, asked where a root callback (an answered callout) goes on with a held body. */
  openHeldBuffer(): void {
    if (!this.buffering) return;
    if (getBufferStatus(this.buffer, out, out + 4) != Status.Ok) return;
    this.size = load<i32>(out);
    this.bufferOpen = true;
  }
}

/** The request, as the client (or the filter before) sent it. */
export class Request extends Message {
  private bodyView: Body<Request> | null = null;

  /** @internal */
  constructor() {
    super(Direction.Request);
  }

  /** `GET`, `POST` … */
  get method(): string {
    return this.pseudo(":method");
  }
  set method(value: string) {
    this.headers.set(":method", value);
  }

  /** Path and query: `/a/b?c=d`. */
  get path(): string {
    return this.pseudo(":path");
  }
  set path(value: string) {
    this.headers.set(":path", value);
  }

  /** Host and port as the client named them: `example.com:8080`. */
  get host(): string {
    return this.pseudo(":authority");
  }
  set host(value: string) {
    this.headers.set(":authority", value);
  }

  /** `http` or `https`. */
  get scheme(): string {
    return this.pseudo(":scheme");
  }

  /** What follows the first "?" of the path, without it; empty where there is none. */
  get query(): string {
    const path = this.path;
    const mark = path.indexOf("?");
    return mark < 0 ? "" : path.substring(mark + 1);
  }

  get body(): Body<Request> {
    let view = this.bodyView;
    if (view === null) {
      view = new Body<Request>(this);
      this.bodyView = view;
    }
    return view;
  }

  /** The whole body as text: short for `body.text()`. */
  text(): string {
    return this.body.text();
  }
  /** The whole body as bytes. */
  bytes(): Uint8Array {
    return this.body.bytes();
  }
  /** The whole body as JSON. */
  json(): Json {
    return this.body.json();
  }

  /** The trailers; waits for the end of the request. Empty where there are none: then some can be set, but only at the end of a `body.next()` loop. */
  get trailers(): HeaderMap {
    return this.awaitTrailers();
  }

  private pseudo(name: string): string {
    const value = this.headers.get(name);
    return value === null ? "" : value;
  }
}

/** The response, as the upstream (or the filter behind) sent it. There is none before `stream.next()` has returned. */
export class Response extends Message {
  private bodyView: Body<Response> | null = null;

  /** @internal */
  constructor() {
    super(Direction.Response);
  }

  /** The status code; 0 before the response is there. */
  get status(): i32 {
    const value = this.headers.get(":status");
    return value === null ? 0 : statusOf(value);
  }
  /** 200 to 599. */
  set status(value: i32) {
    this.headers.set(":status", decimal(value));
  }

  get body(): Body<Response> {
    let view = this.bodyView;
    if (view === null) {
      view = new Body<Response>(this);
      this.bodyView = view;
    }
    return view;
  }

  /** The whole body as text: short for `body.text()`. */
  text(): string {
    return this.body.text();
  }
  /** The whole body as bytes. */
  bytes(): Uint8Array {
    return this.body.bytes();
  }
  /** The whole body as JSON. */
  json(): Json {
    return this.body.json();
  }

  /** The trailers; waits for the end of the response. Empty where there are none: then some can be set, but only at the end of a `body.next()` loop. */
  get trailers(): HeaderMap {
    return this.awaitTrailers();
  }
}
