// Keeps an endless loop of a guest from holding its thread for ever. Nothing in Node can interrupt WebAssembly, so modules are given a budget when they are loaded: a
// global of their own that every turn of a loop, every function that calls others, and work on whole ranges of memory count down; below zero the guest traps. The host
// fills it up before each call. A start section becomes a function for the host to call, and memory gets the ceiling that it has in Envoy.
import { MAX_PAGES, Reader, type Section, sections, signed, unsigned } from "../wasm/binary.js";
import { SKIP_NONE, SKIP_ONE, SKIPS, skipImmediates } from "../wasm/instructions.js";

export interface Guarded {
  bytes: Uint8Array;
  /** Name of the exported budget; undefined where the module stays as it is, because it has instructions that are not known here. */
  budgetName: string | undefined;
  /** Name of the exported function that was the start section. */
  startName: string | undefined;
  /** Where something that is at `offset` of the guarded bytes is in the original ones. */
  originalOffset(offset: number): number;
}

const BUDGET_NAME = "envoyscript budget";
const START_NAME = "envoyscript start";

const IMPORT = 2;
const MEMORY = 5;
const TAG = 13;
const GLOBAL = 6;
const EXPORT = 7;
const START = 8;
const CODE = 10;

/** Sections stand in this order. */
const ORDER = [1, 2, 3, 4, MEMORY, TAG, GLOBAL, EXPORT, START, 9, 12, CODE, 11];

const LOOP = 0x03;
const FIRST_CALL = 0x10;
const LAST_CALL = 0x15;

/** Throws for bytes that are no module; the caller finds out what is wrong with them. */
export function guard(bytes: Uint8Array): Guarded {
  const untouched: Guarded = { bytes, budgetName: undefined, startName: undefined, originalOffset: (offset) => offset };
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
  if (!find(CODE)) return undefined;
  const index = importedGlobals(bytes, find(IMPORT)) + countOf(bytes, find(GLOBAL));
  const start = find(START);
  const budgetName = unused(BUDGET_NAME, bytes);
  const startName = start && unused(START_NAME, bytes);
  const out = new Output(bytes.length);
  out.bytes(bytes.subarray(0, 8));
  let hasGlobals = false;
  let hasExports = false;
  const addGlobals = (section: Section | undefined) => {
    hasGlobals = true;
    // The budget, which begins full, and a place for each size that is looked at on its way: i32, i32 and i64, mutable.
    const globals = [...[0x7f, 0x01, 0x41, ...signed(0x7fffffff), 0x0b], ...[0x7f, 0x01, 0x41, 0, 0x0b], ...[0x7e, 0x01, 0x42, 0, 0x0b]];
    out.section(GLOBAL, appended(bytes, section, 3, globals));
  };
  const addExports = (section: Section | undefined) => {
    hasExports = true;
    const exports = [...unsigned(budgetName.length), ...Buffer.from(budgetName), 3, ...unsigned(index)];
    if (startName !== undefined) exports.push(...unsigned(startName.length), ...Buffer.from(startName), 0, ...bytes.subarray(start!.start, start!.end));
    out.section(EXPORT, appended(bytes, section, start ? 2 : 1, exports));
  };
  for (const section of list) {
    const place = ORDER.indexOf(section.id);
    if (place >= 0) {
      if (!hasGlobals && section.id !== GLOBAL && place > ORDER.indexOf(GLOBAL)) addGlobals(undefined);
      if (!hasExports && section.id !== EXPORT && place > ORDER.indexOf(EXPORT)) addExports(undefined);
    }
    if (section.id === MEMORY) out.section(MEMORY, cappedMemories(bytes, section));
    else if (section.id === GLOBAL) addGlobals(section);
    else if (section.id === EXPORT) addExports(section);
    else if (section.id === CODE) writeCode(bytes, section, index, out);
    else if (section.id !== START) out.section(section.id, bytes.subarray(section.start, section.end));
  }
  const guarded = out.finish();
  return { bytes: guarded, budgetName, startName, originalOffset: (offset) => out.original(offset) };
}

/** A name that the module has nowhere. */
function unused(name: string, bytes: Uint8Array): string {
  while (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(name)) name += "'";
  return name;
}

