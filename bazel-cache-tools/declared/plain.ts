// Starlark values as plain JavaScript, for whoever only reads them.
import { Dict, Float, listOf, Struct, Unknown, type Value } from "../starlark/index.js";

/** Stands where a value could not be computed. */
export const UNKNOWN = Symbol("unknown");

/** Strings, numbers, booleans, null, arrays and objects; everything else (functions, what is not known) is UNKNOWN. */
export function plain(value: Value, depth = 0): unknown {
  if (depth > 20 || value instanceof Unknown) return UNKNOWN;
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Float) return value.value;
  const items = listOf(value);
  if (items) return items.map((item) => plain(item, depth + 1));
  if (value instanceof Dict) return fromEntries(value.entries(), depth);
  if (value instanceof Struct) return fromEntries(value.fields, depth);
  return UNKNOWN;
}

function fromEntries(entries: Iterable<readonly [Value, Value]>, depth: number): Record<string, unknown> {
  const object: Record<string, unknown> = Object.create(null);
  for (const [key, value] of entries) if (typeof key === "string") object[key] = plain(value, depth + 1);
  return object;
}

/** Whether there is an UNKNOWN in it. */
export function hasUnknown(value: unknown): boolean {
  if (value === UNKNOWN) return true;
  if (Array.isArray(value)) return value.some(hasUnknown);
  return typeof value === "object" && value !== null && Object.values(value).some(hasUnknown);
}
