// A histogram as Envoy keeps one: bins of two decimal digits (libcircllhist), merged when statistics are flushed. Memory does not grow with what is recorded.

interface Bin {
  /** Two decimal digits, 10 to 99, perhaps below zero; 0 for the value 0. */
  readonly mantissa: number;
  readonly exponent: number;
  readonly count: number;
}

/** The least value of a bin, and how wide it is: libcircllhist's own arithmetic, with its roundings. */
function lowerOf(bin: Bin): number {
  const edge = (bin.mantissa / 10) * 10 ** bin.exponent;
  return bin.mantissa < 0 ? edge - widthOf(bin) : edge;
}
const widthOf = ({ mantissa, exponent }: Bin): number => (mantissa === 0 ? 0 : 10 ** exponent / 10);

/** What was recorded in some time. */
export class Distribution {
  private readonly counts = new Map<number, number>();
  private sorted: Bin[] | undefined;
  count = 0;

  /** An integer. */
  record(value: bigint): void {
    const digits = (value < 0n ? -value : value).toString();
    const key = value === 0n ? 0 : (digits.length - 1) * 100 + Number(digits.slice(0, 2).padEnd(2, "0"));
    this.add(value < 0n ? -key : key, 1);
  }

  private add(key: number, count: number): void {
    this.counts.set(key, (this.counts.get(key) ?? 0) + count);
    this.count += count;
    this.sorted = undefined;
  }

  addAll(other: Distribution): void {
    for (const [key, count] of other.counts) this.add(key, count);
  }

  private get bins(): Bin[] {
    this.sorted ??= [...this.counts]
      .sort(([a], [b]) => a - b)
      .map(([key, count]) => ({ mantissa: key % 100, exponent: Math.trunc(Math.abs(key) / 100), count }));
    return this.sorted;
  }

  /** Values at these shares (0 to 1); NaN where nothing was recorded. envoy 1.40: what is in a bin is spread over it evenly, none of it at its edges. */
  quantiles(shares: readonly number[]): number[] {
    return shares.map((share) => {
      const wanted = Math.max(1, Math.ceil(share * this.count));
      let before = 0;
      for (const bin of this.bins) {
        if (wanted <= before + bin.count) return lowerOf(bin) + ((wanted - before) / (bin.count + 1)) * widthOf(bin);
        before += bin.count;
      }
      return Number.NaN;
    });
  }

  /** How many values lie in bins that begin at `limit` or before. */
  upTo(limit: number): number {
    let count = 0;
    for (const bin of this.bins) if (lowerOf(bin) <= limit) count += bin.count;
    return count;
  }

  /** Approximately: each value counts as the harmonic mean of its bin's edges. */
  get sum(): number {
    let sum = 0;
    for (const bin of this.bins) {
      const lower = lowerOf(bin);
      const upper = lower + widthOf(bin);
      if (bin.mantissa !== 0) sum += ((2 * lower * upper) / (lower + upper)) * bin.count;
    }
    return sum;
  }
}

export class Histogram {
  private recorded = new Distribution();
  /** Between the last two flushes. */
  interval = new Distribution();
  /** Up to the last flush. */
  readonly cumulative = new Distribution();

  record(value: bigint): void {
    this.recorded.record(value);
  }

  flush(): void {
    this.interval = this.recorded;
    this.cumulative.addAll(this.recorded);
    this.recorded = new Distribution();
  }
}
