// Any row of misbehaviours ends with the right bytes or with a reason, and never with other bytes; any interruption can be gone on from.
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  chunked,
  declares,
  garbage,
  hangUp,
  inTurn,
  loginPage,
  ranged,
  redirect,
  reset,
  shortChunks,
  silent,
  stalled,
  status,
  truncated,
  truncatedChunks,
  untilClose,
  whole,
} from "../test/flaky/behaviours.js";
import { type Bench, isFile, openBench, randomFile, sha256 } from "../test/flaky/bench.js";
import type { Behaviour } from "../test/flaky/server.js";

const RUNS = 100;

/** Never the same bytes at the same place in any two versions of the file. */
const file = randomFile(400_000);
const other = randomFile(400_000);
const digest = sha256(file);

/** Everything that HTTP shows to be wrong, for which no digest is needed. */
const HONEST: ((at: number) => Behaviour)[] = [
  () => whole(file),
  () => chunked(file),
  (at) => truncated(file, at),
  (at) => truncatedChunks(file, Math.max(at, 1)),
  (at) => reset(file, at),
  (at) => stalled(file, at),
  silent,
  hangUp,
  garbage,
  (at) => declares(file, file.length + 1 + at),
  () => status(503),
  () => status(403),
  () => status(416),
  () => redirect("/elsewhere"),
  (at) => ranged(file, { etag: '"1"', cut: at }),
  (at) => ranged(file, { etag: '"1"', cut: at }),
  (at) => ranged(file, { etag: '"1"', wrongStart: at }),
  (at) => ranged(file, { etag: '"1"', wrongTotal: file.length + at + 1 }),
  (at) => ranged(file, { lastModified: "Wed, 01 Jan 2020 00:00:00 GMT", cut: at }),
];

/** What only a digest finds out. */
const LYING: ((at: number) => Behaviour)[] = [
  // Where the reset comes in one poll with the last bytes, libuv tells of an end and not of an error (uv__stream_io): without a length that is the file's end.
  (at) => reset(file, at, false),
  () => whole(other),
  () => loginPage(),
  () => whole(Buffer.alloc(0)),
  (at) => declares(file, at),
  (at) => shortChunks(file, Math.max(at, 1)),
  (at) => untilClose(file, at),
  (at) => ranged(other, { etag: '"1"', cut: at }),
  (at) => ranged(other, { cut: at }),
  (at) => ranged(other, { etag: '"1"', cut: at, ignoreIfRange: true }),
  (at) => truncated(other, at),
];

const step = (behaviours: ((at: number) => Behaviour)[]) => fc.tuple(fc.nat(behaviours.length - 1), fc.nat(file.length - 1));
const steps = (behaviours: ((at: number) => Behaviour)[]) => fc.array(step(behaviours), { minLength: 1, maxLength: 8 });
const play = (behaviours: ((at: number) => Behaviour)[], row: [number, number][]) => inTurn(...row.map(([kind, at]) => behaviours[kind]!(at)));

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
  bench.server.serve("/elsewhere", whole(file));
});
afterEach(async () => {
  await bench.server.idle();
  await bench.close();
});

const impatient = { stallTimeout: 25, connectTimeout: 1000, attempts: 3, backoff: { first: 0, most: 0 } };
/** Each case has URLs of its own, and so a partial file of its own where no digest names it. */
let cases = 0;

test("with a digest", async () => {
  const all = [...HONEST, ...LYING];
  let successes = 0;
  await fc.assert(
    fc.asyncProperty(steps(all), steps(all), async (first, second) => {
      const urls = [bench.server.serve(`/${++cases}/a`, play(all, first)), bench.server.serve(`/${cases}/b`, play(all, second))];
      const result = await bench.get(urls, digest, impatient);
      if (result.ok) {
        successes++;
        expect(await isFile(result, file)).toBe(true);
      } else {
        expect(result.failures.map(({ url }) => url)).toEqual(urls);
        for (const { message } of result.failures) expect(message).toMatch(/^http:\S+: [^\n]+$/);
      }
    }),
    { numRuns: RUNS },
  );
  // The rows are not so bad that nothing would come through.
  expect(successes).toBeGreaterThan(RUNS / 10);
  expect((await bench.files()).filter((name) => !/\.(done|part|json)$/.test(name))).toEqual([]);
});

test("without a digest, where HTTP tells", async () => {
  await fc.assert(
    fc.asyncProperty(steps(HONEST), async (row) => {
      const result = await bench.get(bench.server.serve(`/${++cases}`, play(HONEST, row)), undefined, impatient);
      if (result.ok) expect(await isFile(result, file)).toBe(true);
      else expect(result.failures).toHaveLength(1);
    }),
    { numRuns: RUNS },
  );
});

test("interrupted at any moment, and run again", async () => {
  const row = fc.tuple(steps(HONEST), fc.nat(file.length), fc.boolean());
  await fc.assert(
    fc.asyncProperty(row, async ([behaviours, moment, wanted]) => {
      const abort = new AbortController();
      const url = bench.server.serve(`/${++cases}`, play(HONEST, behaviours));
      const claimed = wanted ? digest : undefined;
      const stop = () => abort.abort();
      // At a number of bytes, or where so many never come, at a retry.
      const first = await bench.get(url, claimed, {
        ...impatient,
        signal: abort.signal,
        progress: (event) => ((event.type === "bytes" && event.received >= moment) || (event.type === "retry" && moment % 2 === 0) ? stop() : undefined),
      });
      if (first.ok) expect(await isFile(first, file)).toBe(true);
      bench.server.serve(`/${cases}`, ranged(file, { etag: '"1"' }));
      const second = await bench.get(url, claimed);
      expect(await isFile(second, file)).toBe(true);
    }),
    { numRuns: RUNS },
  );
  expect((await bench.files()).filter((name) => !name.endsWith(".done"))).toEqual([]);
});
