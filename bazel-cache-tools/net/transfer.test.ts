// Downloads that go well, go on where they stopped, and start over where they must.
import { once } from "node:events";
import { closeSync, openSync, writeSync } from "node:fs";
import { mkdir, readFile, rename, symlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../cache/digest.js";
import { chunked, drip, inTurn, ranged, reset, stalled, status, truncated, truncatedChunks, untilClose, whole } from "../test/flaky/behaviours.js";
import { type Bench, failuresOf, isFile, openBench, randomFile, sha256 } from "../test/flaky/bench.js";
import { openConnections } from "./index.js";
import { partialName } from "./partial.js";

const file = randomFile(300_000);
const digest = sha256(file);
let bench: Bench;

beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe("a download that goes well", () => {
  test("gives the file, its digest, and leaves nothing else behind", async () => {
    const url = bench.server.serve("/a", whole(file));
    const result = await bench.get(url);
    expect(await isFile(result, file)).toBe(true);
    expect(result).toMatchObject({ ok: true, digest, bytes: file.length, url });
    expect(await bench.files()).toHaveLength(1);
    await bench.server.idle();
    expect(bench.events.at(0)).toEqual({ type: "started", total: file.length });
    expect(bench.events.at(-1)).toEqual({ type: "done", bytes: file.length });
    expect(bench.events).toContainEqual({ type: "bytes", received: file.length, total: file.length });
  });

  test.each([
    ["chunks", chunked(file)],
    ["the end of the connection", untilClose(file)],
    ["a slow drip, which is no stall", drip(file, 15_000, 20)],
  ])("ends by %s", async (_name, behaviour) => {
    expect(await isFile(await bench.get(bench.server.serve("/a", behaviour), digest, { stallTimeout: 300 }), file)).toBe(true);
    expect(bench.server.requests).toHaveLength(1);
  });

  test.each(["sha1", "sha384", "sha512", "blake3"] as const)("is verified by %s", async (algorithm) => {
    const wanted = await digestOf(file, algorithm);
    const result = await bench.get(bench.server.serve("/a", ranged(file, { etag: '"1"', cut: 170_000 })), wanted);
    expect(result).toMatchObject({ ok: true, digest: wanted, resumedFrom: 170_000 });
  });

  test("may be of no bytes where no digest says otherwise", async () => {
    const result = await bench.get(bench.server.serve("/empty", whole(Buffer.alloc(0))));
    expect(result).toMatchObject({ ok: true, bytes: 0, digest: sha256(Buffer.alloc(0)) });
  });

  test("asks for the bytes as they are", async () => {
    await bench.get(bench.server.serve("/a?b=c%20d", whole(file)), digest);
    expect(bench.server.requests[0]).toMatchObject({ method: "GET", path: "/a?b=c%20d", headers: { "accept-encoding": "identity" } });
  });

  test("shares its connection with others", async () => {
    const connections = await openConnections({});
    const url = bench.server.serve("/a", whole(file));
    for (let i = 0; i < 3; i++) expect(await isFile(await bench.get(url, digest, { connections }), file)).toBe(true);
    expect(bench.server.connections).toBe(1);
    expect(bench.server.open).toBe(1);
    connections.close();
    await bench.server.idle();
  });

  test("is not disturbed by a server that closes the shared connection at that moment", async () => {
    const connections = await openConnections({});
    const url = bench.server.serve(
      "/a",
      inTurn(whole(file), ({ socket }) => void socket.destroy(), whole(file)),
    );
    for (let i = 0; i < 2; i++) expect(await isFile(await bench.get(url, digest, { connections, attempts: 1 }), file)).toBe(true);
    expect(bench.server.connections).toBe(2);
    connections.close();
  });

  test("keeps the shared connection through a refusal, and drops it where a body was left unread", async () => {
    const connections = await openConnections({});
    const url = bench.server.serve(
      "/a",
      inTurn(({ response }) => void response.writeHead(404).end(randomFile(50_000)), stalled(file, 100_000)),
    );
    failuresOf(await bench.get(url, digest, { connections }));
    const bug = () => {
      throw new Error("a bug");
    };
    await expect(bench.get(url, digest, { connections, progress: ({ type }) => void (type === "bytes" && bug()) })).rejects.toThrow("a bug");
    expect(bench.server.connections).toBe(1);
    await bench.server.idle();
    connections.close();
  });

  test("ends a connection rather than read much of what it does not want", async () => {
    const connections = await openConnections({});
    const url = bench.server.serve(
      "/a",
      inTurn(({ response }) => void response.writeHead(404).end(randomFile(1_000_000)), whole(file)),
    );
    const start = performance.now();
    failuresOf(await bench.get(url, digest, { connections }));
    await bench.server.idle();
    // Node's server would give the idle connection up after 5 s.
    expect(performance.now() - start).toBeLessThan(3000);
    expect(await isFile(await bench.get(url, digest, { connections }), file)).toBe(true);
    expect(bench.server.connections).toBe(2);
    connections.close();
  });

  test("takes long headers", async () => {
    expect(await isFile(await bench.get(bench.server.serve("/a", whole(file, { "content-security-policy": "x".repeat(40_000) })), digest), file)).toBe(true);
  });

  test("copies a file: URL", async () => {
    const path = join(bench.directory, "with space");
    await writeFile(path, file);
    expect(await isFile(await bench.get(pathToFileURL(path).href, digest), file)).toBe(true);
    expect(file.equals(await readFile(path))).toBe(true);
  });
});

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

describe("a partial file of an earlier run", () => {
  /** Stops after the first bytes of a body that stalls. */
  async function interruptedRun(url: string, wanted = true): Promise<void> {
    const abort = new AbortController();
    const result = await bench.get(url, wanted ? digest : undefined, {
      signal: abort.signal,
      progress: (event) => event.type === "bytes" && event.received >= 200_000 && abort.abort(),
    });
    expect(failuresOf(result)).toMatchObject([{ kind: "aborted" }]);
    await bench.server.idle();
  }

  test.each([true, false])("is resumed (digest: %s)", async (wanted) => {
    const url = bench.server.serve("/a", (call) =>
      call.number === 1 ? ranged(file, { etag: '"v1"', cut: 200_000, headers: { Connection: "keep-alive" } })(call) : ranged(file, { etag: '"v1"' })(call),
    );
    await interruptedRun(url, wanted);
    expect(await bench.files()).toEqual([expect.stringMatching(/\.json$/), expect.stringMatching(/\.part$/)]);
    const result = await bench.get(url, wanted ? digest : undefined);
    expect(await isFile(result, file)).toBe(true);
    expect(result).toMatchObject({ resumedFrom: 200_000 });
    expect(bench.server.requests[1]!.headers).toMatchObject({ range: "bytes=200000-", "if-range": '"v1"' });
    expect(await bench.files()).toHaveLength(1);
  });

  test("is not spliced with a file that changed", async () => {
    const newer = randomFile(310_000);
    const url = bench.server.serve("/a", inTurn(ranged(file, { etag: '"v1"', cut: 200_000 }), ranged(newer, { etag: '"v2"' })));
    await interruptedRun(url, false);
    const result = await bench.get(url);
    expect(await isFile(result, newer)).toBe(true);
    expect(result).not.toHaveProperty("resumedFrom");
  });

  test.each([
    ["ignores If-Range but shows another ETag", ranged(file, { etag: '"v2"', ignoreIfRange: true })],
    ["starts its part elsewhere", ranged(file, { etag: '"v1"', wrongStart: 100_000 })],
    ["has another size now", ranged(file, { etag: '"v1"', wrongTotal: 400_000 })],
    ["has no ranges", whole(file)],
    ["answers 416", inTurn(({ response }) => void response.writeHead(416).end(), whole(file))],
    ["sends a part without saying which", inTurn(({ response }) => void response.writeHead(206).end(file.subarray(200_000)), whole(file))],
  ])("is thrown away where the server %s", async (_name, behaviour) => {
    const url = bench.server.serve("/a", inTurn(ranged(randomFile(file.length), { etag: '"v1"', cut: 200_000 })));
    await interruptedRun(url, false);
    bench.server.serve("/a", behaviour);
    expect(await isFile(await bench.get(url, undefined, { attempts: 1 }), file)).toBe(true);
    expect(bench.server.requests[1]!.headers.range).toBe("bytes=200000-");
  });

  test("that is longer than the file is thrown away", async () => {
    await mkdir(bench.directory, { recursive: true });
    await writeFile(join(bench.directory, `${partialName("", digest)}.part`), Buffer.concat([file, file]));
    expect(await isFile(await bench.get(bench.server.serve("/a", ranged(file)), digest, { attempts: 1 }), file)).toBe(true);
  });

  test("that nothing is known of counts for nothing without a digest, and is tried with one", async () => {
    const url = bench.server.serve("/a", ranged(file, { etag: '"v1"' }));
    for (const wanted of [digest, undefined]) await writeFile(join(bench.directory, `${partialName(url, wanted)}.part`), file.subarray(0, 1000));
    expect(await isFile(await bench.get(url), file)).toBe(true);
    expect(bench.server.requests.at(-1)!.headers).not.toHaveProperty("range");
    expect(await isFile(await bench.get(url, digest), file)).toBe(true);
    expect(bench.server.requests.at(-1)!.headers.range).toBe("bytes=1000-");
  });

  test("that is damaged is found out by the digest", async () => {
    const url = bench.server.serve("/a", ranged(file));
    await writeFile(join(bench.directory, `${partialName(url, digest)}.part`), Buffer.alloc(1000));
    expect(await isFile(await bench.get(url, digest, { attempts: 1 }), file)).toBe(true);
    expect(bench.server.requests).toHaveLength(2);
  });

  test("of the right size with other bytes is thrown away", async () => {
    const url = bench.server.serve("/a", whole(file));
    const name = partialName(url, digest);
    await writeFile(join(bench.directory, `${name}.part`), randomFile(file.length));
    await writeFile(join(bench.directory, `${name}.json`), JSON.stringify({ url, total: file.length }));
    expect(await isFile(await bench.get(url, digest, { attempts: 1 }), file)).toBe(true);
  });

  test("remembers which mirror its last bytes are of", async () => {
    const first = bench.server.serve("/first", inTurn(ranged(file, { etag: '"1"', cut: 100_000 }), status(404)));
    const second = bench.server.serve("/second", ranged(file, { etag: '"2"', cut: 50_000 }));
    failuresOf(await bench.get([first, second], digest, { attempts: 1 }));
    const meta: unknown = JSON.parse(await readFile(join(bench.directory, `${partialName(first, digest)}.json`), "utf8"));
    expect(meta).toEqual({ url: second, etag: '"2"', total: file.length });
  });

  test("that is complete needs no request", async () => {
    const url = bench.server.serve("/a", whole(file));
    const name = partialName(url, digest);
    await writeFile(join(bench.directory, `${name}.part`), file);
    await writeFile(join(bench.directory, `${name}.json`), JSON.stringify({ url, total: file.length }));
    expect(await isFile(await bench.get(url, digest), file)).toBe(true);
    expect(bench.server.requests).toHaveLength(0);
    expect(await bench.files()).toHaveLength(1);
  });

  test("that a killed run had finished is taken over", async () => {
    const url = bench.server.serve("/a", whole(file));
    const first = await bench.get(url, digest);
    if (!first.ok) throw new Error("no file");
    // No process has this number: the largest of Linux is 2^22.
    await rename(first.file, first.file.replace(/-\d+-\d+\.done$/, "-99999999-1.done"));
    expect(await isFile(await bench.get(url, digest), file)).toBe(true);
    expect(bench.server.requests).toHaveLength(1);
    expect(await bench.files()).toHaveLength(1);
  });
});

describe("two downloads of the same file at once", () => {
  test("do not disturb each other", async () => {
    const url = bench.server.serve("/a", ranged(file, { etag: '"v1"', cut: 90_000 }));
    const results = await Promise.all([1, 2, 3].map(() => bench.get(url, digest)));
    for (const result of results) expect(await isFile(result, file)).toBe(true);
    expect(new Set(results.map((result) => result.ok && result.file)).size).toBe(3);
    expect(await bench.files()).toHaveLength(3);
  });

  test("the one without the lock leaves nothing when it fails", async () => {
    const url = bench.server.serve("/a", inTurn(stalled(file, 100_000), truncated(file, 50_000)));
    const abort = new AbortController();
    const holds = bench.next((event) => event.type === "bytes");
    const first = bench.get(url, digest, { signal: abort.signal });
    await holds;
    failuresOf(await bench.get(url, digest, { attempts: 1 }));
    expect((await bench.files()).filter((name) => name.endsWith(".part"))).toEqual([`${partialName(url, digest)}.part`]);
    abort.abort();
    await first;
  });

  test.each([
    ["of a dead process", JSON.stringify({ pid: 99_999_999, host: hostname() }), true],
    ["of a live one", JSON.stringify({ pid: process.ppid, host: hostname() }), false],
    ["of another machine, just written", JSON.stringify({ pid: 99_999_999, host: "elsewhere" }), false],
    ["that is just being written", "", false],
  ])("a lock %s", async (_name, text, stale) => {
    const url = bench.server.serve("/a", ranged(file));
    const name = partialName(url, digest);
    await writeFile(join(bench.directory, `${name}.part`), file.subarray(0, 100_000));
    await writeFile(join(bench.directory, `${name}.lock`), text);
    const result = await bench.get(url, digest);
    expect(await isFile(result, file)).toBe(true);
    expect(result.ok && result.resumedFrom).toBe(stale ? 100_000 : undefined);
    expect((await bench.files()).includes(`${name}.lock`)).toBe(!stale);
  });
});

test("a holder of the lock that was silent for long and wakes up writes into nobody's file", async () => {
  const url = bench.server.serve("/a", ranged(file));
  const stem = join(bench.directory, partialName(url, digest));
  await writeFile(`${stem}.part`, file.subarray(0, 100_000));
  await writeFile(`${stem}.lock`, JSON.stringify({ pid: 1, host: "elsewhere" }));
  const long = new Date(Date.now() - 3_600_000);
  for (const path of [`${stem}.part`, `${stem}.lock`]) await utimes(path, long, long);
  const sleeper = openSync(`${stem}.part`, "r+");
  const result = await bench.get(url, digest, { progress: ({ type }) => void (type === "resumed" && writeSync(sleeper, "garbage", 0)) });
  closeSync(sleeper);
  expect(result).toMatchObject({ resumedFrom: 100_000 });
  expect(await isFile(result, file)).toBe(true);
});

describe("a directory that cannot be written", () => {
  test("ends the transfer with one line and no request", async () => {
    const url = bench.server.serve("/a", whole(file));
    await writeFile(join(bench.directory, "plain"), "");
    const failures = failuresOf(await bench.get([url, url], digest, { directory: join(bench.directory, "plain", "inside") }));
    expect(failures).toMatchObject([{ kind: "disk", message: expect.stringMatching(/^[^\n]*cannot write[^\n]*$/) }]);
    expect(bench.server.requests).toHaveLength(0);
  });

  test.skipIf(process.platform !== "linux")("a full disk ends it at once, whatever mirrors there are", async () => {
    const url = bench.server.serve("/a", whole(file));
    // Linux has a device that is always full.
    await symlink("/dev/full", join(bench.directory, `${partialName(url, digest)}.part`));
    const failures = failuresOf(await bench.get([url, url], digest));
    expect(failures).toMatchObject([{ kind: "disk", message: expect.stringContaining("no space left") }]);
    expect(bench.server.requests).toHaveLength(1);
    await bench.server.idle();
    // Also where the few bytes that came were not worth a write yet.
    bench.server.serve("/a", truncated(file, 1000));
    await symlink("/dev/full", join(bench.directory, `${partialName(url, digest)}.part`));
    expect(failuresOf(await bench.get([url, url], digest))).toMatchObject([{ kind: "disk" }]);
    expect(bench.server.requests).toHaveLength(2);
  });
});

test("a limit of the rate holds for all transfers together", async () => {
  const url = bench.server.serve("/a", whole(file));
  const start = performance.now();
  await Promise.all([bench.get(url, digest, { limitRate: 1_500_000 }), bench.get(url, undefined, { limitRate: 1_500_000 })]);
  expect(performance.now() - start).toBeGreaterThan(390);
});

test("waiting for the limit is no stall", async () => {
  const url = bench.server.serve("/a", whole(file));
  expect(await isFile(await bench.get(url, digest, { limitRate: 500_000, stallTimeout: 100 }), file)).toBe(true);
  expect(bench.server.requests).toHaveLength(1);
});

test("back-pressure: a slow consumer holds the server back", async () => {
  const big = randomFile(40_000_000);
  let sent = 0;
  const url = bench.server.serve("/big", async ({ response }) => {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    response.writeHead(200, { "content-length": big.length });
    for (let at = 0; at < big.length && !response.destroyed; at += 100_000) {
      if (!response.write(big.subarray(at, at + 100_000))) await once(response, "drain", { signal: gone.signal }).catch(() => undefined);
      sent = at;
    }
    response.end();
  });
  const abort = new AbortController();
  // After the first chunk the next is waited for by 100 s; what the kernel takes meanwhile is all that may be sent.
  const running = bench.get(url, undefined, { signal: abort.signal, limitRate: 1000 });
  await new Promise((resolve) => setTimeout(resolve, 200));
  abort.abort();
  await running;
  expect(sent).toBeLessThan(20_000_000);
});
