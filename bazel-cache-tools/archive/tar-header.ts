// One 512-byte header of a tar, read strictly: an archive comes from anywhere, and two readings of one header are how archives deceive.
import { printable } from "../../host/cli/terminal.js";

/** Bytes of a header, and what all bodies are padded to. */
export const BLOCK = 512;

/** What an archive is refused for: which of its entries, and why. */
export class Refusal extends Error {
  constructor(
    readonly entry: string | undefined,
    readonly why: string,
  ) {
    super(entry === undefined ? why : `${printableName(entry)}: ${why}`);
  }
}

export type HeaderKind = "file" | "directory" | "pax" | "pax global" | "long name";

export interface Header {
  name: string;
  kind: HeaderKind;
  /** Bytes of the body. */
  size: number;
}

/** POSIX and GNU (tar 1.34: `tar.h`) type flags that are understood. */
const KINDS: Record<string, HeaderKind> = { "0": "file", "\0": "file", "5": "directory", x: "pax", g: "pax global", L: "long name" };

const REFUSED: Record<string, string> = {
  "1": "is a hard link; make the tar with bazel-cache pack, or with tar --hard-dereference",
  "2": "is a symbolic link; make the tar with bazel-cache pack, or with tar --dereference",
  "3": "is a device",
  "4": "is a device",
  "6": "is a pipe",
  S: "is a sparse file; make the tar without --sparse",
  D: "is part of an incremental backup; make a plain tar",
  M: "is a part of a multi-volume archive; make a plain tar",
};

const USTAR = "ustar\x0000";
const GNU = "ustar  \0";

/** Undefined for a block of zeros, which is the end. Throws a Refusal. `first`: nothing was read before, so that the whole may be something else. */
export function parseHeader(block: Buffer, first: boolean): Header | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  if (!hasItsChecksum(block)) throw new Refusal(undefined, first ? "is no tar" : "is damaged: where an entry should begin there is something else");
  const magic = block.toString("latin1", 257, 265);
  if (magic !== USTAR && magic !== GNU) throw new Refusal(undefined, "is a tar of a kind that is not read here (neither ustar, pax nor GNU)");
  const base = text(block, 0, 100);
  const prefix = magic === USTAR ? text(block, 345, 155) : "";
  const name = prefix === "" ? base : `${prefix}/${base}`;
  const type = String.fromCharCode(block[156]!);
  const kind = KINDS[type];
  if (!kind) throw new Refusal(name, REFUSED[type] ?? `is of a kind that no cache has (tar type ${JSON.stringify(type)})`);
  return { name, kind, size: size(block.subarray(124, 136), name) };
}

function hasItsChecksum(block: Buffer): boolean {
  const [, said] = /^ *([0-7]{1,7})[ \0]/.exec(block.toString("latin1", 148, 156)) ?? [];
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += block[i]!;
  return said !== undefined && Number.parseInt(said, 8) === sum;
}

/** Up to the first NUL; behind it nothing may hide. */
function text(block: Buffer, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  if (end < 0) return decode(field);
  if (field.subarray(end).some((byte) => byte !== 0)) throw new Refusal(field.toString("latin1"), "has a NUL in its name");
  return decode(field.subarray(0, end));
}

export function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refusal(Buffer.from(bytes).toString("latin1"), "has a name that is not UTF-8");
  }
}

/** Octal digits; from 8 GiB on GNU tar writes the number itself, behind a byte 0x80. */
function size(field: Buffer, name: string): number {
  if (field[0] === 0x80) {
    const value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0);
    if (!Number.isSafeInteger(value)) throw new Refusal(name, "has an impossible size");
    return value;
  }
  const [, digits] = /^ *([0-7]+)[ \0]*$/.exec(field.toString("latin1")) ?? [];
  if (digits === undefined) throw new Refusal(name, "has an impossible size");
  return Number.parseInt(digits, 8);
}

/** What a hostile name says must not steer a terminal, nor fill it. */
export function printableName(name: string): string {
  const clean = printable(name);
  return clean.length > 240 ? `${clean.slice(0, 200)}…` : clean;
}
