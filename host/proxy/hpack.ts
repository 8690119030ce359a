// HPACK (RFC 7541): header blocks of HTTP/2. Names and values are byte strings. What is written uses the static table only, so that it depends on nothing written before.

/** RFC 7541, appendix A. */
const STATIC: readonly (readonly [string, string])[] = `:authority|
:method|GET
:method|POST
:path|/
:path|/index.html
:scheme|http
:scheme|https
:status|200
:status|204
:status|206
:status|304
:status|400
:status|404
:status|500
accept-charset|
accept-encoding|gzip, deflate
accept-language|
accept-ranges|
accept|
access-control-allow-origin|
age|
allow|
authorization|
cache-control|
content-disposition|
content-encoding|
content-language|
content-length|
content-location|
content-range|
content-type|
cookie|
date|
etag|
expect|
expires|
from|
host|
if-match|
if-modified-since|
if-none-match|
if-range|
if-unmodified-since|
last-modified|
link|
location|
max-forwards|
proxy-authenticate|
proxy-authorization|
range|
referer|
refresh|
retry-after|
server|
set-cookie|
strict-transport-security|
transfer-encoding|
user-agent|
vary|
via|
www-authenticate|`
  .split("\n")
  .map((line) => line.split("|") as [string, string]);

/** RFC 7541, appendix B, by the length of the code: it is canonical, so the lengths are all there is to know. 256 is the end. */
const LENGTHS: readonly (readonly [number, string])[] = [
  [5, "48-50 97 99 101 105 111 115-116"],
  [6, "32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117"],
  [7, "58 66-87 89 106-107 113 118-122"],
  [8, "38 42 44 59 88 90"],
  [10, "33-34 40-41 63"],
  [11, "39 43 124"],
  [12, "35 62"],
  [13, "0 36 64 91 93 126"],
  [14, "94 125"],
  [15, "60 96 123"],
  [19, "92 195 208"],
  [20, "128 130-131 162 184 194 224 226"],
  [21, "153 161 167 172 176-177 179 209 216-217 227 229-230"],
  [22, "129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228 232-233"],
  [23, "1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197 231 239"],
  [24, "9 142 144-145 148 159 171 206 215 225 236-237"],
  [25, "199 207 234-235"],
  [26, "192-193 200-202 205 210 213 218-219 238 240 242-243 255"],
  [27, "203-204 211-212 214 221-223 241 244-248 250-254"],
  [28, "2-8 11-12 14-21 23-31 127 220 249"],
  [30, "10 13 22 256"],
];

/** Steps of four bits: from a state, the next one (times 16), and what was decoded on the way. */
interface Huffman {
  next: Uint16Array;
  symbol: Int16Array;
  /** States in which a string may end: fewer than eight bits of ones are left. */
  ends: Uint8Array;
}

const FAILED = 0xffff;

function makeHuffman(): Huffman {
  // A tree of pairs; leaves are symbols below zero.
  const tree: [number, number][] = [[0, 0]];
  let code = 0;
  let length = 5;
  for (const [size, ranges] of LENGTHS) {
    code *= 2 ** (size - length);
    length = size;
    for (const range of ranges.split(" ")) {
      const [first, last = first] = range.split("-").map(Number) as [number, number?];
      for (let symbol = first; symbol <= last; symbol++, code++) {
        let node = 0;
        for (let bit = size - 1; bit > 0; bit--) {
          const side = Math.floor(code / 2 ** bit) % 2;
          if (tree[node]![side] === 0) {
            tree.push([0, 0]);
            tree[node]![side] = tree.length - 1;
          }
          node = tree[node]![side]!;
        }
        tree[node]![code % 2] = -symbol - 1;
      }
    }
  }
  const next = new Uint16Array(tree.length * 16).fill(FAILED);
  const symbol = new Int16Array(tree.length * 16).fill(-1);
  const ends = new Uint8Array(tree.length);
  for (let start = 0; start < tree.length; start++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = start;
      for (let bit = 3; bit >= 0; bit--) {
        const to = tree[node]![(bits >> bit) & 1]!;
        node = to < 0 ? 0 : to;
        if (to < 0) symbol[start * 16 + bits] = -to - 1;
      }
      next[start * 16 + bits] = symbol[start * 16 + bits] === 256 ? FAILED : node;
    }
  }
  for (let node = 0, depth = 0; depth < 8; depth++) {
    ends[node] = 1;
    node = tree[node]![1]!;
  }
  return { next, symbol, ends };
}

let huffman: Huffman | undefined;

/** A header block that cannot be read. */
export class HpackError extends Error {}

