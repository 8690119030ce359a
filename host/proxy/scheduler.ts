// Time as the proxy uses it: real, or moved by hand in tests.
import type { Clock } from "../vm/stream-info.js";

export interface Scheduler {
  /** Returns a function that stops the timer. */
  setTimeout(callback: () => void, ms: number): () => void;
  /** Milliseconds of a clock that never goes back. */
  now(): number;
}

export const realScheduler: Scheduler = {
  setTimeout(callback, ms) {
    // Node fires at once what is further away than that.
    const timer = setTimeout(callback, Math.min(ms, 0x7fffffff));
    return () => clearTimeout(timer);
  },
  now: () => performance.now(),
};

const startWall = BigInt(Date.now()) * 1_000_000n;
const startMonotonic = process.hrtime.bigint();

export const realClock: Clock = {
  wall: () => startWall + (process.hrtime.bigint() - startMonotonic),
  monotonic: () => process.hrtime.bigint(),
};

/** Time that stands still until it is moved. */
export class ManualTime implements Scheduler, Clock {
  private nowMs = 0;
  private readonly base = BigInt(Date.now()) * 1_000_000n;
  private timers: { at: number; order: number; callback: () => void }[] = [];
  private order = 0;

  setTimeout(callback: () => void, ms: number): () => void {
    const timer = { at: this.nowMs + Math.max(0, ms), order: this.order++, callback };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  now(): number {
    return this.nowMs;
  }

  wall(): bigint {
    return this.base + this.monotonic();
  }

  monotonic(): bigint {
    return BigInt(Math.round(this.nowMs * 1_000_000));
  }

  /** Moves time on, timer by timer; what each of them sets in motion is done before the next. */
  async advance(ms: number, settle: () => Promise<void>): Promise<void> {
    const end = this.nowMs + ms;
    for (;;) {
      await settle();
      const next = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.nowMs = Math.max(this.nowMs, next.at);
      next.callback();
    }
    this.nowMs = end;
    await settle();
  }
}
