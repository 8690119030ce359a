// Values of properties and CEL expressions, and how they look to a guest (facts/envoy-wasm.md A3).
import type { HeaderMap } from "./headermap.js";
import type { Json } from "./stream-info.js";
import { encodePairs } from "./wire.js";

/** Signed or unsigned; a duration or time in nanoseconds; a message as its bytes with named fields; something that can only be looked into. */
export type Value =
  | string
  | number
  | boolean
  | null
  | { int: bigint }
  | { uint: bigint }
  | { duration: bigint }
  | { timestamp: bigint }
  | { bytes: Uint8Array; field?: (name: string) => Value | undefined }
  | { list: Value[] }
  | { map: [string, Value][]; get?: (name: string) => Value | undefined }
  | { look: (name: string) => Value | undefined; names: readonly string[] };

/** As the guest gets it; undefined for what has no encoding (null, or something that can only be looked into). Strings are byte strings. */
export function encodeValue(value: Value): Uint8Array | undefined {
  if (value === null) return undefined;
  if (typeof value === "string") return Buffer.from(value, "latin1");
  if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
  if (typeof value === "number") {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, true);
    return bytes;
  }
  if ("int" in value) return eight(value.int);
  if ("uint" in value) return eight(value.uint);
  if ("duration" in value) return eight(value.duration);
  if ("timestamp" in value) return eight(value.timestamp);
  if ("bytes" in value) return value.bytes;
  if ("list" in value) return pairs(value.list.map((item) => [item, ""]));
  if ("map" in value) return value.map.length === 0 ? new Uint8Array(4) : pairs(value.map);
  return undefined;
}

function pairs(entries: [Value, Value][]): Uint8Array | undefined {
  const encoded: [string, string][] = [];
  for (const [key, value] of entries) {
    const k = encodeValue(key);
    const v = encodeValue(value);
    if (!k || !v) return undefined;
    encoded.push([Buffer.from(k).toString("latin1"), Buffer.from(v).toString("latin1")]);
  }
  return encodePairs(encoded);
}

function eight(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
  return bytes;
}

/** One step into a value; undefined where there is nothing. */
export function step(value: Value, name: string): Value | undefined {
  if (value === null || typeof value !== "object") return undefined;
  if ("look" in value) return value.look(name);
  if ("map" in value) return value.get ? value.get(name) : value.map.find(([key]) => key === name)?.[1];
  if ("list" in value) return /^\d+$/.test(name) ? value.list[Number(name)] : undefined;
  if ("bytes" in value) return value.field?.(name);
  return undefined;
}

/** A Struct's value. */
export function fromJson(json: Json): Value {
  if (json === null || typeof json === "boolean" || typeof json === "number") return json;
  if (typeof json === "string") return bytesOf(json);
  if (Array.isArray(json)) return { list: json.map(fromJson) };
  return { map: Object.entries(json).map(([key, value]) => [bytesOf(key), fromJson(value)]) };
}

/** Text as a byte string. */
export function bytesOf(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** A header map: repeated names joined with ",", looked up without regard to case. */
export function fromHeaders(map: HeaderMap): Value {
  const names = [...new Set([...map.entries()].map(([name]) => name))];
  return { map: names.map((name) => [name, map.joined(name)!]), get: (name) => map.joined(name.toLowerCase()) };
}
