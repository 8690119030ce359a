// Walks over WebAssembly instructions: how long each one is. Knows all that V8 accepts but the garbage-collected types.
import type { Reader } from "./binary.js";

/** An instruction that nobody here knows. */
export class UnknownInstruction extends Error {}

type Immediates = (r: Reader) => void;

const one: Immediates = (r) => r.leb();
const two: Immediates = (r) => {
  r.leb();
  r.leb();
};
const none: Immediates = () => {};

/** Alignment and offset; bit 6 of the alignment says that a memory's index comes between. */
const memory: Immediates = (r) => {
  if (r.u32() & 64) r.leb();
  r.leb();
};

const bytes =
  (count: number): Immediates =>
  (r) => {
    r.at += count;
  };

const catches: Immediates = (r) => {
  r.leb();
  for (let n = r.u32(); n > 0; n--) {
    // catch and catch_ref name a tag; all name a label.
    if (r.u8() < 2) r.leb();
    r.leb();
  }
};

const vector =
  (item: Immediates, more = 0): Immediates =>
  (r) => {
    for (let n = r.u32() + more; n > 0; n--) item(r);
  };

const BASE: Record<number, Immediates> = {
  0x00: none,
  0x01: none,
  0x02: one,
  0x03: one,
  0x04: one,
  0x05: none,
  0x06: one,
  0x07: one,
  0x08: one,
  0x09: one,
  0x0a: none,
  0x0b: none,
  0x0c: one,
  0x0d: one,
  0x0e: vector(one, 1),
  0x0f: none,
  0x10: one,
  0x11: two,
  0x12: one,
  0x13: two,
  0x14: one,
  0x15: one,
  0x18: one,
  0x19: none,
  0x1a: none,
  0x1b: none,
  0x1c: vector(one),
  0x1f: catches,
  0x3f: one,
  0x40: one,
  0x41: one,
  0x42: one,
  0x43: bytes(4),
  0x44: bytes(8),
  0xd0: one,
  0xd1: none,
  0xd2: one,
  0xd3: none,
  0xd4: none,
  0xd5: one,
  0xd6: one,
  0xfc: bulk,
  0xfd: simd,
  0xfe: atomic,
};
for (let op = 0x20; op <= 0x26; op++) BASE[op] = one;
for (let op = 0x28; op <= 0x3e; op++) BASE[op] = memory;
for (let op = 0x45; op <= 0xc4; op++) BASE[op] = none;

/** How to skip an instruction, for whoever has no time: nothing follows, one LEB128 does, or (SKIP_OTHER) `skipImmediates` knows. */
export const SKIP_NONE = 0;
export const SKIP_ONE = 1;
const SKIP_OTHER = 2;
export const SKIPS = Uint8Array.from({ length: 256 }, (_, op) => (BASE[op] === none ? SKIP_NONE : BASE[op] === one ? SKIP_ONE : SKIP_OTHER));

function bulk(r: Reader): void {
  const sub = r.u32();
  if (sub <= 7) return;
  if (sub > 17) throw new UnknownInstruction(`0xfc ${sub}`);
  if (sub === 8 || sub === 10 || sub === 12 || sub === 14) two(r);
  else r.leb();
}

function simd(r: Reader): void {
  const sub = r.u32();
  if (sub <= 11 || sub === 92 || sub === 93) memory(r);
  else if (sub === 12 || sub === 13) r.at += 16;
  else if (sub >= 21 && sub <= 34) r.at += 1;
  else if (sub >= 84 && sub <= 91) {
    memory(r);
    r.at += 1;
  } else if (sub > 0x113) throw new UnknownInstruction(`0xfd ${sub}`);
}

function atomic(r: Reader): void {
  const sub = r.u32();
  if (sub === 3) r.at += 1;
  else if (sub <= 2 || (sub >= 0x10 && sub <= 0x4e)) memory(r);
  else throw new UnknownInstruction(`0xfe ${sub}`);
}

/** Goes behind the immediates of an instruction whose first byte was read. Throws UnknownInstruction. */
export function skipImmediates(r: Reader, op: number): void {
  const skip = BASE[op];
  if (!skip) throw new UnknownInstruction(`0x${op.toString(16)}`);
  skip(r);
}
