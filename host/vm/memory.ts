// A guest's memory as host functions use it: every access checked against its present size, which may change whenever the guest runs.

export class GuestMemory {
  private buffer: ArrayBufferLike | undefined;
  private bytes: Buffer = Buffer.alloc(0);
  private view = new DataView(new ArrayBuffer(0));

  /** `memory` is undefined for a module that has none to show. */
  constructor(private readonly memory: WebAssembly.Memory | undefined) {}

  /** Views of the memory as it is now. */
  private now(): Buffer {
    const buffer = this.memory?.buffer;
    if (buffer && buffer !== this.buffer) {
      this.buffer = buffer;
      this.bytes = Buffer.from(buffer);
      this.view = new DataView(buffer);
    }
    return this.bytes;
  }

  /** Its size in pages of 64 KiB. */
  get pages(): number {
    return (this.memory?.buffer.byteLength ?? 0) / 65536;
  }

  /** Whether the range lies inside. envoy 1.40: a range of no bytes may begin at the very end, not behind it. */
  has(pointer: number, size: number): boolean {
    return (pointer >>> 0) + (size >>> 0) <= this.now().length;
  }

  /** A byte string (one character per byte); undefined where the range is outside. */
  text(pointer: number, size: number): string | undefined {
    pointer >>>= 0;
    size >>>= 0;
    const bytes = this.now();
    if (pointer + size > bytes.length) return undefined;
    if (size > 24) return bytes.toString("latin1", pointer, pointer + size);
    let value = "";
    for (let i = 0; i < size; i++) value += String.fromCharCode(bytes[pointer + i]!);
    return value;
  }

  /** A copy of a range. */
  copy(pointer: number, size: number): Uint8Array | undefined {
    pointer >>>= 0;
    size >>>= 0;
    const bytes = this.now();
    if (pointer + size > bytes.length) return undefined;
    return Uint8Array.prototype.slice.call(bytes, pointer, pointer + size);
  }

  /** The range itself: gone with the next growth. */
  range(pointer: number, size: number): Uint8Array | undefined {
    pointer >>>= 0;
    size >>>= 0;
    const bytes = this.now();
    return pointer + size > bytes.length ? undefined : bytes.subarray(pointer, pointer + size);
  }

  setBytes(pointer: number, bytes: Uint8Array): boolean {
    pointer >>>= 0;
    const into = this.now();
    if (pointer + bytes.length > into.length) return false;
    into.set(bytes, pointer);
    return true;
  }

  setText(pointer: number, value: string): boolean {
    pointer >>>= 0;
    const into = this.now();
    if (pointer + value.length > into.length) return false;
    if (value.length > 24) into.write(value, pointer, value.length, "latin1");
    else for (let i = 0; i < value.length; i++) into[pointer + i] = value.charCodeAt(i);
    return true;
  }

  setU32(pointer: number, value: number): boolean {
    if (!this.has(pointer, 4)) return false;
    this.view.setUint32(pointer >>> 0, value, true);
    return true;
  }

  setU64(pointer: number, value: bigint): boolean {
    if (!this.has(pointer, 8)) return false;
    this.view.setBigUint64(pointer >>> 0, value, true);
    return true;
  }

  u32(pointer: number): number | undefined {
    return this.has(pointer, 4) ? this.view.getUint32(pointer >>> 0, true) : undefined;
  }
}
