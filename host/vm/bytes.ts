// A message body on its way: bytes in pieces, taken from the front, added at the back, without copying until somebody asks for them in one piece.

const NOTHING = new Uint8Array(0);

/** Bytes in pieces. What it holds is never changed in place: pieces may be shared with whoever made them. */
export class Bytes {
  private pieces: Uint8Array[] = [];
  private size = 0;

  constructor(first?: Uint8Array) {
    if (first && first.length > 0) {
      this.pieces.push(first);
      this.size = first.length;
    }
  }

  get length(): number {
    return this.size;
  }

  append(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.pieces.push(piece);
    this.size += piece.length;
  }

  prepend(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.pieces.unshift(piece);
    this.size += piece.length;
  }

  /** Takes everything out of another one. */
  move(from: Bytes): void {
    if (from === this) return;
    if (this.size === 0) {
      const { pieces } = this;
      this.pieces = from.pieces;
      from.pieces = pieces;
      pieces.length = 0;
    } else {
      for (const piece of from.pieces) this.pieces.push(piece);
      from.pieces = [];
    }
    this.size += from.size;
    from.size = 0;
  }

  /** Drops up to `count` bytes from the front. */
  drain(count: number): void {
    if (count >= this.size) {
      this.clear();
      return;
    }
    this.size -= count;
    while (count > 0) {
      const first = this.pieces[0]!;
      if (first.length > count) {
        this.pieces[0] = first.subarray(count);
        return;
      }
      count -= first.length;
      this.pieces.shift();
    }
  }

  clear(): void {
    this.pieces = [];
    this.size = 0;
  }

  /** `count` bytes from `start` on (fewer where there are fewer); a view where they lie in one piece. */
  read(start: number, count: number): Uint8Array {
    const end = Math.min(this.size, start + count);
    if (start >= end) return NOTHING;
    if (this.pieces.length > 1) {
      const whole = new Uint8Array(this.size);
      let at = 0;
      for (const piece of this.pieces) {
        whole.set(piece, at);
        at += piece.length;
      }
      this.pieces = [whole];
    }
    return this.pieces[0]!.subarray(start, end);
  }

  /** Everything in one piece. */
  all(): Uint8Array {
    return this.read(0, this.size);
  }

  /** The pieces, front first. */
  parts(): readonly Uint8Array[] {
    return this.pieces;
  }
}
