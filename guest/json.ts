// JSON without traps: bad input is a value whose `ok` is false, never a fault. Reading a member that is not there gives such a value too, so
// look-ups chain. Objects keep their order.
import { bytesOf, decimal, textOf } from "./runtime/memory";

export enum JsonType {
  /** Nothing: a missing member, or text that is not JSON (then `error` says why). */
  None = 0,
  Null = 1,
  Bool = 2,
  Number = 3,
  String = 4,
  Array = 5,
  Object = 6,
}

/** Nesting beyond this is refused, so that hostile input cannot exhaust the stack. */
const MAX_DEPTH = 128;

/**
 * A JSON value that can be read, changed and written.
 * @example
 * const user = Json.parse(text);
 * if (!user.ok) return stream.reply(400, user.error);
 * user.set("password", Json.of("***"));
 * stream.response.body.set(user.toString());
 */
export class Json {
  /** @internal */ names: string[] | null = null;
  /** @internal */ items: Json[] | null = null;
  /** @internal Text of a string, or of a number as it was written. */ scalar: string = "";
  /** @internal */ truth: bool = false;
  /** Why the text was not JSON, with the position in bytes; empty otherwise. */
  error: string = "";

  constructor(public type: JsonType) {}

  static parse(text: string): Json {
    return new Parser(bytesOf(text)).document();
  }

  static parseBytes(bytes: ArrayBuffer): Json {
    return new Parser(bytes).document();
  }

  static object(): Json {
    return new Json(JsonType.Object);
  }
  static array(): Json {
    return new Json(JsonType.Array);
  }
  static null(): Json {
    return new Json(JsonType.Null);
  }
  static of(value: string): Json {
    const json = new Json(JsonType.String);
    json.scalar = value;
    return json;
  }
  /** A number; NaN and infinities, which JSON lacks, become null. */
  static number(value: f64): Json {
    if (!isFinite(value)) return Json.null();
    const json = new Json(JsonType.Number);
    const whole = Math.abs(value) < 9007199254740992.0 && Math.floor(value) == value;
    json.scalar = whole ? (<i64>value).toString() : value.toString();
    return json;
  }
  static bool(value: bool): Json {
    const json = new Json(JsonType.Bool);
    json.truth = value;
    return json;
  }

  /** Whether there is a value at all. */
  get ok(): bool {
    return this.type != JsonType.None;
  }
  get isNull(): bool {
    return this.type == JsonType.Null;
  }
  get isString(): bool {
    return this.type == JsonType.String;
  }
  get isNumber(): bool {
    return this.type == JsonType.Number;
  }
  get isBool(): bool {
    return this.type == JsonType.Bool;
  }
  get isArray(): bool {
    return this.type == JsonType.Array;
  }
  get isObject(): bool {
    return this.type == JsonType.Object;
  }

  /** The text of a string; `""` for anything else. */
  get string(): string {
    return this.type == JsonType.String ? this.scalar : "";
  }
  /** The value of a number; NaN for anything else. */
  get number(): f64 {
    return this.type == JsonType.Number ? parseFloat(this.scalar) : NaN;
  }
  /** @internal A number's text as it was written, so that 64-bit integers keep every digit. */
  get digits(): string {
    return this.type == JsonType.Number ? this.scalar : "";
  }
  get bool(): bool {
    return this.truth;
  }

  /** Elements of an array or members of an object. */
  get length(): i32 {
    const items = this.items;
    return items === null ? 0 : items.length;
  }

  /** The element at `index`, or a value whose `ok` is false. */
  at(index: i32): Json {
    const items = this.items;
    return items === null || <u32>index >= <u32>items.length ? new Json(JsonType.None) : items[index];
  }

  /** The name of the member at `index`. */
  nameAt(index: i32): string {
    const names = this.names;
    return names === null || <u32>index >= <u32>names.length ? "" : names[index];
  }

  has(name: string): bool {
    return this.indexOf(name) >= 0;
  }

  /** The member `name`, or a value whose `ok` is false. */
  get(name: string): Json {
    const i = this.indexOf(name);
    return i < 0 ? new Json(JsonType.None) : this.at(i);
  }

