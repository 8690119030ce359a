// The functions that every file has (starlark spec, "Built-in constants and functions"; `struct` is Bazel's).
import { attributeNames, attributeOf } from "./attributes.js";
import { update } from "./collections.js";
import { Fault } from "./errors.js";
import { integer } from "./literals.js";
import { bound, changes, type Given, keeps, type Native, reads } from "./native.js";
import { compare, isInteger, sorted } from "./operators.js";
import { spendElements, spendText } from "./session.js";
import { repr, str, stringOf } from "./text.js";
import { Callable, Dict, Float, iterate, List, SetValue, Struct, Tuple, truth, typeName, Unknown, type Value } from "./values.js";

const FUNCTIONS: ReadonlyMap<string, Native<null>> = new Map<string, Native<null>>([
  ["abs", reads("x", (_, given) => absolute(given.value(0)))],
  ["all", reads("items", (_, given) => given.items(0).every(truth))],
  ["any", reads("items", (_, given) => given.items(0).some(truth))],
  ["bool", reads("x?", (_, given) => truth(given.value(0)))],
  ["dict", keeps("*", dict)],
  ["dir", reads("x", (_, given) => new List(attributeNames(given.value(0)).sort()))],
  ["enumerate", reads("items start?", (_, given) => paid(given.items(0).map((item, index) => new Tuple([index + given.integer(1, 0), item]))))],
  ["fail", keeps("*", fail)],
  ["float", reads("x?", (_, given) => toFloat(given.value(0)))],
  ["getattr", keeps("x name default?", getAttribute)],
  ["hasattr", reads("x name", (_, given) => attributeOf(given.value(0), given.text(1)) !== undefined)],
  ["hash", reads("text", (_, given) => hash(given.text(0)))],
  ["int", reads("x? base?", (_, given) => toInteger(given))],
  ["len", reads("x", (_, given) => lengthOf(given.value(0)))],
  ["list", reads("items?", (_, given) => paid(given.has(0) ? given.items(0) : []))],
  ["max", reads("*", (_, given) => extreme(given, 1))],
  ["min", reads("*", (_, given) => extreme(given, -1))],
  ["print", keeps("*", () => null)],
  ["range", reads("start end? step?", (_, given) => range(given))],
  ["repr", reads("x", (_, given) => repr(given.value(0)))],
  ["reversed", reads("items", (_, given) => paid(given.items(0).reverse()))],
  ["set", reads("items?", (_, given) => new SetValue(given.has(0) ? paid(given.items(0)).items : []))],
  ["sorted", reads("items key? reverse?", (_, given) => new List(sorted(given.value(0), keyFunction(given, given.value(1)), truth(given.value(2)))))],
  ["str", reads("x", (_, given) => str(given.value(0)))],
  ["struct", keeps("*", struct)],
  ["tuple", reads("items?", (_, given) => new Tuple(given.has(0) ? paid(given.items(0)).items : []))],
  ["type", reads("x", (_, given) => typeName(given.value(0)))],
  ["zip", changes("*", (_, { call }) => zip(call.positional.map(iterate)))],
]);

/** What is defined in every file without being predeclared. */
export const UNIVERSE: ReadonlyMap<string, Value> = new Map(Array.from(FUNCTIONS, ([name, fn]) => [name, bound(name, fn, null)]));

function paid(items: Value[]): List {
  spendElements(items.length);
  return new List(items);
}

function dict(_: null, { call }: Given): Value {
  const [first] = call.positional;
  if (first instanceof Unknown) return first;
  const made = new Dict();
  update(made, call.positional, call.named);
  return made;
}

function struct(_: null, { call }: Given): Struct {
  if (call.positional.length > 0) throw new Fault("struct() takes no positional arguments");
  return new Struct(call.named);
}

/** The message alone, as its author wrote it; `attr` is the name that old rules put before it. */
function fail(_: null, { call }: Given): never {
  const separator = call.named.get("sep");
  const words = [...call.positional];
  const message = call.named.get("msg");
  if (message !== undefined && message !== null) words.unshift(message);
  const attribute = call.named.get("attr");
  const text = words.map(stringOf).join(typeof separator === "string" ? separator : " ");
  const unknown = words.find((word): word is Unknown => word instanceof Unknown);
  throw new Fault(typeof attribute === "string" ? `attribute ${attribute}: ${text}` : text, false, unknown);
}

function getAttribute(_: null, given: Given): Value {
  const of = given.value(0);
  if (of instanceof Unknown) return of;
  const found = attributeOf(of, given.text(1)) ?? given.values[2];
  if (found === undefined) throw new Fault(`'${typeName(of)}' value has no field or method '${given.text(1)}'`);
  return found;
}

