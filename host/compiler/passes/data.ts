// Static data that nothing refers to any more. AssemblyScript lays out every string of every function it compiled; after the optimiser removed what a filter does
// not use, most of them are dead. An object lives if an address in it occurs as a constant in the code, in a global, or as a word of a living object.
import { binaryen, definedFunctions, kindOf, type Module, read, walk } from "../ir.js";
import { type DataSegment, dataSegments, replaceData } from "../wasm.js";

/** Where the compiler's static objects lie: one data segment each, as long as no pass has packed them. */
export function staticObjects(m: Module): { start: number; end: number }[] {
  return (dataSegments(m.emitBinary()) ?? []).map(({ offset, bytes }) => ({ start: offset, end: offset + bytes.length }));
}

/** The finished module's binary without its dead objects. */
export function withoutDeadData(m: Module, binary: Uint8Array, objects: { start: number; end: number }[]): Uint8Array {
  const segments = dataSegments(binary);
  if (!segments || objects.length === 0) return binary;
  const image = new DataView(new ArrayBuffer(Math.max(...objects.map((o) => o.end), ...segments.map((s) => s.offset + s.bytes.length))));
  const memory = new Uint8Array(image.buffer);
  for (const { offset, bytes } of segments) memory.set(bytes, offset);
  const living = new Set<{ start: number; end: number }>();
  const queue: number[] = [...constants(m)];
  for (let address = queue.pop(); address !== undefined; address = queue.pop()) {
    const object = at(objects, address);
    if (!object || living.has(object)) continue;
    living.add(object);
    for (let i = (object.start + 3) & ~3; i + 4 <= object.end; i += 4) queue.push(image.getUint32(i, true));
  }
  for (const object of objects) if (!living.has(object)) memory.fill(0, object.start, object.end);
  return replaceData(binary, packed(memory));
}

/** The object an address belongs to; its end counts too (the address of an empty string is the end of its header). */
function at(objects: { start: number; end: number }[], address: number): { start: number; end: number } | undefined {
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (objects[middle]!.start <= address) low = middle + 1;
    else high = middle;
  }
  const object = objects[low - 1];
  return object && address <= object.end ? object : undefined;
}

/** Memory as data segments: zeros need none, but a new segment costs about 8 bytes. */
function packed(memory: Uint8Array): DataSegment[] {
  const segments: DataSegment[] = [];
  let start = -1;
  let end = 0;
  for (let i = 0; i < memory.length; i++) {
    if (memory[i] === 0) continue;
    if (start >= 0 && i - end > 8) {
      segments.push({ offset: start, bytes: memory.slice(start, end) });
      start = -1;
    }
    if (start < 0) start = i;
    end = i + 1;
  }
  if (start >= 0) segments.push({ offset: start, bytes: memory.slice(start, end) });
  return segments;
}

function constants(m: Module): Set<number> {
  const found = new Set<number>();
  const note = (e: number): void => {
    if (binaryen.getExpressionId(e) !== binaryen.ConstId) return;
    const value = (binaryen.getExpressionInfo(e as never) as unknown as { value: number | bigint }).value;
    if (typeof value === "number") found.add(value >>> 0);
  };
  for (const f of definedFunctions(m)) {
    walk(f.body, {
      leave(e) {
        note(e);
        const kind = kindOf(e);
        // An address may have been folded into the offset of an access.
        if (kind === "Load" || kind === "Store") {
          const offset = read(e, "getOffset") >>> 0;
          const pointer = read(e, "getPtr");
          if (offset) found.add(offset);
          if (offset && binaryen.getExpressionId(pointer) === binaryen.ConstId) {
            const base = (binaryen.getExpressionInfo(pointer as never) as unknown as { value: number }).value;
            found.add((base + offset) >>> 0);
          }
        }
        return e;
      },
    });
  }
  for (let i = 0; i < m.getNumGlobals(); i++) {
    const info = binaryen.getGlobalInfo(m.getGlobalByIndex(i)) as unknown as { module: string | null; init: number };
    if (!info.module) note(info.init);
  }
  return found;
}
