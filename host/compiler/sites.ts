// Where in the author's files each call, division and loop stands. Binaryen does not hand debug locations back, so the module is written once with a source
// map: the n-th call of a function's code is the n-th call of its IR.
import type { Module } from "./ir.js";
import { codeBodies, opcodesOf } from "./wasm.js";

export type SiteKind = "call" | "division" | "loop";

export interface Place {
  file: string;
  line: number;
  column: number;
}

/** Places of a function by kind, in code order; an entry is undefined where the compiler knew none. `first` is where the function's code begins. */
export type FunctionSites = Record<SiteKind, (Place | undefined)[]> & { first: Place | undefined };

/** By position among the module's defined functions. */
export function findSites(m: Module): FunctionSites[] {
  const { binary, sourceMap } = m.emitBinary("map");
  const places = decode(sourceMap ?? '{"sources":[],"mappings":""}');
  return codeBodies(binary).map(({ start, end }) => {
    let next = firstAtOrAfter(places, start);
    const sites: FunctionSites = { call: [], division: [], loop: [], first: placeAfter(places, next, end) };
    let current: Place | undefined;
    for (const { offset, kind } of opcodesOf(binary, start, end)) {
      for (; next < places.length && places[next]!.offset <= offset; next++) current = places[next]!.place ?? current;
      // The compiler marks only some instructions. One without a mark belongs to its operands, which come before it; a loop to what it contains.
      const marked = places[next - 1]?.place !== undefined;
      sites[kind].push(kind === "loop" && !marked ? (placeAfter(places, next, end) ?? current) : current);
    }
    return sites;
  });
}

function placeAfter(places: { offset: number; place: Place | undefined }[], from: number, end: number): Place | undefined {
  for (let i = from; i < places.length && places[i]!.offset < end; i++) if (places[i]!.place) return places[i]!.place;
  return undefined;
}

function firstAtOrAfter(places: { offset: number }[], offset: number): number {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle]!.offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A wasm source map has one "line" whose columns are byte offsets. */
function decode(text: string): { offset: number; place: Place | undefined }[] {
  const map = JSON.parse(text) as { sources: string[]; mappings: string };
  const list: { offset: number; place: Place | undefined }[] = [];
  let offset = 0;
  let source = 0;
  let line = 0;
  let column = 0;
  for (const segment of map.mappings.split(",")) {
    if (!segment) continue;
    const fields = vlq(segment);
    offset += fields[0]!;
    if (fields.length < 4) {
      list.push({ offset, place: undefined });
      continue;
    }
    source += fields[1]!;
    line += fields[2]!;
    column += fields[3]!;
    list.push({ offset, place: { file: map.sources[source]!, line: line + 1, column: column + 1 } });
  }
  return list;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

function vlq(segment: string): number[] {
  const fields: number[] = [];
  let value = 0;
  let shift = 0;
  for (const c of segment) {
    const digit = BASE64.indexOf(c);
    value |= (digit & 31) << shift;
    if (digit & 32) {
      shift += 5;
      continue;
    }
    fields.push(value & 1 ? -(value >>> 1) : value >>> 1);
    value = 0;
    shift = 0;
  }
  return fields;
}
