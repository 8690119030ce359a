// A google.protobuf.Any of a plugin's or a VM's configuration as the guest reads it: StringValue and BytesValue bare, everything else serialized (envoy 1.40).
import { bytesField, varintField } from "../../vm/protobuf.js";
import type { Json } from "../../vm/stream-info.js";
import { encodeStruct, encodeValue } from "../../vm/struct.js";
import { ConfigError, type Obj } from "./fields.js";

const NOTHING = new Uint8Array(0);

function fixed(number: number, size: 4 | 8, value: number): Uint8Array {
  const bytes = new Uint8Array(1 + size);
  bytes[0] = number * 8 + (size === 8 ? 1 : 5);
  const view = new DataView(bytes.buffer);
  if (size === 8) view.setFloat64(1, value, true);
  else view.setFloat32(1, value, true);
  return value === 0 ? NOTHING : bytes;
}

/** The JSON form of a message was another one. */
class Malformed extends Error {}

/** The value where it is there and `fits`. Throws Malformed. */
function checked<T>(value: unknown, fallback: T, fits: (given: unknown) => boolean, wanted: string): T {
  if (value === undefined || value === null) return fallback;
  if (!fits(value)) throw new Malformed(`must be ${wanted}, not ${JSON.stringify(value)}`);
  return value as T;
}

const text = (value: unknown): string => checked(value, "", (given) => typeof given === "string", "a string");

function integer(value: unknown): Uint8Array {
  const isInteger = (given: unknown) => (typeof given === "string" ? /^-?\d+$/.test(given) : Number.isInteger(given));
  const number = BigInt(checked<string | number>(value, 0, isInteger, "a whole number"));
  return number === 0n ? NOTHING : varintField(1, number);
}

const float = (value: unknown): number =>
  Number(
    checked<string | number>(
      value,
      0,
      (given) => (typeof given === "string" ? given !== "" && !Number.isNaN(Number(given)) : typeof given === "number"),
      "a number",
    ),
  );

const message = (value: unknown): Record<string, Json> => checked(value, {}, (given) => typeof given === "object" && !Array.isArray(given), "an object");

/** By type: the value (the field "value", or the message itself) to bytes. */
const ENCODERS: Record<string, (value: unknown) => Uint8Array> = {
  "google.protobuf.StringValue": (value) => Buffer.from(text(value), "utf8"),
  "google.protobuf.BytesValue": (value) => Buffer.from(text(value), "base64"),
  "google.protobuf.Struct": (value) => encodeStruct(message(value)),
  "google.protobuf.Value": (value) => encodeValue(value as Json),
  "google.protobuf.ListValue": (value) => Buffer.concat(checked<Json[]>(value, [], Array.isArray, "a list").map((item) => bytesField(1, encodeValue(item)))),
  "google.protobuf.Int64Value": integer,
  "google.protobuf.UInt64Value": integer,
  "google.protobuf.Int32Value": integer,
  "google.protobuf.UInt32Value": integer,
  "google.protobuf.BoolValue": (value) => (checked(value, false, (given) => typeof given === "boolean", "true or false") ? varintField(1, 1n) : NOTHING),
  "google.protobuf.DoubleValue": (value) => fixed(1, 8, float(value)),
  "google.protobuf.FloatValue": (value) => fixed(1, 4, float(value)),
  "google.protobuf.Empty": () => NOTHING,
  "google.protobuf.Duration"(value) {
    const written = /^(-?)(\d+)(?:\.(\d{1,9}))?s$/;
    const duration = checked(value, "0s", (given) => typeof given === "string" && written.test(given), 'a duration, as "1.5s"');
    const [, sign, seconds = "0", fraction = ""] = written.exec(duration)!;
    const nanos = Number(fraction.padEnd(9, "0") || 0);
    const signed = (n: bigint) => (sign ? -n : n);
    return Buffer.concat([seconds === "0" ? NOTHING : varintField(1, signed(BigInt(seconds))), nanos === 0 ? NOTHING : varintField(2, signed(BigInt(nanos)))]);
  },
};

/** Throws ConfigError for a type that it does not know. */
export function anyBytes(json: unknown, path: string): Uint8Array {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new ConfigError(`${path}: must be an object with "@type"`);
  const any = json as Obj;
  const type = String(any["@type"] ?? "");
  const name = type.slice(type.lastIndexOf("/") + 1);
  const encode = ENCODERS[name];
  if (!encode)
    throw new ConfigError(`${path}: the node engine does not support ${name || "an Any without @type"}; it supports ${Object.keys(ENCODERS).join(", ")}`);
  try {
    return encode(any.value);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new ConfigError(`${path}.value: ${error.message} (${name})`);
  }
}
