// The body of a request or response: read whole, or chunk by chunk as it passes. `T` is the message it belongs to, so that the compiler knows
// which direction a filter reads.

import { Json } from "./json";
import { Level, write } from "./log";
import { Message } from "./message";
import { getBuffer, setBuffer } from "./runtime/abi";
import { awaitChunk, awaitEnd, beginLoop, isReader } from "./runtime/chain";
import { focus } from "./runtime/focus";
import { bytesOf, decimal, out, receiveManaged, takeReceived, textOf } from "./runtime/memory";

/**
 * Whole: `text()`, `bytes()`, `json()` wait until the message is complete and hold its headers meanwhile, so both can be changed. Envoy answers 413
 * (request) or 500 (response) above its buffer limit (1 MiB unless configured).
 *
 * Chunk by chunk: `while (body.next())` lets the headers go and sees the bytes as they pass, of any length.
 * @example
 * while (stream.response.body.next()) {
 *   stream.response.body.replace(stream.response.body.chunkText.toUpperCase());
 * }
 */
export class Body<T extends Message> {
  /** @internal */
  constructor(private message: T) {}

  // ---- Whole

  /** The whole body as text (UTF-8; malformed bytes become U+FFFD). Empty where there is none. */
  text(): string {
    const bytes = this.whole();
    return textOf(changetype<usize>(bytes), bytes.byteLength);
  }

  /** The whole body as bytes. */
  bytes(): Uint8Array {
    return Uint8Array.wrap(this.whole());
  }

  /** The whole body as JSON; `ok` is false and `error` says why where it is not JSON. */
  json(): Json {
    return Json.parseBytes(this.whole());
  }

  /**
   * Replaces the whole body by text, bytes (Uint8Array or ArrayBuffer) or JSON, and corrects content-length.
   * Waits for the end of the message. False (and an error in the log) where the message has no body or the body is on its way already:
   * Envoy cannot give a body to a message without one.
   */
  set<V>(value: V): bool {
    const bytes = toBytes<V>(value);
    const m = this.message;
    if (!m.whole) awaitEnd(m);
    if (!m.whole || !focus(m.stream.id)) {
      write(
        Level.Error,
        "the " + m.label + " body was not replaced: " + (m.bodyless ? "the message came without a body, and Envoy cannot add one" : "it was passed on already"),
      );
      return false;
    }
    setBuffer(m.buffer, 0, m.size, changetype<usize>(bytes), bytes.byteLength);
    m.size = bytes.byteLength;
    m.content = bytes;
    const headers = m.headers;
    if (headers.live && headers.has("content-length")) headers.force("content-length", decimal(bytes.byteLength));
    return true;
  }

  private whole(): ArrayBuffer {
    const m = this.message;
    let content = m.content;
    if (content !== null) return content;
    if (!m.whole) awaitEnd(m);
    if (m.whole && m.size > 0 && focus(m.stream.id)) {
      receiveManaged();
      getBuffer(m.buffer, 0, m.size, out, out + 4);
      content = takeReceived();
    } else {
      if (m.streaming) write(Level.Error, "the " + m.label + " body is read chunk by chunk already: it cannot be read whole");
      else if (!m.whole && !m.bodyless) write(Level.Error, "the " + m.label + " body was passed on already: read it earlier");
      content = new ArrayBuffer(0);
    }
    m.content = content;
    return content;
  }

  // ---- Chunk by chunk

  /** Waits for the next chunk. False at the end of the body (or where the stream is gone). What the loop leaves alone passes unchanged. */
  next(): bool {
    const m = this.message;
    if (!isReader(m) && !beginLoop(m)) return false;
    m.settleChunk();
    if (m.presentChunk()) return true;
    if (!m.ended) {
      awaitChunk(m);
      if (m.presentChunk()) return true;
    }
    return false;
  }

  /** Bytes of this chunk. */
  get chunk(): Uint8Array {
    return Uint8Array.wrap(this.message.readChunk());
  }

  /** This chunk as text. A character that is cut by the chunk's border becomes U+FFFD. */
  get chunkText(): string {
    const bytes = this.message.readChunk();
    return textOf(changetype<usize>(bytes), bytes.byteLength);
  }

  /** Size of this chunk in bytes, without reading it. */
  get size(): i32 {
    return this.message.chunkSize;
  }

  /** Puts text, bytes or JSON in this chunk's place. */
  replace<V>(value: V): bool {
    return this.message.replaceChunk(toBytes<V>(value));
  }

  /** Lets this chunk disappear. */
  drop(): bool {
    return this.message.replaceChunk(new ArrayBuffer(0));
  }

  /** Adds text, bytes or JSON behind this chunk; after the loop, at the end of the body (not where trailers follow it). */
  append<V>(value: V): bool {
    return this.message.appendChunk(toBytes<V>(value));
  }
}

function toBytes<V>(value: V): ArrayBuffer {
  if (isString<V>()) return bytesOf(changetype<string>(value));
  if (value instanceof ArrayBuffer) return changetype<ArrayBuffer>(value);
  if (value instanceof Uint8Array) {
    const view = changetype<Uint8Array>(value);
    return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  }
  if (value instanceof Json) return bytesOf(changetype<Json>(value).toString());
  return ERROR("a body is a string, an ArrayBuffer, a Uint8Array or Json");
}
