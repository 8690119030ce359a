// Reading the WebAssembly binary format: sections, imports and exports with their types, names.

/** envoy 1.40: pages of 64 KiB that a memory may have (V8 runs with --wasm_max_mem_pages=16384). */
export const MAX_PAGES = 16384;

/** V8: elements that a table may have. */
export const MAX_TABLE = 10_000_000;

export interface Section {
  id: number;
  /** First byte of the contents. */
  start: number;
  end: number;
}

const decoder = new TextDecoder();

export class Reader {
  constructor(
    readonly bytes: Uint8Array,
    public at: number,
  ) {}

  u8(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new Error("the module ends too early");
    return value;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.u8();
      value |= (byte & 127) << shift;
      if (!(byte & 128)) return value >>> 0;
    }
  }

  /** Skips a LEB128 of any size. */
  leb(): void {
    while (this.u8() & 128);
  }

  text(): string {
    const size = this.u32();
    const value = decoder.decode(this.bytes.subarray(this.at, this.at + size));
    this.at += size;
    return value;
  }
}

export function sections(bytes: Uint8Array): Section[] {
  const list: Section[] = [];
  const r = new Reader(bytes, 8);
  while (r.at < bytes.length) {
    const id = r.u8();
    const size = r.u32();
    list.push({ id, start: r.at, end: r.at + size });
    r.at += size;
  }
  return list;
}

export interface Signature {
  params: string[];
  results: string[];
}

/** Sizes of a memory (pages of 64 KiB) or a table (elements). */
export interface Limits {
  initial: number;
  maximum?: number;
}

export interface Interface {
  imports: { module: string; name: string; kind: string; signature?: Signature; limits?: Limits; element?: "anyfunc" | "externref" }[];
  exports: { name: string; kind: string; signature?: Signature }[];
  /** Of the module's own. */
  memories: Limits[];
  tables: Limits[];
  hasStart: boolean;
}

const TYPES: Record<number, string> = { 0x7f: "i32", 0x7e: "i64", 0x7d: "f32", 0x7c: "f64", 0x7b: "v128" };
const KINDS = ["function", "table", "memory", "global", "tag"];

/** Imports and exports with their function types. */
export function readInterface(bytes: Uint8Array): Interface {
  const types: Signature[] = [];
  const functions: number[] = [];
  const found: Interface = { imports: [], exports: [], memories: [], tables: [], hasStart: false };
  for (const section of sections(bytes)) {
    const r = new Reader(bytes, section.start);
    if (section.id === 1) {
      for (let n = r.u32(); n > 0; n--) {
        r.u8();
        const list = () => Array.from({ length: r.u32() }, () => TYPES[r.u8()] ?? "?");
        types.push({ params: list(), results: list() });
      }
    } else if (section.id === 2) {
      for (let n = r.u32(); n > 0; n--) {
        const module = r.text();
        const name = r.text();
        const kind = r.u8();
        if (kind === 0) {
          const type = r.u32();
          functions.push(type);
          found.imports.push({ module, name, kind: "function", signature: types[type]! });
          continue;
        }
        if (kind === 1 || kind === 2) {
          const element = kind === 1 && r.u8() === 0x6f ? "externref" : "anyfunc";
          found.imports.push({ module, name, kind: KINDS[kind]!, limits: limits(r), ...(kind === 1 ? { element } : {}) });
          continue;
        }
        found.imports.push({ module, name, kind: KINDS[kind] ?? "?" });
        r.u8();
        r.u8();
      }
    } else if (section.id === 3) {
      for (let n = r.u32(); n > 0; n--) functions.push(r.u32());
    } else if (section.id === 4) {
      // One with a first value (0x40) is newer than the limits that are read here.
      for (let n = r.u32(); n > 0 && r.u8() !== 0x40; n--) found.tables.push(limits(r));
    } else if (section.id === 5) {
      for (let n = r.u32(); n > 0; n--) found.memories.push(limits(r));
    } else if (section.id === 7) {
      for (let n = r.u32(); n > 0; n--) {
        const name = r.text();
        const kind = r.u8();
        const index = r.u32();
        found.exports.push({ name, kind: KINDS[kind] ?? "?", ...(kind === 0 ? { signature: types[functions[index]!]! } : {}) });
      }
    } else if (section.id === 8) found.hasStart = true;
  }
  return found;
}

function limits(r: Reader): Limits {
  const flags = r.u8();
  const initial = r.u32();
  return flags & 1 ? { initial, maximum: r.u32() } : { initial };
}

/** The contents of a custom section, or undefined. */
export function customSection(bytes: Uint8Array, name: string): Uint8Array | undefined {
  for (const section of sections(bytes)) {
    if (section.id !== 0) continue;
    const r = new Reader(bytes, section.start);
    if (r.text() === name) return bytes.subarray(r.at, section.end);
  }
  return undefined;
}

/** Names of functions by index, from the name section; undefined where there is none. */
export function functionNames(bytes: Uint8Array): Map<number, string> | undefined {
  const section = customSection(bytes, "name");
  if (!section) return undefined;
  const names = new Map<number, string>();
  const r = new Reader(section, 0);
  try {
    while (r.at < section.length) {
      const id = r.u8();
      const size = r.u32();
      const end = r.at + size;
      if (id === 1) for (let n = r.u32(); n > 0; n--) names.set(r.u32(), r.text());
      r.at = end;
    }
  } catch {
    // A name section is only a help: what could be read of it helps.
  }
  return names;
}

/** An unsigned LEB128 of 32 bits. */
export function unsigned(value: number): number[] {
  const out: number[] = [];
  let rest = value >>> 0;
  do {
    const byte = rest & 127;
    rest >>>= 7;
    out.push(rest ? byte | 128 : byte);
  } while (rest);
  return out;
}

/** A signed LEB128 of 32 bits. */
export function signed(value: number): number[] {
  const out: number[] = [];
  let rest = value | 0;
  for (;;) {
    const byte = rest & 127;
    rest >>= 7;
    if ((rest === 0 && !(byte & 64)) || (rest === -1 && byte & 64)) return [...out, byte];
    out.push(byte | 128);
  }
}