function lengthOf(value: Value): number {
  if (typeof value === "string") return value.length;
  if (value instanceof List || value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof SetValue) return value.members.size;
  throw new Fault(`'${typeName(value)}' value has no length`);
}

function range(given: Given): List {
  const [start, end] = given.has(1) ? [given.integer(0, 0), given.integer(1, 0)] : [0, given.integer(0, 0)];
  const step = given.integer(2, 1);
  if (step === 0) throw new Fault("the step of a range is zero");
  const length = Math.max(0, Math.ceil((end - start) / step));
  spendElements(length);
  return new List(Array.from({ length }, (_, index) => start + index * step));
}

function zip(columns: Value[][]): List {
  const length = columns.length === 0 ? 0 : Math.min(...columns.map((column) => column.length));
  return paid(Array.from({ length }, (_, row) => new Tuple(columns.map((column) => column[row]!))));
}

function keyFunction(given: Given, key: Value): (item: Value) => Value {
  if (key === null) return (item) => item;
  if (!(key instanceof Callable)) throw new Fault(`a key is a function, not '${typeName(key)}'`);
  return (item) => key.invoke({ ...given.call, positional: [item], named: new Map() });
}

function extreme({ call, ...given }: Given, sign: 1 | -1): Value {
  const key = keyFunction({ ...given, call } as Given, call.named.get("key") ?? null);
  const items = call.positional.length === 1 ? iterate(call.positional[0]!) : call.positional;
  const [first, ...rest] = items.map((item) => ({ item, key: key(item) }));
  if (first === undefined) throw new Fault("min() and max() need at least one element");
  return rest.reduce((best, one) => (compare(one.key, best.key) * sign > 0 ? one : best), first).item;
}

function absolute(value: Value): Value {
  if (value instanceof Float) return new Float(Math.abs(value.value));
  if (typeof value === "bigint") return value < 0n ? -value : value;
  if (typeof value === "number") return Math.abs(value);
  throw new Fault(`a number is required, not '${typeName(value)}'`);
}

function toFloat(value: Value): Float {
  if (value === null) return new Float(0);
  if (value instanceof Float) return value;
  if (isInteger(value) || typeof value === "boolean") return new Float(Number(value));
  if (typeof value === "string" && /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(value)) return new Float(Number(value));
  throw new Fault(`not a number: ${repr(value)}`);
}

const PREFIXED: ReadonlyMap<string, number> = new Map([
  ["0x", 16],
  ["0o", 8],
  ["0b", 2],
]);
const MAX_DIGITS = 4096;

/** `int(x)`, `int("ff", 16)`, `int("0xff", 0)`. */
function toInteger(given: Given): Value {
  const value = given.has(0) ? given.value(0) : 0;
  if (isInteger(value)) return value;
  if (typeof value === "boolean") return Number(value);
  if (value instanceof Float && Number.isFinite(value.value)) return integer(BigInt(Math.trunc(value.value)));
  if (typeof value !== "string") throw new Fault(`int() cannot convert '${typeName(value)}'`);
  const text = value.trim();
  const sign = text.startsWith("-") ? -1n : 1n;
  const digits = text.replace(/^[+-]/, "").toLowerCase();
  const prefix = PREFIXED.get(digits.slice(0, 2));
  const base = given.integer(1, 10);
  const radix = base === 0 ? (prefix ?? 10) : base;
  const plain = prefix === radix ? digits.slice(2) : digits;
  if (digits.length > MAX_DIGITS) throw new Fault("a number with too many digits");
  const total = radix >= 2 && radix <= 36 ? inRadix(plain, radix) : undefined;
  if (total === undefined) throw new Fault(`invalid literal for int() with base ${base}: ${repr(value)}`);
  return integer(sign * total);
}

function inRadix(digits: string, radix: number): bigint | undefined {
  if (!/^[0-9a-z]+$/.test(digits)) return undefined;
  let total = 0n;
  for (const digit of digits) {
    const value = Number.parseInt(digit, 36);
    if (value >= radix) return undefined;
    total = total * BigInt(radix) + BigInt(value);
  }
  return total;
}

/** Java's `String.hashCode`, which Bazel uses. */
function hash(text: string): number {
  spendText(text.length);
  let code = 0;
  for (let at = 0; at < text.length; at++) code = (Math.imul(code, 31) + text.charCodeAt(at)) | 0;
  return code;
}