function decodeHuffman(bytes: Uint8Array, start: number, end: number): string {
  huffman ??= makeHuffman();
  const { next, symbol, ends } = huffman;
  let state = 0;
  let text = "";
  for (let at = start; at < end; at++) {
    for (const bits of [bytes[at]! >> 4, bytes[at]! & 15]) {
      const step = state * 16 + bits;
      state = next[step]!;
      if (state === FAILED) throw new HpackError("no Huffman code");
      if (symbol[step]! >= 0) text += String.fromCharCode(symbol[step]!);
    }
  }
  if (ends[state] === 0) throw new HpackError("a Huffman code that is cut");
  return text;
}

/** RFC 7541, 4.1. */
const sizeOf = (name: string, value: string): number => name.length + value.length + 32;

/** What SETTINGS_HEADER_TABLE_SIZE is where nobody says anything else. */
const TABLE_SIZE = 4096;

export class HpackDecoder {
  private readonly entries: (readonly [string, string])[] = [];
  private size = 0;
  private limit = TABLE_SIZE;
  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;

  /** Calls `header` for each field of a block. Throws HpackError. */
  decode(block: Uint8Array, header: (name: string, value: string) => void): void {
    this.bytes = block;
    this.at = 0;
    while (this.at < block.length) {
      const first = block[this.at]!;
      if (first & 0x80) {
        const [name, value] = this.entry(this.integer(7));
        header(name, value);
      } else if ((first & 0xe0) === 0x20) {
        this.limit = this.integer(5);
        if (this.limit > TABLE_SIZE) throw new HpackError("a table larger than allowed");
        this.evict(0);
      } else {
        const indexed = (first & 0x40) !== 0;
        const index = this.integer(indexed ? 6 : 4);
        const name = index === 0 ? this.text() : this.entry(index)[0];
        const value = this.text();
        if (indexed) this.add(name, value);
        header(name, value);
      }
    }
  }

  private entry(index: number): readonly [string, string] {
    const found = index === 0 ? undefined : index <= STATIC.length ? STATIC[index - 1] : this.entries[index - STATIC.length - 1];
    if (!found) throw new HpackError("an index that there is not");
    return found;
  }

  private add(name: string, value: string): void {
    const size = sizeOf(name, value);
    this.evict(size);
    if (size > this.limit) return;
    this.entries.unshift([name, value]);
    this.size += size;
  }

  /** Makes room. */
  private evict(room: number): void {
    while (this.entries.length > 0 && this.size + room > this.limit) {
      const [name, value] = this.entries.pop()!;
      this.size -= sizeOf(name, value);
    }
  }

  private integer(prefix: number): number {
    const mask = 2 ** prefix - 1;
    let value = this.byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (shift > 28 || value > 0x7fffffff) throw new HpackError("a number too large");
      if (!(byte & 128)) return value;
    }
  }

  private byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new HpackError("a block that is cut");
    return byte;
  }

  private text(): string {
    const isHuffman = (this.bytes[this.at]! & 0x80) !== 0;
    const length = this.integer(7);
    const start = this.at;
    this.at += length;
    if (this.at > this.bytes.length) throw new HpackError("a block that is cut");
    if (isHuffman) return decodeHuffman(this.bytes, start, this.at);
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + start, length).toString("latin1");
  }
}

const WHOLE = new Map(STATIC.map(([name, value], i) => [`${name}|${value}`, i + 1]));
const NAMES = new Map([...STATIC].map(([name], i) => [name, i + 1] as const).reverse());

function pushInteger(out: number[], first: number, prefix: number, value: number): void {
  const mask = 2 ** prefix - 1;
  if (value < mask) {
    out.push(first | value);
    return;
  }
  out.push(first | mask);
  let rest = value - mask;
  while (rest >= 128) {
    out.push((rest & 127) | 128);
    rest >>>= 7;
  }
  out.push(rest);
}

function pushText(out: number[], text: string): void {
  pushInteger(out, 0, 7, text.length);
  for (let i = 0; i < text.length; i++) out.push(text.charCodeAt(i) & 255);
}

/** A header block: what the static table has by its number, everything else in full. */
export function encodeHpack(headers: Iterable<readonly [string, string]>): Buffer {
  const out: number[] = [];
  for (const [name, value] of headers) {
    const whole = WHOLE.get(`${name}|${value}`);
    if (whole !== undefined && value !== "") {
      pushInteger(out, 0x80, 7, whole);
      continue;
    }
    const index = NAMES.get(name) ?? 0;
    pushInteger(out, 0, 4, index);
    if (index === 0) pushText(out, name);
    pushText(out, value);
  }
  return Buffer.from(out);
}
