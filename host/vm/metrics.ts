// Metrics that guests define. Statistics live as long as the process; ids belong to a VM. Source: facts/envoy-verified.md 9 (envoy 1.40).
import { Histogram } from "./histogram.js";

export const MetricType = { Counter: 0, Gauge: 1, Histogram: 2 } as const;

export interface Stat {
  readonly type: number;
  /** As the guest named it; `/stats` puts `wasmcustom.` before it. */
  readonly name: string;
  /** Unsigned 64 bits. */
  value: bigint;
  /** Whether it was ever recorded to. */
  used: boolean;
  /** Where it is one. */
  readonly histogram: Histogram | undefined;
}

/** The statistics of one process, by type and name. */
export class MetricStore {
  private readonly stats = new Map<string, Stat>();

  stat(type: number, name: string): Stat {
    const key = `${type} ${name}`;
    const known = this.stats.get(key);
    if (known) return known;
    const stat: Stat = { type, name, value: 0n, used: false, histogram: type === MetricType.Histogram ? new Histogram() : undefined };
    this.stats.set(key, stat);
    return stat;
  }

  all(): Stat[] {
    return [...this.stats.values()];
  }
}

const Ok = 0;
const NotFound = 1;
const BadArgument = 2;

/** One VM's metrics: ids whose two lowest bits tell the type. */
export class Metrics {
  private readonly byId = new Map<number, Stat>();
  private readonly counts = [0, 0, 0];

  constructor(private readonly store: MetricStore) {}

  /** envoy 1.40: each call makes a new id, for the same name too. */
  define(type: number, name: string): number | undefined {
    if (type > 2) return undefined;
    const id = ++this.counts[type]! * 4 + type;
    this.byId.set(id, this.store.stat(type, name));
    return id;
  }

  increment(id: number, offset: bigint): number {
    const type = id & 3;
    if (type >= 2) return BadArgument;
    const stat = this.byId.get(id);
    if (!stat) return NotFound;
    if (type === MetricType.Counter && offset <= 0n) return BadArgument;
    stat.used = true;
    stat.value = BigInt.asUintN(64, stat.value + offset);
    return Ok;
  }

  record(id: number, value: bigint): number {
    const stat = this.byId.get(id);
    if (!stat) return NotFound;
    stat.used = true;
    if (stat.type === MetricType.Counter) stat.value = BigInt.asUintN(64, stat.value + value);
    else if (stat.type === MetricType.Gauge) stat.value = BigInt.asUintN(64, value);
    else {
      // envoy 1.40: taken for a signed number.
      stat.histogram!.record(BigInt.asIntN(64, value));
    }
    return Ok;
  }

  get(id: number): { value: bigint } | number {
    if ((id & 3) >= 2) return BadArgument;
    const stat = this.byId.get(id);
    return stat ? { value: stat.value } : NotFound;
  }
}
