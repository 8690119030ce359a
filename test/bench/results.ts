// What was measured, and the costs that follow from it.
import type { Workload } from "./contenders.js";
import { type Estimate, estimate, median, minus, ratio } from "./statistics.js";

export interface Row {
  workload: Workload;
  name: string;
  bytes: number | undefined;
  /** CPU µs per request, a value per round; with 1,000 streams held where the workload says so. */
  rounds: number[];
  /** The same Envoy in the same round without held streams. */
  without?: number[];
}

/** What a filter costs: µs above the Envoy without a filter. */
export interface Cost {
  /** Median of the differences within a round. */
  paired: Estimate;
  /** Difference of the least values. */
  minima: number;
  /** `paired` as a multiple of the hand-written module's. */
  timesRaw?: Estimate;
}

export class Results {
  constructor(readonly rows: Row[]) {}

  find(workload: Workload, name: string): Row | undefined {
    return this.rows.find((row) => row.workload === workload && row.name === name);
  }

  /** Differences to `none`, by round; undefined for `none` itself. */
  above(workload: Workload, name: string): number[] | undefined {
    const row = this.find(workload, name);
    const none = this.find(workload, "none");
    return row && none && row !== none ? minus(row.rounds, none.rounds) : undefined;
  }

  cost(workload: Workload, name: string): Cost | undefined {
    const above = this.above(workload, name);
    if (!above) return undefined;
    const raw = this.above(workload, "raw");
    return {
      paired: estimate(above),
      minima: Math.min(...this.find(workload, name)!.rounds) - Math.min(...this.find(workload, "none")!.rounds),
      // A raw cost at or below zero is noise, and so is a ratio to it.
      ...(raw && median(raw) > 0 && name !== "control" ? { timesRaw: ratio(above, raw) } : {}),
    };
  }

  /** µs that held streams add to a request, above what they add where there is no filter. */
  live(name: string): Estimate | undefined {
    const row = this.find("live", name);
    const none = this.find("live", "none");
    if (!row?.without || !none?.without) return undefined;
    const added = minus(row.rounds, row.without);
    return estimate(row === none ? added : minus(added, minus(none.rounds, none.without)));
  }

  /** µs per request by which one contender is dearer than another. */
  difference(workload: Workload, name: string, other: string): Estimate | undefined {
    const a = this.find(workload, name);
    const b = this.find(workload, other);
    return a && b && estimate(minus(a.rounds, b.rounds));
  }
}
