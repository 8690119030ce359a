// Static data that nothing refers to any more. AssemblyScript lays out every string of every function it compiled; after the optimiser removed what a filter does
// not use, most of them are dead. A segment lives if an address in it occurs as a constant in the code, in a global, or as a word of a living segment.
import { type Module, binaryen, definedFunctions, kindOf, read, walk } from "../ir.js";
import { type DataSegment, dataSegments, replaceData } from "../wasm.js";

/** The module's binary without its dead data segments. */
export function withoutDeadData(m: Module, binary: Uint8Array): Uint8Array {
  const segments = dataSegments(binary);
  if (!segments) return binary;
  const addresses = constants(m);
  const living = new Set<DataSegment>();
  const queue: DataSegment[] = [];
  const reach = (address: number): void => {
    const segment = at(segments, address);
    if (!segment || living.has(segment)) return;
    living.add(segment);
    queue.push(segment);
  };
  for (const address of addresses) reach(address);
  for (let segment = queue.pop(); segment; segment = queue.pop()) {
    const view = new DataView(segment.bytes.buffer, segment.bytes.byteOffset, segment.bytes.byteLength);
    for (let i = 0; i + 4 <= view.byteLength; i += 4) reach(view.getUint32(i, true));
  }
  return replaceData(
    binary,
    segments.filter((segment) => living.has(segment)),
  );
}

/** The segment an address belongs to: the last one that begins at or before it. An object that ends in zeros was cut there, so its address may lie behind its bytes. */
function at(segments: DataSegment[], address: number): DataSegment | undefined {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle]!.offset <= address) low = middle + 1;
    else high = middle;
  }
  return segments[low - 1];
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
