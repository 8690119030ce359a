// Keeps an endless loop of a guest from holding its thread for ever. Nothing in Node can interrupt WebAssembly, so modules are given a budget when they are loaded: a
// global of their own that every turn of a loop, and every function that calls others, counts down; below zero the guest traps. The host fills it up before each call.
import { Reader, type Section, sections, signed, unsigned } from "../wasm/binary.js";
import { skipImmediates } from "../wasm/instructions.js";

export interface Guarded {
  bytes: Uint8Array;
  /** Name of the exported budget; undefined where the module stays as it is, because it has instructions that are not known here. */
  budgetName: string | undefined;
  /** Where something that is at `offset` of the guarded bytes is in the original ones. */
  originalOffset(offset: number): number;
}

const NAME = "envoyscript budget";

const IMPORT = 2;
const TAG = 13;
const GLOBAL = 6;
const EXPORT = 7;
const CODE = 10;

/** Sections stand in this order. */
const ORDER = [1, 2, 3, 4, 5, TAG, GLOBAL, EXPORT, 8, 9, 12, CODE, 11];

const CALLS = new Set([0x10, 0x11, 0x12, 0x13, 0x14, 0x15]);

/** Throws for bytes that are no module; the caller finds out what is wrong with them. */
export function guard(bytes: Uint8Array): Guarded {
  const untouched: Guarded = { bytes, budgetName: undefined, originalOffset: (offset) => offset };
  try {
    return rewrite(bytes) ?? untouched;
  } catch {
    // No module, or one with instructions that are newer than this: it is loaded as it is.
    return untouched;
  }
}

function rewrite(bytes: Uint8Array): Guarded | undefined {
  const list = sections(bytes);
  const find = (id: number) => list.find((section) => section.id === id);
  const code = find(CODE);
  if (!code) return undefined;
  const index = importedGlobals(bytes, find(IMPORT)) + countOf(bytes, find(GLOBAL));
  const out = new Output(bytes.length);
  out.bytes(bytes.subarray(0, 8));
  let hasGlobals = false;
  let hasExports = false;
  const addGlobals = (section: Section | undefined) => {
    hasGlobals = true;
    // i32, mutable, begins full.
    out.section(GLOBAL, appended(bytes, section, [0x7f, 0x01, 0x41, ...signed(0x7fffffff), 0x0b]));
  };
  const addExports = (section: Section | undefined) => {
    hasExports = true;
    out.section(EXPORT, appended(bytes, section, [...unsigned(NAME.length), ...Buffer.from(NAME), 3, ...unsigned(index)]));
  };
  for (const section of list) {
    const place = ORDER.indexOf(section.id);
    if (place >= 0) {
      if (!hasGlobals && section.id !== GLOBAL && place > ORDER.indexOf(GLOBAL)) addGlobals(undefined);
      if (!hasExports && section.id !== EXPORT && place > ORDER.indexOf(EXPORT)) addExports(undefined);
    }
    if (section.id === GLOBAL) addGlobals(section);
    else if (section.id === EXPORT) addExports(section);
    else if (section.id === CODE) writeCode(bytes, section, index, out);
    else out.section(section.id, bytes.subarray(section.start, section.end));
  }
  const guarded = out.finish();
  return { bytes: guarded, budgetName: NAME, originalOffset: (offset) => out.original(offset) };
}

function importedGlobals(bytes: Uint8Array, section: Section | undefined): number {
  if (!section) return 0;
  const r = new Reader(bytes, section.start);
  let globals = 0;
  for (let n = r.u32(); n > 0; n--) {
    r.text();
    r.text();
    const kind = r.u8();
    if (kind === 0) r.leb();
    else if (kind === 1 || kind === 2) {
      if (kind === 1) r.leb();
      const flags = r.u8();
      r.leb();
      if (flags & 1) r.leb();
    } else {
      if (kind === 3) globals++;
      r.u8();
      r.u8();
    }
  }
  return globals;
}

