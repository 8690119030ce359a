// Headers and trailers. `Headers` is a list an author makes (for fetch and reply). `HeaderMap` is a live map of a stream: read from the host once,
// in one crossing, and written back name by name, only where the author changed something.

import { Level, write } from "./log";
import { addValue, getPairs, getValue, MapType, removeValue, replaceValue, Status } from "./runtime/abi";
import { focus, isLogging } from "./runtime/focus";
import { at, begin, lowerCase, out, putName, putText, putValue, receiveManaged, takeReceived, textOf } from "./runtime/memory";
import { cursor, find, named, next, start } from "./runtime/wire";

/** Whether a header name is a token (RFC 9110 5.1); a leading ":" is for pseudo headers. */
export function validName(name: string): bool {
  begin();
  return putName(name) >= 0;
}

/** Whether a header value can be sent: no control characters but the tab. */
export function validValue(value: string): bool {
  begin();
  return putValue(value) >= 0;
}

/**
 * A list of headers, in order; a name may occur several times. Names are compared without regard to case.
 * @example
 * const headers = new Headers().set("content-type", "application/json").append("set-cookie", "a=1");
 */
export class Headers {
  /** @internal */ names: string[] = [];
  /** @internal */ values: string[] = [];

  get length(): i32 {
    return this.names.length;
  }

  /** The first value of `name`, or null. */
  get(name: string): string | null {
    const i = this.indexOf(name);
    return i < 0 ? null : this.values[i];
  }

  has(name: string): bool {
    return this.indexOf(name) >= 0;
  }

  /** Replaces every `name` by one. A name or value that HTTP does not allow is left out, with an error in the log. */
  set(name: string, value: string): Headers {
    this.delete(name);
    return this.append(name, value);
  }

  /** Adds one more `name`. */
  append(name: string, value: string): Headers {
    if (!validName(name) || !validValue(value)) {
      write(Level.Error, 'header "' + (validValue(name) ? name : "?") + '" left out: its name or value is not allowed in HTTP');
      return this;
    }
    this.names.push(lowerCase(name));
    this.values.push(value);
    return this;
  }

  delete(name: string): Headers {
    for (let i = this.indexOf(name); i >= 0; i = this.indexOf(name)) {
      this.names.splice(i, 1);
      this.values.splice(i, 1);
    }
    return this;
  }

  private indexOf(name: string): i32 {
    return this.names.indexOf(lowerCase(name));
  }
}

/** Names an author may not change in a way that would make Envoy answer 404 or 503, or send a message with wrong framing. */
function refusal(map: i32, name: string, value: string | null, append: bool): string | null {
  if (name.charCodeAt(0) == 58) {
    if (map == MapType.RequestTrailers || map == MapType.ResponseTrailers) return "trailers have no pseudo headers";
    if (value === null) return "a pseudo header cannot be deleted";
    if (append) return "a pseudo header has one value: use set";
    if (map == MapType.ResponseHeaders) {
      if (name != ":status") return "a response has no such pseudo header";
      return validStatus(value) ? null : "a status is a number from 200 to 599";
    }
    if (name == ":path") return (value.startsWith("/") && !hasBlank(value)) || value == "*" ? null : 'a path starts with "/" and has no blanks';
    if (name == ":method") return validName(value) && value.charCodeAt(0) != 58 ? null : "not a method";
    if (name == ":authority") return value.length > 0 && !hasBlank(value) ? null : "a host is not empty and has no blanks";
    if (name == ":scheme") return value == "http" || value == "https" ? null : "a scheme is http or https";
    return "a request has no such pseudo header";
  }
  if (value === null) return name == "x-forwarded-proto" && map == MapType.RequestHeaders ? "Envoy 1.40 answers 404 without it" : null;
  if (name == "content-length" || name == "transfer-encoding") return "Envoy and the SDK frame the message";
  return null;
}

/** Whether a value would end early in HTTP/1's request line. */
export function hasBlank(value: string): bool {
  return value.includes(" ") || value.includes("\t");
}

/** @internal The number in `:status`, 0 where it is none. */
export function statusOf(value: string): i32 {
  let status = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return 0;
    status = status * 10 + digit;
  }
  return status;
}

function validStatus(value: string): bool {
  const status = statusOf(value);
  return value.length == 3 && status >= 200 && status < 600;
}

/** A header of a message: name in lower case, value as text. */
export class Header {
  constructor(
    public name: string,
    public value: string,
  ) {}
}

/**
 * The headers (or trailers) of a request or response as Envoy holds them.
 *
 * Reads work for the whole life of the stream (after the headers were sent on, from a copy). Writes work until the headers are sent on;
 * later they do nothing, return false and say so in the log. Names are compared without regard to case.
 */
export class HeaderMap {
  /** @internal */ pairs: ArrayBuffer | null = null;
  /** @internal Whether the host still has the map at hand, and takes changes. */ live: bool = true;
  /** @internal */ changed: bool = false;

