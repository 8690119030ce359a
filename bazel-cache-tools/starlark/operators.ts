// The operators: what `a + b` and its like give for every pair of types.
import { Fault, UnknownMet } from "./errors.js";
import { formatPercent } from "./format.js";
import { integer } from "./literals.js";
import { checkDepth, checkText, spend, spendElements, spendSearch, spendText } from "./session.js";
import { Dict, Float, iterate, List, SetValue, Struct, Tuple, truth, typeName, Unknown, type Value } from "./values.js";

type Integer = number | bigint;

/** No version, size or date needs more, and products of larger ones take long. */
const MAX_INTEGER_BITS = 4096;
const MAX_INTEGER = 1n << BigInt(MAX_INTEGER_BITS);
const BIG_STEPS = 16;
const COMPARE_STEPS = 3;

interface Arithmetic {
  /** On safe integers; what is no safe integer is computed anew by `big`. */
  small(a: number, b: number): number;
  big(a: bigint, b: bigint): bigint;
  float?(a: number, b: number): number;
}

const int32 = (a: number, b: number): boolean => (a | 0) === a && (b | 0) === b;

function floorMod(a: bigint, b: bigint): bigint {
  const rest = a % b;
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
}

function mod(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

function quotient(a: number, b: number): number {
  const multiple = a - mod(a, b);
  return Number.isSafeInteger(multiple) ? multiple / b : Number.NaN;
}

const ARITHMETIC: ReadonlyMap<string, Arithmetic> = new Map<string, Arithmetic>([
  ["+", { small: (a, b) => a + b, big: (a, b) => a + b, float: (a, b) => a + b }],
  ["-", { small: (a, b) => a - b, big: (a, b) => a - b, float: (a, b) => a - b }],
  ["*", { small: (a, b) => a * b, big: (a, b) => a * b, float: (a, b) => a * b }],
  ["//", { small: quotient, big: (a, b) => (a - floorMod(a, b)) / b, float: (a, b) => Math.floor(a / b) }],
  ["%", { small: mod, big: floorMod, float: mod }],
  ["&", { small: (a, b) => (int32(a, b) ? a & b : Number.NaN), big: (a, b) => a & b }],
  ["|", { small: (a, b) => (int32(a, b) ? a | b : Number.NaN), big: (a, b) => a | b }],
  ["^", { small: (a, b) => (int32(a, b) ? a ^ b : Number.NaN), big: (a, b) => a ^ b }],
  ["<<", { small: () => Number.NaN, big: (a, b) => a << shift(b) }],
  [">>", { small: () => Number.NaN, big: (a, b) => a >> shift(b) }],
]);

function shift(by: bigint): bigint {
  if (by < 0n) throw new Fault("negative shift count");
  if (by > BigInt(MAX_INTEGER_BITS)) throw new Fault("shift count too large");
  return by;
}

const COMPARISONS: ReadonlyMap<string, (order: number) => boolean> = new Map([
  ["<", (order) => order < 0],
  ["<=", (order) => order <= 0],
  [">", (order) => order > 0],
  [">=", (order) => order >= 0],
]);

/** The operators on sets, and on dicts where they have them. */
const SETS: ReadonlyMap<string, (a: SetValue, b: SetValue) => Value[]> = new Map([
  ["|", (a, b) => [...a.members.keys(), ...b.members.keys()]],
  ["&", (a, b) => a.members.keys().filter((item) => b.members.has(item))],
  ["-", (a, b) => a.members.keys().filter((item) => !b.members.has(item))],
  ["^", (a, b) => [...a.members.keys().filter((item) => !b.members.has(item)), ...b.members.keys().filter((item) => !a.members.has(item))]],
]);

export function isInteger(value: Value): value is Integer {
  return typeof value === "number" || typeof value === "bigint";
}

function asDouble(value: Value): number | undefined {
  if (isInteger(value)) return Number(value);
  return value instanceof Float ? value.value : undefined;
}

/** `left mark right`. */
export function binary(mark: string, left: Value, right: Value): Value {
  if (left instanceof Unknown) throw new UnknownMet(left);
  if (right instanceof Unknown) throw new UnknownMet(right);
  if (mark === "==") return equal(left, right);
  if (mark === "!=") return !equal(left, right);
  if (mark === "in") return contains(right, left);
  if (mark === "not in") return !contains(right, left);
  const comparison = COMPARISONS.get(mark);
  if (comparison) return comparison(compare(left, right));
  const result = numeric(mark, left, right) ?? concatenated(mark, left, right) ?? merged(mark, left, right);
  if (result !== undefined) return result;
  throw new Fault(`unsupported operands for ${mark}: '${typeName(left)}' and '${typeName(right)}'`);
}

/** `mark operand`. */
export function unary(mark: string, operand: Value): Value {
  if (mark === "not") return !truth(operand);
  if (operand instanceof Unknown) throw new UnknownMet(operand);
  if (mark === "~" && isInteger(operand)) return arithmetic("-", -1, operand);
  if (mark === "-" && isInteger(operand)) return arithmetic("-", 0, operand);
  if (mark === "+" && asDouble(operand) !== undefined) return operand;
  if (mark === "-" && operand instanceof Float) return new Float(-operand.value);
  throw new Fault(`unsupported operand for ${mark}: '${typeName(operand)}'`);
}

function numeric(mark: string, left: Value, right: Value): Value | undefined {
  const a = asDouble(left);
  const b = asDouble(right);
  if (a === undefined || b === undefined) return undefined;
  if ((mark === "/" || mark === "//" || mark === "%") && b === 0) throw new Fault("division by zero");
  if (mark === "/") return new Float(a / b);
  if (isInteger(left) && isInteger(right)) return arithmetic(mark, left, right);
  const float = ARITHMETIC.get(mark)?.float;
  return float ? new Float(float(a, b)) : undefined;
}

function arithmetic(mark: string, left: Integer, right: Integer): Integer {
  const { small, big } = ARITHMETIC.get(mark)!;
  if (typeof left === "number" && typeof right === "number") {
    const result = small(left, right);
    // Adding 0 turns -0, which no integer is, into 0.
    if (Number.isSafeInteger(result)) return result + 0;
  }
  spend(BIG_STEPS);
  const result = big(BigInt(left), BigInt(right));
  if (result > MAX_INTEGER || result < -MAX_INTEGER) throw new Fault(`an integer of more than ${MAX_INTEGER_BITS} bits`);
  return integer(result);
}

function concatenated(mark: string, left: Value, right: Value): Value | undefined {
  if (mark === "%" && typeof left === "string") return formatPercent(left, right);
  if (mark === "*") return repeated(left, right) ?? repeated(right, left);
  if (mark !== "+") return undefined;
  if (typeof left === "string" && typeof right === "string") {
    return concatenation(left, right);
  }
  if (left instanceof List && right instanceof List) return new List(joined(left.items, right.items));
  if (left instanceof Tuple && right instanceof Tuple) return new Tuple(joined(left.items, right.items));
  // bazel: struct providers add up.
  return left instanceof Struct && right instanceof Struct && left.kind === right.kind
    ? new Struct(new Map([...left.fields, ...right.fields]), left.kind)
    : undefined;
}

function concatenation(left: string, right: string): string {
  checkText(left.length + right.length);
  // The engine links the longer part instead of copying it; who reads the result pays for that.
  spendText(Math.min(left.length, right.length));
  return left + right;
}

function joined(left: readonly Value[], right: readonly Value[]): Value[] {
  spendElements(left.length + right.length);
  return left.concat(right);
}

function repeated(value: Value, times: Value): Value | undefined {
  if (!isInteger(times)) return undefined;
  const count = Math.max(0, Number(times));
  if (typeof value === "string") {
    spendText(value.length * count);
    return value === "" ? "" : value.repeat(count);
  }
  if (!(value instanceof List || value instanceof Tuple)) return undefined;
  const { items } = value;
  const length = spendElements(items.length * count);
  const copies = Array.from({ length }, (_, index) => items[index % items.length]!);
  return value instanceof List ? new List(copies) : new Tuple(copies);
}

function merged(mark: string, left: Value, right: Value): Value | undefined {
  if (left instanceof Dict && right instanceof Dict && mark === "|") {
    spendElements(left.size + right.size);
    return new Dict([...left.entries(), ...right.entries()]);
  }
  const combine = SETS.get(mark);
  if (!combine || !(left instanceof SetValue && right instanceof SetValue)) return undefined;
  spendElements(left.members.size + right.members.size);
  return new SetValue(combine(left, right));
}

function contains(container: Value, item: Value): boolean {
  if (typeof container === "string") {
    if (typeof item !== "string") throw new Fault(`'in <string>' requires string, not '${typeName(item)}'`);
    spendSearch(container, item);
    return container.includes(item);
  }
  if (container instanceof Dict) return container.has(item);
  if (container instanceof SetValue) return container.members.has(item);
  if (container instanceof List || container instanceof Tuple) return container.items.some((other) => equal(other, item));
  throw new Fault(`unsupported operands for in: '${typeName(item)}' and '${typeName(container)}'`);
}

/** `==`. That of something unknown is unknown. */
export function equal(left: Value, right: Value, depth = 0): boolean {
  spend(COMPARE_STEPS);
  checkDepth(depth);
  if (left instanceof Unknown) throw new UnknownMet(left);
  if (right instanceof Unknown) throw new UnknownMet(right);
  if (left === right) return true;
  if (typeof left === "string" && typeof right === "string") spendText(Math.min(left.length, right.length));
  if (left instanceof Float || right instanceof Float) return asDouble(left) === asDouble(right) && asDouble(left) !== undefined;
  if ((left instanceof List && right instanceof List) || (left instanceof Tuple && right instanceof Tuple)) {
    return left.items.length === right.items.length && left.items.every((item, index) => equal(item, right.items[index]!, depth + 1));
  }
  if (left instanceof Dict && right instanceof Dict) return left.size === right.size && sameEntries(left.entries(), (key) => right.get(key), depth);
  if (left instanceof SetValue && right instanceof SetValue) return equal(left.members, right.members, depth + 1);
  if (!(left instanceof Struct && right instanceof Struct) || left.fields.size === 0) return false;
  return left.kind === right.kind && left.fields.size === right.fields.size && sameEntries(left.fields, (name) => right.fields.get(name), depth);
}

function sameEntries<Key>(entries: Iterable<readonly [Key, Value]>, other: (key: Key) => Value | undefined, depth: number): boolean {
  for (const [key, value] of entries) {
    const its = other(key);
    if (its === undefined || !equal(value, its, depth + 1)) return false;
  }
  return true;
}

/** Below, at or above zero, as `left` sorts before, with or behind `right`. */
export function compare(left: Value, right: Value, depth = 0): number {
  spend(COMPARE_STEPS);
  checkDepth(depth);
  if (left instanceof Unknown) throw new UnknownMet(left);
  if (right instanceof Unknown) throw new UnknownMet(right);
  if (typeof left === "string" && typeof right === "string") {
    spendText(Math.min(left.length, right.length));
    return ordered(left, right);
  }
  if (isInteger(left) && isInteger(right)) return ordered(left, right);
  if (typeof left === "boolean" && typeof right === "boolean") return Number(left) - Number(right);
  const a = asDouble(left);
  const b = asDouble(right);
  if (a !== undefined && b !== undefined) return ordered(a, b);
  if ((left instanceof List && right instanceof List) || (left instanceof Tuple && right instanceof Tuple)) {
    for (const [index, item] of left.items.entries()) {
      const other = right.items[index];
      if (other === undefined) return 1;
      if (!equal(item, other, depth + 1)) return compare(item, other, depth + 1);
    }
    return left.items.length - right.items.length;
  }
  throw new Fault(`'${typeName(left)}' and '${typeName(right)}' cannot be ordered`);
}

function ordered(a: string | Integer, b: string | Integer): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** The elements of `value` in order; equal ones stay in the order they had, also backwards. */
export function sorted(value: Value, key: (item: Value) => Value, backwards: boolean): Value[] {
  const keyed = iterate(value).map((item) => [key(item), item] as const);
  spendElements(keyed.length);
  keyed.sort(([a], [b]) => (backwards ? compare(b, a) : compare(a, b)));
  return keyed.map(([, item]) => item);
}
