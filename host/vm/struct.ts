// google.protobuf.Struct and envoy's Metadata as bytes.
import { bytesField } from "./protobuf.js";
import type { Json } from "./stream-info.js";

const text = (value: string): Uint8Array => Buffer.from(value, "utf8");

function join(parts: Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** A google.protobuf.Struct. */
export function encodeStruct(struct: Record<string, Json>): Uint8Array {
  return join(Object.entries(struct).map(([key, value]) => bytesField(1, join([bytesField(1, text(key)), bytesField(2, encodeValue(value))]))));
}

/** A google.protobuf.Value. */
export function encodeValue(value: Json): Uint8Array {
  if (value === null) return Uint8Array.of(0x08, 0);
  if (typeof value === "boolean") return Uint8Array.of(0x20, value ? 1 : 0);
  if (typeof value === "string") return bytesField(3, text(value));
  if (Array.isArray(value)) return bytesField(6, join(value.map((item) => bytesField(1, encodeValue(item)))));
  if (typeof value === "object") return bytesField(5, encodeStruct(value));
  const bytes = new Uint8Array(9);
  bytes[0] = 0x11;
  new DataView(bytes.buffer).setFloat64(1, value, true);
  return bytes;
}

/** An envoy.config.core.v3.Metadata with its filter_metadata. */
export function encodeMetadata(filterMetadata: Record<string, Json>): Uint8Array {
  return join(
    Object.entries(filterMetadata).map(([name, struct]) =>
      bytesField(1, join([bytesField(1, text(name)), bytesField(2, encodeStruct(struct as Record<string, Json>))])),
    ),
  );
}

/** An envoy.config.core.v3.Node, as far as it is configured (a real Envoy lists its extensions too). */
export function encodeNode(node: { id: string; cluster: string; metadata: Record<string, Json> }): Uint8Array {
  return join([
    ...(node.id ? [bytesField(1, text(node.id))] : []),
    ...(node.cluster ? [bytesField(2, text(node.cluster))] : []),
    ...(Object.keys(node.metadata).length > 0 ? [bytesField(3, encodeStruct(node.metadata))] : []),
  ]);
}
