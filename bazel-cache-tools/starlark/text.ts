// Values as text: str(), repr(), and JSON for the host.
import { UnknownMet } from "./errors.js";
import { checkDepth, DEFAULT_BUDGET, PIECE_STEPS, Pieces, Session, session, spend } from "./session.js";
import { Builtin, Callable, Dict, Float, List, SetValue, Struct, Tuple, Unknown, type Value } from "./values.js";

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

/** `str(value)`; an `Unknown` in it is written as its reason in angle brackets. For messages and for hosts. Throws for a value too large. */
export function stringOf(value: Value): string {
  return typeof value === "string" ? value : bounded(() => written(value, (unknown) => `<unknown: ${unknown.reason}>`));
}

/** A list that holds one list twice, which holds one list twice, … has no end; so hosts have bounds too, outside of a run. */
function bounded<T>(work: () => T): T {
  return session() ? work() : new Session(DEFAULT_BUDGET, () => undefined).enter(work);
}

/** `str(value)` in the language: a text with an unknown part is unknown. */
export function str(value: Value): string {
  return typeof value === "string" ? value : repr(value);
}

/** `repr(value)` in the language. */
export function repr(value: Value): string {
  return written(value, (unknown) => {
    throw new UnknownMet(unknown);
  });
}

interface Writer {
  pieces: Pieces;
  open: Set<Value>;
  unknown(value: Unknown): string;
}

function written(value: Value, unknown: Writer["unknown"]): string {
  const writer: Writer = { pieces: new Pieces(), open: new Set(), unknown };
  write(value, writer);
  return writer.pieces.text();
}

function write(value: Value, writer: Writer): void {
  spend(PIECE_STEPS);
  const flat = flatText(value, writer);
  if (flat !== undefined) {
    writer.pieces.add(flat);
    return;
  }
  checkDepth(writer.open.size);
  writer.open.add(value);
  if (value instanceof List) writeAll(value.items, "[", "]", writer);
  else if (value instanceof Tuple) writeAll(value.items, "(", value.items.length === 1 ? ",)" : ")", writer);
  else if (value instanceof Dict) writePairs(value.entries(), "{", ": ", "}", writer);
  else if (value instanceof SetValue) writeAll(value.members.keys(), "set([", "])", writer);
  else if (value instanceof Struct) writePairs(value.fields, `${value.kind}(`, " = ", ")", writer);
  writer.open.delete(value);
}

/** The text of what holds nothing, or is being written already. */
function flatText(value: Value, writer: Writer): string | undefined {
  if (value === null || typeof value !== "object") return plain(value);
  if (value instanceof Unknown) return writer.unknown(value);
  if (value instanceof Float) return floatText(value.value);
  if (value instanceof Builtin) return `<built-in function ${value.name}>`;
  if (value instanceof Callable) return `<function ${value.name}>`;
  if (!writer.open.has(value)) return undefined;
  return value instanceof Dict ? "{...}" : "[...]";
}

function writeAll(items: readonly Value[], open: string, close: string, writer: Writer): void {
  writer.pieces.add(open);
  items.forEach((item, index) => {
    if (index > 0) writer.pieces.add(", ");
    write(item, writer);
  });
  writer.pieces.add(close);
}

function writePairs(pairs: Iterable<readonly [Value, Value]>, open: string, between: string, close: string, writer: Writer): void {
  writer.pieces.add(open);
  let first = true;
  for (const [key, value] of pairs) {
    if (!first) writer.pieces.add(", ");
    first = false;
    if (between === ": ") write(key, writer);
    else writer.pieces.add(String(key));
    writer.pieces.add(between);
    write(value, writer);
  }
  writer.pieces.add(close);
}

function plain(value: null | boolean | number | bigint | string): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return quoted(value);
  return String(value);
}

function quoted(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped here
  const escaped = text.replace(/["\\\x00-\x1f\x7f]/g, (one) => ESCAPES.get(one) ?? `\\x${one.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `"${escaped}"`;
}

/** The shortest digits, with an exponent from 1e16 on and below 1e-4 (as Python and Bazel's `%s` of a float). */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "+inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e16 || size < 1e-4)) return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A value as JSON: tuples and sets as arrays, structs as objects, integers beyond 2^53 and all that JSON has no word for as text. Throws for a value too large. */
export function toJson(value: Value): Json {
  return bounded(() => json(value, 0));
}

function json(value: Value, depth: number): Json {
  checkDepth(depth);
  spend(PIECE_STEPS);
  if (value === null || typeof value === "boolean" || typeof value === "number" || typeof value === "string") return value;
  if (value instanceof Float && Number.isFinite(value.value)) return value.value;
  if (value instanceof List || value instanceof Tuple) return value.items.map((item) => json(item, depth + 1));
  if (value instanceof SetValue) return value.members.keys().map((item) => json(item, depth + 1));
  if (value instanceof Dict) return Object.fromEntries(Array.from(value.entries(), ([key, item]) => [stringOf(key), json(item, depth + 1)]));
  if (value instanceof Struct) return Object.fromEntries(Array.from(value.fields, ([name, item]) => [name, json(item, depth + 1)]));
  return stringOf(value);
}