  /** Sets a member of an object; ignored on anything else. */
  set(name: string, value: Json): Json {
    if (this.type != JsonType.Object) return this;
    const i = this.indexOf(name);
    const items = this.items;
    if (i >= 0 && items !== null) items[i] = value;
    else this.add(name, value);
    return this;
  }

  /** @internal Appends without looking for an earlier member: parsing must not take time in the square of a hostile object's size. */
  add(name: string | null, value: Json): void {
    let items = this.items;
    if (items === null) {
      items = [];
      this.items = items;
    }
    items.push(value);
    if (name === null) return;
    let names = this.names;
    if (names === null) {
      names = [];
      this.names = names;
    }
    names.push(name);
  }

  delete(name: string): bool {
    const i = this.indexOf(name);
    const names = this.names;
    const items = this.items;
    if (i < 0 || names === null || items === null) return false;
    names.splice(i, 1);
    items.splice(i, 1);
    return true;
  }

  /** Adds an element to an array; ignored on anything else. */
  push(value: Json): Json {
    if (this.type == JsonType.Array) this.add(null, value);
    return this;
  }

  toString(): string {
    const parts: string[] = [];
    this.writeTo(parts);
    return parts.join("");
  }

  private indexOf(name: string): i32 {
    const names = this.names;
    // Of members with the same name the last counts, as in JavaScript.
    return names === null ? -1 : names.lastIndexOf(name);
  }

  private writeTo(parts: string[]): void {
    switch (this.type) {
      case JsonType.Bool:
        parts.push(this.truth ? "true" : "false");
        return;
      case JsonType.Number:
        parts.push(this.scalar);
        return;
      case JsonType.String:
        parts.push(quote(this.scalar));
        return;
      case JsonType.Array:
      case JsonType.Object:
        break;
      default:
        parts.push("null");
        return;
    }
    const object = this.type == JsonType.Object;
    parts.push(object ? "{" : "[");
    for (let i = 0; i < this.length; i++) {
      if (i > 0) parts.push(",");
      if (object) parts.push(quote(this.nameAt(i)) + ":");
      this.at(i).writeTo(parts);
    }
    parts.push(object ? "}" : "]");
  }
}

const HEX = "0123456789abcdef";

function quote(text: string): string {
  const parts: string[] = ['"'];
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 32 && c != 34 && c != 92) continue;
    if (i > from) parts.push(text.substring(from, i));
    from = i + 1;
    if (c == 34) parts.push('\\"');
    else if (c == 92) parts.push("\\\\");
    else if (c == 10) parts.push("\\n");
    else if (c == 13) parts.push("\\r");
    else if (c == 9) parts.push("\\t");
    else parts.push("\\u00" + HEX.charAt(c >> 4) + HEX.charAt(c & 15));
  }
  if (from < text.length) parts.push(text.substring(from));
  parts.push('"');
  return parts.join("");
}

class Parser {
  private position: i32 = 0;
  private error: string = "";

  constructor(private bytes: ArrayBuffer) {}

  document(): Json {
    const value = this.value(0);
    if (this.error.length == 0) {
      this.blanks();
      if (this.position < this.bytes.byteLength) this.fail("text after the value");
    }
    if (this.error.length == 0) return value;
    const none = new Json(JsonType.None);
    none.error = this.error;
    return none;
  }

  private fail(why: string): Json {
    if (this.error.length == 0) this.error = why + " at byte " + decimal(this.position);
    return new Json(JsonType.None);
  }

  /** The byte at the position, 0 at the end. */
  private peek(): i32 {
    return this.position < this.bytes.byteLength ? <i32>load<u8>(changetype<usize>(this.bytes) + this.position) : 0;
  }

  private blanks(): void {
    for (let c = this.peek(); c == 32 || c == 10 || c == 13 || c == 9; c = this.peek()) this.position++;
  }

  private value(depth: i32): Json {
    this.blanks();
    const c = this.peek();
    if (c == 123 || c == 91) return depth >= MAX_DEPTH ? this.fail("nested too deeply") : this.container(c == 123, depth + 1);
    if (c == 34) {
      const json = new Json(JsonType.String);
      json.scalar = this.string();
      return json;
    }
    if (c == 45 || (c >= 48 && c <= 57)) return this.numeral();
    if (this.word("true")) return Json.bool(true);
    if (this.word("false")) return Json.bool(false);
    if (this.word("null")) return Json.null();
    return this.fail(this.position >= this.bytes.byteLength ? "the text ends too early" : "not a JSON value");
  }