  /** @internal */
  constructor(
    /** @internal */ public map: i32,
    /** @internal The stream whose map it is. */ public owner: u32 = 0,
  ) {}

  /** The first value of `name`, or null where there is none. */
  get(name: string): string | null {
    if (this.asksSingly()) return this.ask(name) ? textOf(load<usize>(out), load<usize>(out, sizeof<usize>())) : null;
    return find(this.load(), this.known(name)) ? textOf(cursor.value, cursor.valueSize) : null;
  }

  /** Every value of `name`, in order. */
  getAll(name: string): string[] {
    const found: string[] = [];
    const pairs = this.load();
    start(pairs);
    while (next()) {
      // Memory of `pairs` does not move; the cursor survives the allocation of the text.
      if (named(name)) found.push(textOf(cursor.value, cursor.valueSize));
    }
    return found;
  }

  /** The first value of `name` as bytes: for values that are not UTF-8. */
  getBytes(name: string): Uint8Array | null {
    if (!find(this.load(), name)) return null;
    const bytes = new Uint8Array(<i32>cursor.valueSize);
    memory.copy(bytes.dataStart, cursor.value, cursor.valueSize);
    return bytes;
  }

  has(name: string): bool {
    return this.asksSingly() ? this.ask(name) : find(this.load(), this.known(name));
  }

  /** Single questions so far. */
  private asked: i32 = 0;

  /** A question about one header costs about a third of reading the map, so the first few are asked one by one. */
  private asksSingly(): bool {
    return this.pairs === null && this.live && this.asked++ < 3 && focus(this.owner);
  }

  /** Asks the host for one header; the value lies in its inbox. */
  private ask(name: string): bool {
    begin();
    const size = putText(this.known(name));
    return getValue(this.map, at(0), size, out, out + sizeof<usize>()) == Status.Ok;
  }

  /** Envoy knows the request's `host` as `:authority`. */
  private known(name: string): string {
    return this.map == MapType.RequestHeaders && name.length == 4 && lowerCase(name) == "host" ? ":authority" : name;
  }

  /** How many headers there are, pseudo headers included. */
  get length(): i32 {
    start(this.load());
    return cursor.left;
  }

  /** All headers in Envoy's order: pseudo headers first. */
  entries(): Header[] {
    const list: Header[] = [];
    start(this.load());
    while (next()) {
      const name = textOf(cursor.name, cursor.nameSize);
      list.push(new Header(name, textOf(cursor.value, cursor.valueSize)));
    }
    return list;
  }

  /** The named headers (all their values) as a list, to hand to `fetch` or `reply`. Names that are not there are left out. */
  pick(names: string[]): Headers {
    const list = new Headers();
    const pairs = this.load();
    for (let i = 0; i < names.length; i++) {
      start(pairs);
      while (next()) {
        if (!named(names[i])) continue;
        list.names.push(textOf(cursor.name, cursor.nameSize));
        list.values.push(textOf(cursor.value, cursor.valueSize));
      }
    }
    return list;
  }

  /** Replaces every `name` by one with this value. False (and an error in the log) where that is not allowed or too late. */
  set(name: string, value: string): bool {
    return this.change(name, value, false);
  }

  /** Adds one more `name`; Envoy joins values of its own single-valued headers with ",". */
  append(name: string, value: string): bool {
    return this.change(name, value, true);
  }

  delete(name: string): bool {
    return this.change(name, null, false);
  }

  private change(given: string, value: string | null, append: bool): bool {
    begin();
    let nameSize = putName(given);
    // Envoy writes line breaks into its log as they are: such a name is not repeated.
    if (nameSize < 0) return this.refuse(validValue(given) ? given : "?", "its name is not allowed in HTTP");
    let valueSize = value === null ? 0 : putValue(value);
    if (valueSize < 0) return this.refuse(given, "its value is not allowed in HTTP");
    let name = given;
    if (nameSize == 4 || nameSize == 14 || nameSize == 17 || load<u8>(at(0)) == 58) {
      // Only "host", names of these lengths and pseudo headers are anything special.
      name = lowerCase(given);
      if (name == "host") name = ":authority";
      const why = refusal(this.map, name, value, append);
      if (why !== null) return this.refuse(name, why);
      begin();
      nameSize = putName(name);
      if (value !== null) valueSize = putValue(value);
    }
    if (!this.live) return this.refuse(name, "the headers were sent on already");
    if (!focus(this.owner)) return this.refuse(name, "the stream is over");
    let status: i32;
    if (value === null) status = removeValue(this.map, at(0), nameSize);
    else if (append) status = addValue(this.map, at(0), nameSize, at(nameSize), valueSize);
    else status = replaceValue(this.map, at(0), nameSize, at(nameSize), valueSize);
    if (status != Status.Ok) return this.refuse(name, "Envoy does not have them at hand here");
    if (this.pairs !== null) this.follow(lowerCase(name), value, append);
    return true;
  }