/** The memories with Envoy's ceiling; what begins above it is left as it is. */
function cappedMemories(bytes: Uint8Array, section: Section): Uint8Array {
  const r = new Reader(bytes, section.start);
  const count = r.u32();
  const out = unsigned(count);
  for (let n = count; n > 0; n--) {
    const flags = r.u8();
    // 64-bit addresses: the numbers are larger than what is read here.
    if (flags & 4) throw new Error("memory64");
    const initial = r.u32();
    const maximum = flags & 1 ? r.u32() : Number.MAX_SAFE_INTEGER;
    if (initial > MAX_PAGES) out.push(flags, ...unsigned(initial), ...(flags & 1 ? unsigned(maximum) : []));
    else out.push(flags | 1, ...unsigned(initial), ...unsigned(Math.min(maximum, MAX_PAGES)));
  }
  return Uint8Array.from(out);
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

/** A section's vector with `more` items behind it. */
function appended(bytes: Uint8Array, section: Section | undefined, more: number, items: number[]): Uint8Array {
  if (!section) return Uint8Array.from([...unsigned(more), ...items]);
  const r = new Reader(bytes, section.start);
  const count = r.u32();
  return Buffer.concat([Uint8Array.from(unsigned(count + more)), bytes.subarray(r.at, section.end), Uint8Array.from(items)]);
}

/** What is written at a place in a function. */
type Sequence = Uint8Array;

const TRAP_BELOW_ZERO = [0x41, 0, 0x48, 0x04, 0x40, 0x00, 0x0b];

interface Sequences {
  /** One turn, one call. */
  turn: Sequence;
  /** A range of bytes or elements, whose count is on the stack: 32 cost as much as a turn. */
  range: Sequence;
  /** A wait for another thread, whose nanoseconds (i64) are on the stack. Nobody else has the memory: one without an end is endless. */
  wait: Sequence;
}

function sequences(global: number): Sequences {
  const budget = unsigned(global);
  const count = unsigned(global + 1);
  const time = unsigned(global + 2);
  const check = [0x23, ...budget, ...TRAP_BELOW_ZERO];
  const range = [0x24, ...count, 0x23, ...budget, 0x23, ...count, 0x41, 5, 0x76, 0x6b, 0x24, ...budget, ...check, 0x23, ...count];
  // Below zero, or above 2^30 ns: all of the budget.
  const cost = [0x41, ...signed(0x7fffffff), 0x23, ...time, 0x42, 1, 0x88, 0xa7, 0x23, ...time, 0x42, 30, 0x88, 0x42, 0, 0x52, 0x1b];
  const wait = [0x24, ...time, 0x23, ...budget, ...cost, 0x6b, 0x24, ...budget, ...check, 0x23, ...time];
  return {
    turn: Uint8Array.from([0x23, ...budget, 0x41, 1, 0x6b, 0x24, ...budget, ...check]),
    range: Uint8Array.from(range),
    wait: Uint8Array.from(wait),
  };
}

interface Place {
  at: number;
  sequence: Sequence;
}

function writeCode(bytes: Uint8Array, section: Section, global: number, out: Output): void {
  const known = sequences(global);
  const r = new Reader(bytes, section.start);
  const bodies: { start: number; end: number; places: Place[]; written: number }[] = [];
  let size = 0;
  const count = r.u32();
  for (let n = count; n > 0; n--) {
    const length = r.u32();
    const start = r.at;
    const end = start + length;
    const places = placesIn(bytes, start, end, known);
    const written = places.reduce((sum, { sequence }) => sum + sequence.length, length);
    bodies.push({ start, end, places, written });
    size += unsigned(written).length + written;
    r.at = end;
  }
  out.byte(CODE);
  out.bytes(Uint8Array.from(unsigned(unsigned(count).length + size)));
  out.bytes(Uint8Array.from(unsigned(count)));
  for (const { start, end, places, written } of bodies) {
    out.bytes(Uint8Array.from(unsigned(written)));
    let from = start;
    for (const { at, sequence } of places) {
      out.copy(bytes, from, at);
      out.bytes(sequence);
      from = at;
    }
    out.copy(bytes, from, end);
  }
}

/** memory.init, memory.copy, memory.fill, table.init, table.copy, table.fill, behind 0xfc. */
const RANGES = new Set([8, 10, 11, 12, 14, 17]);

/** memory.atomic.wait32 and wait64, behind 0xfe. */
const WAITS = new Set([1, 2]);

/** Where to count in a function: behind each `loop`, at its beginning where it calls, before what works on a range. */
function placesIn(bytes: Uint8Array, start: number, end: number, { turn, range, wait }: Sequences): Place[] {
  const r = new Reader(bytes, start);
  for (let groups = r.u32(); groups > 0; groups--) {
    r.leb();
    r.leb();
  }
  const first = r.at;
  const places: Place[] = [];
  let calls = false;
  // This loop is what loading a module for the first time costs most.
  for (let at = first; at < end; ) {
    const op = bytes[at++]!;
    const skip = SKIPS[op];
    if (skip === SKIP_NONE) continue;
    if (skip === SKIP_ONE) {
      while (bytes[at++]! & 128);
      if (op === LOOP) places.push({ at, sequence: turn });
    } else {
      if (op === 0xfc && RANGES.has(bytes[at]!)) places.push({ at: at - 1, sequence: range });
      else if (op === 0xfe && WAITS.has(bytes[at]!)) places.push({ at: at - 1, sequence: wait });
      r.at = at;
      skipImmediates(r, op);
      at = r.at;
    }
    if (op >= FIRST_CALL && op <= LAST_CALL) calls = true;
  }
  return calls ? [{ at: first, sequence: turn }, ...places] : places;
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