  private word(word: string): bool {
    const from = this.position;
    if (from + word.length > this.bytes.byteLength) return false;
    for (let i = 0; i < word.length; i++) {
      if (<i32>load<u8>(changetype<usize>(this.bytes) + from + i) != word.charCodeAt(i)) return false;
    }
    this.position += word.length;
    return true;
  }

  private container(object: bool, depth: i32): Json {
    const json = new Json(object ? JsonType.Object : JsonType.Array);
    const close = object ? 125 : 93;
    this.position++;
    this.blanks();
    if (this.peek() == close) {
      this.position++;
      return json;
    }
    while (true) {
      let name = "";
      if (object) {
        this.blanks();
        if (this.peek() != 34) return this.fail("a member name in quotes is missing");
        name = this.string();
        this.blanks();
        if (this.peek() != 58) return this.fail('":" is missing');
        this.position++;
      }
      const item = this.value(depth);
      if (this.error.length > 0) return item;
      json.add(object ? name : null, item);
      this.blanks();
      const c = this.peek();
      if (c != 44 && c != close) return this.fail('"," or a closing bracket is missing');
      this.position++;
      if (c == close) return json;
    }
  }

  private digits(): bool {
    const from = this.position;
    for (let c = this.peek(); c >= 48 && c <= 57; c = this.peek()) this.position++;
    return this.position > from;
  }

  private numeral(): Json {
    const from = this.position;
    if (this.peek() == 45) this.position++;
    const zero = this.peek() == 48;
    const whole = this.position;
    if (!this.digits() || (zero && this.position > whole + 1)) return this.fail("not a number");
    if (this.peek() == 46) {
      this.position++;
      if (!this.digits()) return this.fail("not a number");
    }
    if ((this.peek() | 32) == 101) {
      this.position++;
      if (this.peek() == 43 || this.peek() == 45) this.position++;
      if (!this.digits()) return this.fail("not a number");
    }
    const json = new Json(JsonType.Number);
    json.scalar = this.slice(from, this.position);
    return json;
  }

  private slice(from: i32, to: i32): string {
    return textOf(changetype<usize>(this.bytes) + from, to - from);
  }

  private string(): string {
    this.position++;
    const from = this.position;
    // Without escapes, which is nearly always, the text is one slice.
    for (let c = this.peek(); c != 34 && c != 92 && c >= 32; c = this.peek()) this.position++;
    if (this.peek() == 34) {
      this.position++;
      return this.slice(from, this.position - 1);
    }
    const parts: string[] = [this.slice(from, this.position)];
    while (true) {
      const c = this.peek();
      if (c == 34) break;
      if (c < 32) {
        this.fail(this.position >= this.bytes.byteLength ? "a string has no end" : "a control character in a string");
        return "";
      }
      if (c == 92) {
        parts.push(this.escape());
        if (this.error.length > 0) return "";
        continue;
      }
      const start = this.position;
      for (let d = this.peek(); d != 34 && d != 92 && d >= 32; d = this.peek()) this.position++;
      parts.push(this.slice(start, this.position));
    }
    this.position++;
    return parts.join("");
  }

  private escape(): string {
    this.position++;
    const c = this.peek();
    this.position++;
    if (c == 110) return "\n";
    if (c == 116) return "\t";
    if (c == 114) return "\r";
    if (c == 98) return "\b";
    if (c == 102) return "\f";
    if (c == 34 || c == 92 || c == 47) return String.fromCharCode(c);
    if (c != 117) {
      this.fail("an unknown escape");
      return "";
    }
    let unit = 0;
    for (let i = 0; i < 4; i++) {
      const h = this.peek() | 32;
      let digit = -1;
      if (h >= 48 && h <= 57 && this.peek() >= 48) digit = h - 48;
      else if (h >= 97 && h <= 102) digit = h - 87;
      if (digit < 0) {
        this.fail("four hex digits are missing");
        return "";
      }
      unit = (unit << 4) | digit;
      this.position++;
    }
    return String.fromCharCode(unit);
  }
}
