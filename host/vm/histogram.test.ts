// Figures that a real Envoy 1.40 printed at /stats and /stats/prometheus.
import { expect, test } from "vitest";
import { Distribution, Histogram } from "./histogram.js";

function of(times: number, ...values: number[]): Distribution {
  const found = new Distribution();
  for (let i = 0; i < times; i++) for (const value of values) found.record(BigInt(value));
  return found;
}

const SHARES = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 1];

test.each([
  [of(3, 10), [10.25, 10.25, 10.5, 10.75, 10.75, 10.75, 10.75]],
  [of(3, 0), [0, 0, 0, 0, 0, 0, 0]],
  [of(3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), [1.025, 3.05, 5.075, 8.05, 9.075, 10.5, 10.75]],
  [of(3, 0, 1, 5, 10, 10, 123, 456, 99999), [0, 1.075, 10.428571428571429, 127.5, 99250, 99500, 99750]],
  [of(12, 25), [25.076923076923077, 25.23076923076923, 25.46153846153846, 25.692307692307693, 25.846153846153847, 25.923076923076923, 25.923076923076923]],
  [of(3, 230, 1100, 330, 2300, 17, 69), [17.25, 69.5, 237.49999999999997, 1150, 2350, 2375, 2375]],
  [of(3, 2147483647, 1000), [1025, 1050, 1075, 2150000000, 2175000000, 2175000000, 2175000000]],
])("quantiles", (distribution, expected) => {
  expect(distribution.quantiles(SHARES)).toEqual(expected);
});

test("a bucket has the bins that begin in it", () => {
  const found = of(3, 17, 17, 18, 250, 251, 259, 260, 12345);
  expect([10, 25, 100, 250, 500, 10000, 30000].map((limit) => found.upTo(limit))).toEqual([0, 9, 9, 18, 21, 21, 24]);
});

test.each([
  [of(3, 10), "31.428571428571430601550673600286"],
  [of(3, 230, 1100, 330, 2300, 17, 69), "12460.690093464912933995947241783"],
  [of(3, 0, 1, 5, 10, 10, 123, 456, 99999), "300312.84599124442320317029953003"],
])("sum", (distribution, expected) => {
  expect(distribution.sum.toPrecision(32)).toBe(expected);
});

test("what was recorded is there after a flush, and in the interval until the next", () => {
  const histogram = new Histogram();
  histogram.record(-1n);
  expect(histogram.cumulative.quantiles([0.5])).toEqual([Number.NaN]);
  histogram.flush();
  expect([histogram.interval.count, histogram.cumulative.count]).toEqual([1, 1]);
  expect(histogram.cumulative.quantiles([0, 1])).toEqual([-1.05, -1.05]);
  histogram.flush();
  expect([histogram.interval.count, histogram.cumulative.count]).toEqual([0, 1]);
});