function countOf(bytes: Uint8Array, section: Section | undefined): number {
  return section ? new Reader(bytes, section.start).u32() : 0;
}

/** A section's vector with one more item. */
function appended(bytes: Uint8Array, section: Section | undefined, item: number[]): Uint8Array {
  if (!section) return Uint8Array.from([1, ...item]);
  const r = new Reader(bytes, section.start);
  const count = r.u32();
  return Buffer.concat([Uint8Array.from(unsigned(count + 1)), bytes.subarray(r.at, section.end), Uint8Array.from(item)]);
}

/** Counts down, and traps below zero. */
function countdown(global: number): Uint8Array {
  const index = unsigned(global);
  return Uint8Array.from([0x23, ...index, 0x41, 1, 0x6b, 0x24, ...index, 0x23, ...index, 0x41, 0, 0x48, 0x04, 0x40, 0x00, 0x0b]);
}

function writeCode(bytes: Uint8Array, section: Section, global: number, out: Output): void {
  const sequence = countdown(global);
  const r = new Reader(bytes, section.start);
  const bodies: { start: number; end: number; places: number[] }[] = [];
  let size = 0;
  const count = r.u32();
  for (let n = count; n > 0; n--) {
    const length = r.u32();
    const start = r.at;
    const end = start + length;
    const places = placesIn(bytes, start, end);
    bodies.push({ start, end, places });
    const written = length + places.length * sequence.length;
    size += unsigned(written).length + written;
    r.at = end;
  }
  out.byte(CODE);
  out.bytes(Uint8Array.from(unsigned(unsigned(count).length + size)));
  out.bytes(Uint8Array.from(unsigned(count)));
  for (const { start, end, places } of bodies) {
    out.bytes(Uint8Array.from(unsigned(end - start + places.length * sequence.length)));
    let at = start;
    for (const place of places) {
      out.copy(bytes, at, place);
      out.bytes(sequence);
      at = place;
    }
    out.copy(bytes, at, end);
  }
}

/** Where to count in a function: behind each `loop`, and at its beginning where it calls. */
function placesIn(bytes: Uint8Array, start: number, end: number): number[] {
  const r = new Reader(bytes, start);
  for (let groups = r.u32(); groups > 0; groups--) {
    r.leb();
    r.leb();
  }
  const first = r.at;
  const places: number[] = [];
  let calls = false;
  while (r.at < end) {
    const op = r.u8();
    if (CALLS.has(op)) calls = true;
    skipImmediates(r, op);
    if (op === 0x03) places.push(r.at);
  }
  return calls ? [first, ...places] : places;
}

/** The new module as it grows, and where its copied parts come from. */
class Output {
  private buffer: Buffer;
  private at = 0;
  private readonly copies: { from: number; to: number }[] = [];

  constructor(size: number) {
    this.buffer = Buffer.allocUnsafe(size + (size >> 2) + 1024);
  }

  private room(size: number): void {
    if (this.at + size <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + size));
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
  }

  byte(value: number): void {
    this.room(1);
    this.buffer[this.at++] = value;
  }

  bytes(data: Uint8Array): void {
    this.room(data.length);
    this.buffer.set(data, this.at);
    this.at += data.length;
  }

  copy(from: Uint8Array, start: number, end: number): void {
    this.copies.push({ from: start, to: this.at });
    this.bytes(from.subarray(start, end));
  }

  section(id: number, contents: Uint8Array): void {
    this.byte(id);
    this.bytes(Uint8Array.from(unsigned(contents.length)));
    this.bytes(contents);
  }

  original(offset: number): number {
    let low = 0;
    let high = this.copies.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.copies[middle]!.to <= offset) low = middle;
      else high = middle - 1;
    }
    const copy = this.copies[low];
    return copy && copy.to <= offset ? copy.from + offset - copy.to : offset;
  }

  finish(): Uint8Array {
    return this.buffer.subarray(0, this.at);
  }
}