  /** @internal Sets a header past the rules above: content-length after a body was replaced. */
  force(name: string, value: string | null): void {
    if (!focus(this.owner)) return;
    begin();
    const nameSize = putText(name);
    if (value === null) {
      removeValue(this.map, at(0), nameSize);
    } else {
      const valueSize = putText(value);
      replaceValue(this.map, at(0), nameSize, at(nameSize), valueSize);
    }
    this.follow(name, value, false);
  }

  private refuse(name: string, why: string): bool {
    write(Level.Error, 'header "' + name + '" not changed: ' + why);
    return false;
  }

  /** @internal The host's map is another one now: it is read again when needed. */
  forget(): void {
    this.pairs = null;
    this.edits = null;
  }

  /** @internal Makes sure there is a copy before Envoy takes the map away. */
  keep(): void {
    if (this.pairs === null) this.load();
  }

  /** @internal The copy of the map, read from the host the first time. */
  load(): ArrayBuffer {
    const edits = this.edits;
    const pairs = this.pairs;
    if (pairs !== null) {
      if (edits === null) return pairs;
      const edited = edits.apply(pairs);
      this.pairs = edited;
      this.edits = null;
      return edited;
    }
    receiveManaged();
    if ((this.live || isLogging(this.owner)) && focus(this.owner)) getPairs(this.map, out, out + 4);
    const fresh = takeReceived();
    this.pairs = fresh;
    return fresh;
  }

  // ---- The copy follows the author's changes without another crossing.

  private edits: Edit | null = null;

  private follow(name: string, value: string | null, append: bool): void {
    this.changed = true;
    const pairs = this.pairs;
    if (pairs === null) return;
    if (append && !startsNew(name) && this.has(name)) {
      // Whether Envoy joins the values or keeps both depends on its table of inline headers: read the map again when needed.
      this.pairs = null;
      this.edits = null;
      return;
    }
    this.edits = new Edit(name, value, append, this.edits);
  }
}

/** Whether another value of `name` is always an entry of its own: true of the names Envoy does not know. */
function startsNew(name: string): bool {
  return name.startsWith("x-") && !name.startsWith("x-envoy-") && !name.startsWith("x-forwarded-") && name != "x-request-id" && name != "x-client-trace-id";
}

/** A change made since the copy was read; applied to it when somebody reads again. */
class Edit {
  constructor(
    public name: string,
    public value: string | null,
    public append: bool,
    public before: Edit | null,
  ) {}

  apply(pairs: ArrayBuffer): ArrayBuffer {
    const before = this.before;
    return rewritten(before === null ? pairs : before.apply(pairs), this.name, this.value, this.append);
  }
}

/** The list with every `name` taken out (not for an append) and, when set, put at the end of its group. A read after a write is rare, so this is plain. */
function rewritten(pairs: ArrayBuffer, name: string, value: string | null, append: bool): ArrayBuffer {
  let kept = 0;
  let size: usize = 4;
  start(pairs);
  while (next()) {
    if (!append && named(name)) continue;
    kept++;
    size += 8 + cursor.nameSize + 1 + cursor.valueSize + 1;
  }
  begin();
  let nameSize: usize = 0;
  let valueSize: usize = 0;
  let count = kept;
  if (value !== null) {
    nameSize = putText(lowerCase(name));
    valueSize = putText(value);
    size += 8 + nameSize + 1 + valueSize + 1;
    count++;
  }
  const list = new ArrayBuffer(<i32>size);
  const base = changetype<usize>(list);
  store<i32>(base, count);
  let sizes = base + 4;
  let to = sizes + ((<usize>count) << 3);
  let pending = value !== null;
  const pseudo = name.charCodeAt(0) == 58;
  start(pairs);
  while (next()) {
    if (!append && named(name)) continue;
    if (pending && pseudo && load<u8>(cursor.name) != 58) {
      to = putPair(sizes, to, at(0), nameSize, at(nameSize), valueSize);
      sizes += 8;
      pending = false;
    }
    to = putPair(sizes, to, cursor.name, cursor.nameSize, cursor.value, cursor.valueSize);
    sizes += 8;
  }
  if (pending) putPair(sizes, to, at(0), nameSize, at(nameSize), valueSize);
  return list;
}

function putPair(sizes: usize, to: usize, name: usize, nameSize: usize, value: usize, valueSize: usize): usize {
  store<u32>(sizes, <u32>nameSize);
  store<u32>(sizes, <u32>valueSize, 4);
  memory.copy(to, name, nameSize);
  memory.copy(to + nameSize + 1, value, valueSize);
  return to + nameSize + 1 + valueSize + 1;
}
