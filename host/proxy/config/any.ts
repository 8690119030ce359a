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

const integer = (value: unknown): Uint8Array => (BigInt((value as string) ?? 0) === 0n ? NOTHING : varintField(1, BigInt(value as string)));

/** By type: the value (the field "value", or the message itself) to bytes. */
const ENCODERS: Record<string, (value: unknown) => Uint8Array> = {
  "google.protobuf.StringValue": (value) => Buffer.from(String(value ?? ""), "utf8"),
  "google.protobuf.BytesValue": (value) => Buffer.from(String(value ?? ""), "base64"),
  "google.protobuf.Struct": (value) => encodeStruct((value ?? {}) as Record<string, Json>),
  "google.protobuf.Value": (value) => encodeValue(value as Json),
  "google.protobuf.ListValue": (value) => Buffer.concat(((value ?? []) as Json[]).map((item) => bytesField(1, encodeValue(item)))),
  "google.protobuf.Int64Value": integer,
  "google.protobuf.UInt64Value": integer,
  "google.protobuf.Int32Value": integer,
  "google.protobuf.UInt32Value": integer,
  "google.protobuf.BoolValue": (value) => (value ? varintField(1, 1n) : NOTHING),
  "google.protobuf.DoubleValue": (value) => fixed(1, 8, Number(value ?? 0)),
  "google.protobuf.FloatValue": (value) => fixed(1, 4, Number(value ?? 0)),
  "google.protobuf.Empty": () => NOTHING,
  "google.protobuf.Duration"(value) {
    const [, sign, seconds = "0", fraction = ""] = /^(-?)(\d+)(?:\.(\d{1,9}))?s$/.exec(String(value ?? "0s")) ?? [];
    const nanos = Number(fraction.padEnd(9, "0") || 0);
    const signed = (n: bigint) => (sign ? -n : n);
    return Buffer.concat([seconds === "0" ? NOTHING : varintField(1, signed(BigInt(seconds))), nanos === 0 ? NOTHING : varintField(2, signed(BigInt(nanos)))]);
  },
};

/** Throws ConfigError for a type that it does not know. */
export function anyBytes(json: unknown, path: string): Uint8Array {
  const any = json as Obj;
  const type = String(any["@type"] ?? "");
  const name = type.slice(type.lastIndexOf("/") + 1);
  const encode = ENCODERS[name];
  if (!encode)
    throw new ConfigError(`${path}: the node engine does not support ${name || "an Any without @type"}; it supports ${Object.keys(ENCODERS).join(", ")}`);
  return encode(any.value);
}
