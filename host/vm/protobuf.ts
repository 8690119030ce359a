// As much of protobuf's wire format as the host needs: reading fields, checking that bytes are a message at all, writing a few.

export interface Field {
  number: number;
  wire: number;
  /** Of a varint or fixed field. */
  value: bigint;
  /** Of a length-delimited field. */
  bytes: Uint8Array;
}

const NONE = new Uint8Array(0);

/** The fields of a message; undefined where the bytes are none. */
export function readFields(bytes: Uint8Array): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint | undefined => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) return undefined;
      value |= BigInt(byte & 127) << shift;
      if (!(byte & 128)) return BigInt.asUintN(64, value);
    }
    return undefined;
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag === undefined || tag > 0xffffffffn) return undefined;
    const number = Number(tag >> 3n);
    const wire = Number(tag & 7n);
    if (number === 0) return undefined;
    if (wire === 0) {
      const value = varint();
      if (value === undefined) return undefined;
      fields.push({ number, wire, value, bytes: NONE });
    } else if (wire === 1 || wire === 5) {
      const size = wire === 1 ? 8 : 4;
      if (at + size > bytes.length) return undefined;
      let value = 0n;
      for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]!);
      fields.push({ number, wire, value, bytes: NONE });
      at += size;
    } else if (wire === 2) {
      const size = varint();
      if (size === undefined || BigInt(at) + size > BigInt(bytes.length)) return undefined;
      fields.push({ number, wire, value: 0n, bytes: bytes.subarray(at, at + Number(size)) });
      at += Number(size);
    } else if (wire === 3) {
      const end = groupEnd(bytes, at, number);
      if (end === undefined) return undefined;
      at = end;
    } else {
      return undefined;
    }
  }
  return fields;
}

/** Old-style groups are skipped: where one ends. */
function groupEnd(bytes: Uint8Array, start: number, number: number): number | undefined {
  const closing = number * 8 + 4;
  for (let at = start; at < bytes.length; at++) {
    if (closing < 128 && bytes[at] === closing && readFields(bytes.subarray(start, at))) return at + 1;
  }
  return undefined;
}

export function varintBytes(value: bigint): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    out.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return out;
}

/** A length-delimited field. */
export function bytesField(number: number, bytes: Uint8Array): Uint8Array {
  return Uint8Array.from([...varintBytes(BigInt(number * 8 + 2)), ...varintBytes(BigInt(bytes.length)), ...bytes]);
}

export function varintField(number: number, value: bigint): Uint8Array {
  return Uint8Array.from([...varintBytes(BigInt(number * 8)), ...varintBytes(value)]);
}
