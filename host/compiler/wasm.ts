// As much of the instructions of a module as the compiler reads and rewrites: function bodies, and the data segments.
import { Reader, sections, signed, unsigned } from "../wasm/binary.js";
import { skipImmediates } from "../wasm/instructions.js";

/** Where the instructions of each defined function begin and end. */
export function codeBodies(bytes: Uint8Array): { start: number; end: number }[] {
  const code = sections(bytes).find((section) => section.id === 10);
  if (!code) return [];
  const r = new Reader(bytes, code.start);
  return Array.from({ length: r.u32() }, () => {
    const size = r.u32();
    const end = r.at + size;
    for (let groups = r.u32(); groups > 0; groups--) {
      r.leb();
      r.u8();
    }
    const start = r.at;
    r.at = end;
    return { start, end };
  });
}

const DIVISIONS = new Set([0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82]);

/** Offsets of the calls, divisions (and remainders) and loops of a body. */
export function* opcodesOf(bytes: Uint8Array, start: number, end: number): Generator<{ offset: number; kind: "call" | "division" | "loop" }> {
  const r = new Reader(bytes, start);
  while (r.at < end) {
    const offset = r.at;
    const op = r.u8();
    if (DIVISIONS.has(op)) yield { offset, kind: "division" };
    else if (op === 0x03) yield { offset, kind: "loop" };
    else if (op === 0x10) yield { offset, kind: "call" };
    skipImmediates(r, op);
  }
}

export interface DataSegment {
  offset: number;
  bytes: Uint8Array;
}

/** The active data segments in the order of their addresses; undefined where one is not of that simple kind. */
export function dataSegments(bytes: Uint8Array): DataSegment[] | undefined {
  const section = sections(bytes).find((s) => s.id === 11);
  if (!section) return undefined;
  const r = new Reader(bytes, section.start);
  const list: DataSegment[] = [];
  for (let n = r.u32(); n > 0; n--) {
    if (r.u32() !== 0 || r.u8() !== 0x41) return undefined;
    const offset = r.u32();
    if (r.u8() !== 0x0b) return undefined;
    const size = r.u32();
    list.push({ offset, bytes: bytes.slice(r.at, r.at + size) });
    r.at += size;
  }
  return list.sort((a, b) => a.offset - b.offset);
}

/** The module with other data segments. A data count section, which only passive segments need, is left out. */
export function replaceData(bytes: Uint8Array, segments: DataSegment[]): Uint8Array {
  const contents: number[] = [...unsigned(segments.length)];
  for (const { offset, bytes: data } of segments) contents.push(0, 0x41, ...signed(offset), 0x0b, ...unsigned(data.length), ...data);
  const out: number[] = [...bytes.subarray(0, 8)];
  for (const section of sections(bytes)) {
    if (section.id === 12) continue;
    const data = section.id === 11 ? contents : [...bytes.subarray(section.start, section.end)];
    out.push(section.id, ...unsigned(data.length), ...data);
  }
  return Uint8Array.from(out);
}
