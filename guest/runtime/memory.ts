// Memory that crosses the border: the buffer into which the host writes its results, the scratch space from which names and
// values are sent, and the two result words of nearly every host call. All of it is reused; a crossing allocates nothing.
/// <reference path="./builtins.d.ts" />
import { raise } from "./isolation";

/** Two words that host calls write their results to: pointer (or token, size, level) and size. */
export const out: usize = memory.data(8);

let inbox: usize = 0;
let inboxCapacity: usize = 0;
/** The block the last managed receive allocated; a global keeps it alive until it is taken. */
let received: ArrayBuffer | null = null;
let managed: bool = false;

/** Bodies above this size are not left lying in the reusable inbox. */
const INBOX_LIMIT: usize = 64 * 1024;

/**
 * What the host calls for memory: `malloc` of the ABI. Each result of the host is read before the next host call, so one block serves all;
 * after `receiveManaged()` the result goes straight into a garbage-collected ArrayBuffer instead.
 */
export function allocate(size: usize): usize {
  if (managed) {
    managed = false;
    const block = new ArrayBuffer(<i32>size);
    received = block;
    return changetype<usize>(block);
  }
  if (size > inboxCapacity) {
    const capacity: usize = max<usize>(size, 1024);
    const grown = heap.alloc(capacity);
    if (inbox) heap.free(inbox);
    inbox = grown;
    inboxCapacity = capacity;
  }
  return inbox;
}

/** The next result of the host becomes an ArrayBuffer of its own; fetch it with `takeReceived`. */
export function receiveManaged(): void {
  managed = true;
  received = null;
}

/** The ArrayBuffer the host filled since `receiveManaged`, or an empty one where the result was empty or refused. */
export function takeReceived(): ArrayBuffer {
  const block = received;
  // The host asked for memory and there was none: an empty header map or body would be a lie.
  if (block === null && !managed) raise();
  managed = false;
  received = null;
  return block !== null ? block : new ArrayBuffer(0);
}

/** Gives a large inbox back after its contents were read. */
export function trimInbox(): void {
  if (inboxCapacity > INBOX_LIMIT) {
    heap.free(inbox);
    inbox = 0;
    inboxCapacity = 0;
  }
}

/** After a fault nothing half-received may be taken for the next result. */
export function resetReceive(): void {
  managed = false;
  received = null;
}

let scratch: usize = 0;
let scratchCapacity: usize = 0;
let scratchUsed: usize = 0;

/** Starts a new message in the scratch space. */
export function begin(): void {
  scratchUsed = 0;
}

/** Makes room for `size` bytes and returns the offset of the first; pointers come from `at` once everything is written. */
export function reserve(size: usize): usize {
  const offset = scratchUsed;
  const needed = offset + size;
  if (needed > scratchCapacity) {
    let capacity: usize = max<usize>(1024, scratchCapacity * 2);
    while (capacity < needed) capacity *= 2;
    const grown = heap.alloc(capacity);
    if (scratch) {
      memory.copy(grown, scratch, offset);
      heap.free(scratch);
    }
    scratch = grown;
    scratchCapacity = capacity;
  }
  scratchUsed = needed;
  return offset;
}

export function at(offset: usize): usize {
  return scratch + offset;
}

export function used(): usize {
  return scratchUsed;
}

/** Writes text as UTF-8 to the end of the scratch space; returns its size in bytes. Unpaired surrogates become U+FFFD. */
export function putText(text: string): usize {
  const length = <usize>text.length;
  const start = reserve(length * 3);
  const from = changetype<usize>(text);
  let to = scratch + start;
  for (let i: usize = 0; i < length; i++) {
    let c = <u32>load<u16>(from + (i << 1));
    if (c < 0x80) {
      store<u8>(to++, c);
      continue;
    }
    if (c < 0x800) {
      store<u8>(to, 0xc0 | (c >> 6));
      store<u8>(to, 0x80 | (c & 0x3f), 1);
      to += 2;
      continue;
    }
    if ((c & 0xf800) == 0xd800) {
      const low: u32 = i + 1 < length ? <u32>load<u16>(from + ((i + 1) << 1)) : 0;
      if (c < 0xdc00 && (low & 0xfc00) == 0xdc00) {
        c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
        store<u8>(to, 0xf0 | (c >> 18));
        store<u8>(to, 0x80 | ((c >> 12) & 0x3f), 1);
        store<u8>(to, 0x80 | ((c >> 6) & 0x3f), 2);
        store<u8>(to, 0x80 | (c & 0x3f), 3);
        to += 4;
        i++;
        continue;
      }
      c = 0xfffd;
    }
    store<u8>(to, 0xe0 | (c >> 12));
    store<u8>(to, 0x80 | ((c >> 6) & 0x3f), 1);
    store<u8>(to, 0x80 | (c & 0x3f), 2);
    to += 3;
  }
  scratchUsed = to - scratch;
  return scratchUsed - start;
}

/** For each ASCII character that a header name may have (RFC 9110 5.1, token) its lower case, otherwise 0. */
const TOKEN: usize = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 33, 0, 35, 36, 37, 38, 39, 0, 0, 42, 43, 0, 45, 46, 0, 48,
  49, 50, 51, 52, 53, 54, 55, 56, 57, 0, 0, 0, 0, 0, 0, 0, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117,
  118, 119, 120, 121, 122, 0, 0, 0, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119,
  120, 121, 122, 0, 124, 0, 126, 0,
]);

