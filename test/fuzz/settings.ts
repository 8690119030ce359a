// How much is tried, and from which seed: FUZZ_RUNS and FUZZ_SEED. Bounded by a count, so that the same seed always tries the same.
import { onTestFailed } from "vitest";

/** Seed and count; a test that fails prints what repeats it. */
export function fuzzing(count: number): { seed: number; numRuns: number } {
  const seed = process.env.FUZZ_SEED ? Number(process.env.FUZZ_SEED) : Math.floor(Math.random() * 2 ** 31);
  const numRuns = process.env.FUZZ_RUNS ? Number(process.env.FUZZ_RUNS) : count;
  onTestFailed(() => console.error(`repeat it with FUZZ_SEED=${seed} FUZZ_RUNS=${numRuns}`));
  return { seed, numRuns };
}
