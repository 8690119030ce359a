// From CPU times by round to costs: differences are taken within a round, and resampling the rounds says how far they can be trusted.

export const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

export const minus = (a: number[], b: number[]): number[] => a.map((value, i) => value - b[i]!);

export interface Estimate {
  value: number;
  /** Bounds of the middle 90 % of the values that resampled rounds give; absent where there are fewer than four rounds. */
  range?: [number, number];
}

/** The median of a list with one value per round. */
export function estimate(values: number[]): Estimate {
  return resampled(values.length, (rounds) => median(rounds.map((i) => values[i]!)));
}

/** Ratio of two medians, both from the same rounds. */
export function ratio(values: number[], base: number[]): Estimate {
  return resampled(values.length, (rounds) => median(rounds.map((i) => values[i]!)) / median(rounds.map((i) => base[i]!)));
}

const SAMPLES = 2000;

function resampled(count: number, compute: (rounds: number[]) => number): Estimate {
  const rounds = Array.from({ length: count }, (_, i) => i);
  const value = compute(rounds);
  if (count < 4) return { value };
  // A generator of its own: the same measurements always give the same bounds.
  let state = 1;
  const pick = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
  const samples = Array.from({ length: SAMPLES }, () => compute(rounds.map(pick))).sort((a, b) => a - b);
  return { value, range: [samples[Math.floor(SAMPLES * 0.05)]!, samples[Math.floor(SAMPLES * 0.95)]!] };
}
