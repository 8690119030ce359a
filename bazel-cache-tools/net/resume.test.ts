import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { inTurn, ranged, reset, status, truncated, truncatedChunks, whole } from "../test/flaky/behaviours.js";
import { type Bench, failuresOf, isFile, openBench, randomFile, sha256 } from "../test/flaky/bench.js";

const file = randomFile(300_000);
const digest = sha256(file);
let bench: Bench;

beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe("a download that was interrupted", () => {
  test("goes on with a strong ETag", async () => {
    const result = await bench.get(bench.server.serve("/a", ranged(file, { etag: '"v1"', cut: 120_000 })));
    expect(await isFile(result, file)).toBe(true);
    expect(result).toMatchObject({ resumedFrom: 120_000 });
    expect(bench.server.requests.map(({ headers }) => [headers.range, headers["if-range"]])).toEqual([
      [undefined, undefined],
      ["bytes=120000-", '"v1"'],
      ["bytes=240000-", '"v1"'],
    ]);
    expect(bench.events.filter(({ type }) => type === "resumed")).toEqual([
      { type: "resumed", from: 120_000, total: file.length },
      { type: "resumed", from: 240_000, total: file.length },
    ]);
  });

  test("goes on with Last-Modified where the ETag is weak", async () => {
    const lastModified = "Wed, 01 Jan 2020 00:00:00 GMT";
    expect(await isFile(await bench.get(bench.server.serve("/a", ranged(file, { etag: 'W/"v1"', lastModified, cut: 200_000 }))), file)).toBe(true);
    expect(bench.server.requests[1]!.headers).toMatchObject({ range: "bytes=200000-", "if-range": lastModified });
  });

  test.each([
    ["a weak ETag", { etag: 'W/"v1"' }],
    ["a Last-Modified that is not older than the answer", { lastModified: new Date(Date.now() + 3_600_000).toUTCString() }],
    ["no validator", {}],
  ])("without a digest starts over with %s", async (_name, options) => {
    const cut = inTurn(ranged(file, { ...options, cut: 200_000 }), ranged(file, options));
    expect(await isFile(await bench.get(bench.server.serve("/a", cut)), file)).toBe(true);
    expect(bench.server.requests[1]!.headers).not.toHaveProperty("range");
  });

  test("with a digest goes on even without a validator", async () => {
    expect(await isFile(await bench.get(bench.server.serve("/a", ranged(file, { cut: 200_000 })), digest), file)).toBe(true);
    expect(bench.server.requests[1]!.headers.range).toBe("bytes=200000-");
    expect(bench.server.requests[1]!.headers).not.toHaveProperty("if-range");
  });

  test("does not ask a server for ranges that says it has none", async () => {
    const none = { "Accept-Ranges": "none" };
    expect(await isFile(await bench.get(bench.server.serve("/a", inTurn(truncated(file, 200_000, none), whole(file))), digest), file)).toBe(true);
    expect(bench.server.requests[1]!.headers).not.toHaveProperty("range");
  });

  test("takes a drop of the connection for no failure as long as it gets further", async () => {
    const result = await bench.get(bench.server.serve("/a", ranged(file, { etag: '"v1"', cut: 70_000 })), digest, { attempts: 2 });
    expect(await isFile(result, file)).toBe(true);
    expect(bench.server.requests).toHaveLength(5);
  });

  test("counts only failures in a row", async () => {
    const cut = ranged(file, { etag: '"v1"', cut: 100_000 });
    const row = inTurn(status(503), cut, status(503), cut, status(503), ranged(file, { etag: '"v1"' }));
    expect(await isFile(await bench.get(bench.server.serve("/a", row), digest, { attempts: 2 }), file)).toBe(true);
  });

  test("asks a server whose ranges do not fit only once for one", async () => {
    const wrong = ranged(file, { etag: '"v1"', wrongStart: 1, cut: 100_000 });
    failuresOf(await bench.get(bench.server.serve("/a", wrong), digest));
    expect(bench.server.requests.filter(({ headers }) => headers.range)).toHaveLength(1);
  });

  test("gives up where it gets further by a few bytes only", async () => {
    const [failure] = failuresOf(await bench.get(bench.server.serve("/a", ranged(file, { etag: '"v1"', cut: 1000 })), digest, { attempts: 4 }));
    expect(failure).toMatchObject({ kind: "truncated", received: 4000, expected: file.length });
    expect(bench.server.requests).toHaveLength(4);
  });

  test("goes on from another mirror where a digest vouches for the whole", async () => {
    const first = bench.server.serve("/first", reset(file, 200_000));
    const second = bench.server.serve("/second", ranged(file, { etag: '"other"' }));
    const result = await bench.get([first, second], digest, { attempts: 1 });
    expect(await isFile(result, file)).toBe(true);
    expect(result).toMatchObject({ url: second, resumedFrom: 200_000 });
    expect(bench.server.of("/second")[0]!.headers).toMatchObject({ range: "bytes=200000-" });
    expect(bench.events).toContainEqual(expect.objectContaining({ type: "mirror", url: second }));
  });

  test("starts over at another mirror where none does", async () => {
    const first = bench.server.serve("/first", ranged(file, { etag: '"v1"', cut: 60_000 }));
    const second = bench.server.serve("/second", ranged(file, { etag: '"v1"' }));
    expect(await isFile(await bench.get([first, second], undefined, { attempts: 1 }), file)).toBe(true);
    expect(bench.server.of("/second")[0]!.headers).not.toHaveProperty("range");
  });

  test("throws bytes of a bad mirror away once the digest shows them, and asks for the whole past caches", async () => {
    const bad = randomFile(file.length);
    const first = bench.server.serve("/first", reset(bad, 200_000));
    const second = bench.server.serve("/second", ranged(file));
    expect(await isFile(await bench.get([first, second], digest, { attempts: 1 }), file)).toBe(true);
    expect(bench.server.of("/second").map(({ headers }) => [headers.range, headers["cache-control"]])).toEqual([
      ["bytes=200000-", undefined],
      [undefined, "no-cache"],
    ]);
  });
});

test("more bytes than the file is said to have are not the file", async () => {
  const more = ranged(file, { etag: '"v1"', wrongTotal: 250_000 });
  const url = bench.server.serve("/a", inTurn(truncatedChunks(file, 100_000, { ETag: '"v1"' }), more, whole(file)));
  expect(await isFile(await bench.get(url), file)).toBe(true);
  expect(bench.server.requests.map(({ headers }) => headers.range)).toEqual([undefined, "bytes=100000-", undefined]);
});
