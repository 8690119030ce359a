// What square brackets give and take: elements and slices.
import { Fault, UnknownMet } from "./errors.js";
import { spendElements, spendText } from "./session.js";
import { repr } from "./text.js";
import { Dict, iterate, List, Tuple, typeName, Unknown, type Value } from "./values.js";

/** `container[index]`. */
export function indexed(container: Value, index: Value): Value {
  if (container instanceof Unknown) throw new UnknownMet(container);
  if (container instanceof Dict) return container.get(index) ?? missing(index);
  if (index instanceof Unknown) throw new UnknownMet(index);
  const sequence = typeof container === "string" || container instanceof List || container instanceof Tuple ? container : undefined;
  if (sequence === undefined) throw new Fault(`'${typeName(container)}' value has no elements to index`);
  if (typeof index !== "number") throw new Fault(`an index is an integer, not '${typeName(index)}'`);
  if (typeof sequence === "string") spendText(sequence.length);
  const place = placeIn(sequence, index);
  return typeof sequence === "string" ? sequence[place]! : sequence.items[place]!;
}

/** `container[index] = value`. */
export function assignIndexed(container: Value, index: Value, value: Value): void {
  if (container instanceof Unknown) throw new Fault(`cannot tell what is assigned to: ${container.reason}`, false, container);
  if (container instanceof Dict) {
    container.set(index, value);
    return;
  }
  if (!(container instanceof List)) throw new Fault(`'${typeName(container)}' value does not take elements`);
  if (index instanceof Unknown) throw new Fault(`cannot tell which element is assigned: ${index.reason}`, false, index);
  if (typeof index !== "number") throw new Fault(`an index is an integer, not '${typeName(index)}'`);
  container.items[placeIn(container, index)] = value;
}

/** `container[start:end:step]`. */
export function sliced(container: Value, bounds: readonly (Value | undefined)[]): Value {
  if (container instanceof Unknown) throw new UnknownMet(container);
  if (typeof container === "string") return slicedText(container, bounds);
  if (!(container instanceof List || container instanceof Tuple)) throw new Fault(`'${typeName(container)}' value cannot be sliced`);
  const { items } = container;
  const { from, step, count } = sliceBounds(items.length, bounds);
  spendElements(count);
  const picked = step === 1 ? items.slice(from, from + count) : Array.from({ length: count }, (_, index) => items[from + index * step]!);
  return container instanceof List ? new List(picked) : new Tuple(picked);
}

function slicedText(text: string, bounds: readonly (Value | undefined)[]): string {
  spendText(text.length);
  const { from, step, count } = sliceBounds(text.length, bounds);
  if (step === 1) return text.slice(from, from + count);
  spendElements(count);
  return Array.from({ length: count }, (_, index) => text[from + index * step]).join("");
}

function sliceBounds(length: number, [start, end, by]: readonly (Value | undefined)[]): { from: number; step: number; count: number } {
  const step = bound(by) ?? 1;
  if (step === 0) throw new Fault("the step of a slice is zero");
  const [lowest, highest] = step > 0 ? [0, length] : [-1, length - 1];
  const place = (index: number): number => Math.min(highest, Math.max(lowest, index < 0 ? index + length : index));
  const first = bound(start);
  const last = bound(end);
  const from = first === undefined ? (step > 0 ? lowest : highest) : place(first);
  const to = last === undefined ? (step > 0 ? highest : lowest) : place(last);
  return { from, step, count: Math.max(0, Math.ceil((to - from) / step)) };
}

function bound(value: Value | undefined): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number") return value;
  if (value instanceof Unknown) throw new UnknownMet(value);
  if (typeof value === "bigint") return value > 0n ? Number.MAX_SAFE_INTEGER : Number.MIN_SAFE_INTEGER;
  throw new Fault(`a slice takes integers, not '${typeName(value)}'`);
}

/** `list[start:end] = items`. */
export function assignSliced(container: Value, bounds: readonly (Value | undefined)[], value: Value): void {
  if (!(container instanceof List)) throw new Fault(`'${typeName(container)}' value does not take slices`);
  const { from, step, count } = sliceBounds(container.items.length, bounds);
  if (step !== 1) throw new Fault("a slice with a step cannot be assigned to");
  const behind = container.items.slice(from + count);
  const items = iterate(value);
  spendElements(container.items.length + items.length);
  container.items.length = from;
  for (const item of [...items, ...behind]) container.items.push(item);
}

/** The offset of `index`, which counts from the end where it is negative. */
export function placeIn(sequence: { items: readonly Value[] } | string, index: number): number {
  const length = typeof sequence === "string" ? sequence.length : sequence.items.length;
  const place = index < 0 ? index + length : index;
  if (place < 0 || place >= length) throw new Fault(`index ${index} out of range: there are ${length} elements`);
  return place;
}

/** The error of a lookup. */
export function missing(key: Value): never {
  throw new Fault(`key ${repr(key)} not found`);
}
