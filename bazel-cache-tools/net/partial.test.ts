import { closeSync, openSync, writeSync } from "node:fs";
import { mkdir, readFile, rename, symlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { inTurn, ranged, stalled, status, truncated, whole } from "../test/flaky/behaviours.js";
import { type Bench, failuresOf, isFile, openBench, randomFile, sha256 } from "../test/flaky/bench.js";
import { partialName } from "./partial.js";

const file = randomFile(300_000);
const digest = sha256(file);
let bench: Bench;

beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

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
