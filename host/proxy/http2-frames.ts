// HTTP/2 on the wire (RFC 9113): frames, error codes, settings.

export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;

export const Code = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  COMPRESSION_ERROR: 9,
} as const;

export const Setting = { ENABLE_PUSH: 2, MAX_CONCURRENT_STREAMS: 3, INITIAL_WINDOW_SIZE: 4, MAX_FRAME_SIZE: 5 } as const;

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** What both sides begin with. */
export const INITIAL_WINDOW = 65535;
export const MAX_WINDOW = 0x7fffffff;
export const MAX_FRAME = 16384;

const HEAD = 9;

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, HEAD);
  return bytes;
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  values.forEach((value, i) => {
    bytes.writeUInt32BE(value, i * 4);
  });
  return bytes;
}

export function settingsPayload(settings: readonly (readonly [number, number])[]): Buffer {
  const bytes = Buffer.allocUnsafe(6 * settings.length);
  settings.forEach(([id, value], i) => {
    bytes.writeUInt16BE(id, i * 6);
    bytes.writeUInt32BE(value, i * 6 + 2);
  });
  return bytes;
}

/** Gathers what comes in until a frame is whole. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);

  push(data: Buffer): void {
    this.rest = this.rest.length === 0 ? data : Buffer.concat([this.rest, data]);
  }

  /** The first `size` bytes once they are there. */
  take(size: number): Buffer | undefined {
    if (this.rest.length < size) return undefined;
    const taken = this.rest.subarray(0, size);
    this.rest = this.rest.subarray(size);
    return taken;
  }

  /** What has come of the beginning. */
  peek(size: number): Buffer {
    return this.rest.subarray(0, size);
  }

  /** The next frame; undefined while it is not whole, "too large" where it is larger than allowed. */
  next(): Frame | "too large" | undefined {
    const { rest } = this;
    if (rest.length < HEAD) return undefined;
    const length = rest.readUIntBE(0, 3);
    if (length > MAX_FRAME) return "too large";
    if (rest.length < HEAD + length) return undefined;
    this.rest = rest.subarray(HEAD + length);
    return { type: rest[3]!, flags: rest[4]!, stream: rest.readUInt32BE(5) & MAX_WINDOW, payload: rest.subarray(HEAD, HEAD + length) };
  }
}