/** Writes a header's name in lower case to the end of the scratch space; returns its size, or -1 where it is no name. A leading ":" is for pseudo headers. */
export function putName(name: string): i32 {
  const length = <usize>name.length;
  const start = reserve(length);
  const from = changetype<usize>(name);
  const to = scratch + start;
  for (let i: usize = 0; i < length; i++) {
    const c = <u32>load<u16>(from + (i << 1));
    let lower: u32 = c < 128 ? load<u8>(TOKEN + c) : 0;
    if (lower == 0) {
      if (c != 58 || i != 0 || length == 1) return -1;
      lower = 58;
    }
    store<u8>(to + i, lower);
  }
  return length > 0 ? <i32>length : -1;
}

/**
 * Writes a header's value to the end of the scratch space; returns its size, or -1 where it has control characters other than the tab. Envoy 1.40 writes those to
 * the wire as they are in a response, CR and LF included, and answers 503 to a request that has one.
 */
export function putValue(value: string): i32 {
  const length = <usize>value.length;
  const start = reserve(length);
  const from = changetype<usize>(value);
  const to = scratch + start;
  let wide = false;
  for (let i: usize = 0; i < length; i++) {
    const c = <u32>load<u16>(from + (i << 1));
    if ((c < 32 && c != 9) || c == 127) return -1;
    if (c >= 128) wide = true;
    store<u8>(to + i, c);
  }
  if (!wide) return <i32>length;
  scratchUsed = start;
  return <i32>putText(value);
}

/** Text from UTF-8; malformed bytes become U+FFFD, one per byte. ASCII takes the short way. */
export function textOf(pointer: usize, size: usize): string {
  let ascii = true;
  for (let i: usize = 0; i < size; i++) {
    if (load<u8>(pointer + i) >= 0x80) {
      ascii = false;
      break;
    }
  }
  // The string is allocated before anything is read: an allocation may run the collector, never the host.
  const text = changetype<string>(__new(ascii ? size << 1 : utf16Size(pointer, size), idof<string>()));
  let to = changetype<usize>(text);
  if (ascii) {
    for (let i: usize = 0; i < size; i++) store<u16>(to + (i << 1), load<u8>(pointer + i));
    return text;
  }
  for (let i: usize = 0; i < size; ) {
    const step = codePointAt(pointer + i, size - i);
    const c = step >> 3;
    i += step & 7;
    if (c >= 0x10000) {
      store<u16>(to, 0xd800 + ((c - 0x10000) >> 10));
      store<u16>(to, 0xdc00 + ((c - 0x10000) & 0x3ff), 2);
      to += 4;
    } else {
      store<u16>(to, c);
      to += 2;
    }
  }
  return text;
}

function utf16Size(pointer: usize, size: usize): usize {
  let bytes: usize = 0;
  for (let i: usize = 0; i < size; ) {
    const step = codePointAt(pointer + i, size - i);
    bytes += step >> 3 >= 0x10000 ? 4 : 2;
    i += step & 7;
  }
  return bytes;
}

/** The code point at `pointer` times 8, plus how many bytes it took: overlong forms, surrogates and cut sequences give U+FFFD for one byte. */
function codePointAt(pointer: usize, left: usize): u32 {
  const bad: u32 = (0xfffd << 3) | 1;
  const a = <u32>load<u8>(pointer);
  if (a < 0x80) return (a << 3) | 1;
  if (a < 0xc2 || left < 2) return bad;
  const b = <u32>load<u8>(pointer, 1);
  if ((b & 0xc0) != 0x80) return bad;
  if (a < 0xe0) return ((((a & 0x1f) << 6) | (b & 0x3f)) << 3) | 2;
  if (left < 3) return bad;
  const c = <u32>load<u8>(pointer, 2);
  if ((c & 0xc0) != 0x80) return bad;
  if (a < 0xf0) {
    const point = ((a & 0x0f) << 12) | ((b & 0x3f) << 6) | (c & 0x3f);
    return point < 0x800 || (point & 0xf800) == 0xd800 ? bad : (point << 3) | 3;
  }
  if (left < 4 || a > 0xf4) return bad;
  const d = <u32>load<u8>(pointer, 3);
  if ((d & 0xc0) != 0x80) return bad;
  const point = ((a & 0x07) << 18) | ((b & 0x3f) << 12) | ((c & 0x3f) << 6) | (d & 0x3f);
  return point < 0x10000 || point > 0x10ffff ? bad : (point << 3) | 4;
}

/** Text as UTF-8 in an ArrayBuffer of its own. */
export function bytesOf(text: string): ArrayBuffer {
  begin();
  const size = putText(text);
  const bytes = new ArrayBuffer(<i32>size);
  memory.copy(changetype<usize>(bytes), at(0), size);
  return bytes;
}

/** ASCII letters in lower case, the rest as it is: header names need no more, and the full Unicode tables would weigh 9 KB. */
export function lowerCase(text: string): string {
  const length = text.length;
  let i = 0;
  for (; i < length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 65 && c <= 90) break;
  }
  if (i == length) return text;
  const lower = changetype<string>(__new((<usize>length) << 1, idof<string>()));
  const to = changetype<usize>(lower);
  for (let j = 0; j < length; j++) {
    const c = text.charCodeAt(j);
    store<u16>(to + ((<usize>j) << 1), c >= 65 && c <= 90 ? c | 32 : c);
  }
  return lower;
}

/** A number in decimal digits; the standard library's way brings tables along. */
export function decimal(value: u32): string {
  let size: usize = 1;
  for (let rest = value; rest >= 10; rest /= 10) size++;
  const text = changetype<string>(__new(size << 1, idof<string>()));
  const to = changetype<usize>(text);
  let rest = value;
  for (let i = size; i > 0; i--) {
    store<u16>(to + ((i - 1) << 1), 48 + (rest % 10));
    rest /= 10;
  }
  return text;
}
