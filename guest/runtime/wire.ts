// The wire format of header maps ("pairs"): u32 count; count × (u32 name size, u32 value size); count × (name, NUL, value, NUL).
// Reading works on the bytes where they lie. Writing goes to the scratch space. Both sides of the border are little endian.
import { at, putText, reserve } from "./memory";

/** Most pairs and bytes the host accepts; beyond them it would take the list for an empty one (envoy 1.40: toPairs). */
export const MAX_PAIRS: i32 = 1024;
export const MAX_BYTES: usize = 1024 * 1024;

/** A cursor over pairs: `next` moves to the following pair. */
@unmanaged
export class Cursor {
  sizes: usize = 0;
  left: i32 = 0;
  name: usize = 0;
  nameSize: usize = 0;
  value: usize = 0;
  valueSize: usize = 0;
  following: usize = 0;
}

/** The one cursor: header look-ups never nest. */
export const cursor: Cursor = changetype<Cursor>(memory.data(offsetof<Cursor>()));

export function start(pairs: ArrayBuffer): void {
  const base = changetype<usize>(pairs);
  const size = <usize>pairs.byteLength;
  const count: i32 = size < 4 ? 0 : load<i32>(base);
  cursor.left = count;
  cursor.sizes = base + 4;
  cursor.following = base + 4 + ((<usize>count) << 3);
}

export function next(): bool {
  if (cursor.left <= 0) return false;
  cursor.left--;
  const sizes = cursor.sizes;
  cursor.nameSize = load<u32>(sizes);
  cursor.valueSize = load<u32>(sizes, 4);
  cursor.sizes = sizes + 8;
  cursor.name = cursor.following;
  cursor.value = cursor.name + cursor.nameSize + 1;
  cursor.following = cursor.value + cursor.valueSize + 1;
  return true;
}

/** Whether the cursor's name is `name`; upper-case ASCII in `name` counts as lower case, as Envoy stores it. */
export function named(name: string): bool {
  const length = <usize>name.length;
  if (length != cursor.nameSize) return false;
  const text = changetype<usize>(name);
  const bytes = cursor.name;
  for (let i: usize = 0; i < length; i++) {
    let c = <u32>load<u16>(text + (i << 1));
    if (c - 65 < 26) c += 32;
    if (c != <u32>load<u8>(bytes + i)) return false;
  }
  return true;
}

/** Moves to the first pair called `name`. */
export function find(pairs: ArrayBuffer, name: string): bool {
  start(pairs);
  while (next()) {
    if (named(name)) return true;
  }
  return false;
}

/** Writes a list of names and values as pairs to the scratch space; the first byte is at `at(returned)`, the size is `used() - returned`. */
export function putPairs(names: string[], values: string[]): usize {
  const count = names.length;
  const from = reserve(4 + ((<usize>count) << 3));
  store<i32>(at(from), count);
  for (let i = 0; i < count; i++) {
    const nameSize = putText(names[i]);
    store<u8>(at(reserve(1)), 0);
    const valueSize = putText(values[i]);
    store<u8>(at(reserve(1)), 0);
    const sizes = at(from) + 4 + ((<usize>i) << 3);
    store<u32>(sizes, <u32>nameSize);
    store<u32>(sizes, <u32>valueSize, 4);
  }
  return from;
}
