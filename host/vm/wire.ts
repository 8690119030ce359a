// The pairs format of proxy-wasm (header maps, CEL maps and lists): u32 count, the lengths of all names and values, then each with a NUL behind it. Little endian.
// Source: facts/envoy-wasm.md A3.

const MAX_SIZE = 1 << 20;
const MAX_COUNT = 1024;

/** Bytes that a list of pairs takes. */
export function pairsSize(names: readonly string[], values: readonly string[]): number {
  let size = 4;
  for (let i = 0; i < names.length; i++) size += 10 + names[i]!.length + values[i]!.length;
  return size;
}

/** Writes pairs of byte strings at an offset of a buffer that is large enough. */
export function writePairs(names: readonly string[], values: readonly string[], into: Uint8Array, offset: number): void {
  let at = u32(into, offset, names.length);
  for (let i = 0; i < names.length; i++) {
    at = u32(into, at, names[i]!.length);
    at = u32(into, at, values[i]!.length);
  }
  for (let i = 0; i < names.length; i++) {
    at = text(into, at, names[i]!);
    at = text(into, at, values[i]!);
  }
}

/** Pairs as bytes; no pairs are no bytes. */
export function encodePairs(pairs: readonly (readonly [string, string])[]): Uint8Array {
  if (pairs.length === 0) return new Uint8Array(0);
  const names = pairs.map(([name]) => name);
  const values = pairs.map(([, value]) => value);
  const bytes = new Uint8Array(pairsSize(names, values));
  writePairs(names, values, bytes, 0);
  return bytes;
}

/** envoy 1.40: whatever is wrong with the encoding (size, count, lengths, a missing NUL, bytes left over) gives an empty list, never an error. */
export function decodePairs(bytes: Uint8Array): [string, string][] {
  const end = bytes.length;
  if (end < 4 || end > MAX_SIZE) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, end);
  const count = view.getUint32(0, true);
  if (count > MAX_COUNT || 4 + count * 8 > end) return [];
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, end);
  const pairs: [string, string][] = [];
  let at = 4 + count * 8;
  for (let i = 0; i < count; i++) {
    const name = view.getUint32(4 + i * 8, true);
    const value = view.getUint32(8 + i * 8, true);
    const valueAt = at + name + 1;
    const next = valueAt + value + 1;
    if (next > end || bytes[valueAt - 1] !== 0 || bytes[next - 1] !== 0) return [];
    pairs.push([buffer.toString("latin1", at, valueAt - 1), buffer.toString("latin1", valueAt, next - 1)]);
    at = next;
  }
  return at === end ? pairs : [];
}

function u32(into: Uint8Array, at: number, value: number): number {
  into[at] = value;
  into[at + 1] = value >>> 8;
  into[at + 2] = value >>> 16;
  into[at + 3] = value >>> 24;
  return at + 4;
}

/** A byte string and its NUL. */
function text(into: Uint8Array, at: number, value: string): number {
  for (let i = 0; i < value.length; i++) into[at + i] = value.charCodeAt(i);
  into[at + value.length] = 0;
  return at + value.length + 1;
}
