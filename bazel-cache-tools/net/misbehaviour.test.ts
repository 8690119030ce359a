// What servers and networks do wrong, and what becomes of it: a file after all, or one line that says why not.

import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  chunked,
  declares,
  encoded,
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
import { type Bench, failuresOf, isFile, openBench, randomFile, sha256 } from "../test/flaky/bench.js";
import { refusedPort } from "../test/flaky/server.js";

const file = randomFile(200_000);
const digest = sha256(file);
const archive = gzipSync(file);
const archiveDigest = sha256(archive);
/** An archive whose names and contents are in the clear, as far as truncation goes. */
const zip = Buffer.concat([Buffer.from("PK\x03\x04"), file, Buffer.from("PK\x05\x06"), Buffer.alloc(18)]);
const xz = Buffer.concat([Buffer.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0), file, Buffer.from("YZ")]);
/** Only who waits for nothing does not wait long: a busy machine is no stall. */
const patience = (name: string) => (/stall|silent|no answer/.test(name) ? { stallTimeout: 100 } : {});

let bench: Bench;

beforeEach(async () => {
  bench = await openBench();
});
afterEach(async () => {
  await bench.server.idle();
  await bench.close();
});

describe("once bad, then good", () => {
  test.each([
    ["truncated", truncated(file, 100_000)],
    ["truncated in chunks", truncatedChunks(file, 100_000)],
    ["chunks ended early by a proxy", shortChunks(file, 100_000)],
    ["closed early without a length", untilClose(file, 100_000)],
    ["reset", reset(file, 100_000)],
    ["reset without a length", reset(file, 100_000, false)],
    ["a stall", stalled(file, 100_000)],
    ["no answer", silent()],
    ["hung up", hangUp()],
    ["not HTTP", garbage()],
    ["a length too large", declares(file, 300_000)],
    ["a length too small", declares(file, 100_000)],
    ["a login page", loginPage()],
    ["an empty file", whole(Buffer.alloc(0))],
    ["other bytes", whole(randomFile(200_000))],
    ["403", status(403)],
    ["408", status(408)],
    ["429", status(429)],
    ["500", status(500)],
    ["503", status(503, { "retry-after": 0 })],
    ["599", status(599)],
  ])("%s", async (name, behaviour) => {
    const url = bench.server.serve("/a", inTurn(behaviour, whole(file)));
    expect(await isFile(await bench.get(url, digest, patience(name)), file)).toBe(true);
    expect(bench.server.requests).toHaveLength(2);
    expect(bench.events.filter(({ type }) => type === "retry")).toHaveLength(1);
    expect(await bench.files()).toHaveLength(1);
  });
});

describe("without a digest", () => {
  test.each([
    ["truncated", truncated(file, 100_000)],
    ["truncated in chunks", truncatedChunks(file, 100_000)],
    ["reset", reset(file, 100_000)],
    ["stalled", stalled(file, 100_000)],
  ])("%s bytes are never taken for the file", async (name, behaviour) => {
    const url = bench.server.serve("/a", inTurn(behaviour, whole(file)));
    expect(await isFile(await bench.get(url, undefined, patience(name)), file)).toBe(true);
  });

  test.each([
    ["gzip", archive],
    ["zip", zip],
    ["xz", xz],
  ])("an archive (%s) that stops at the end of the connection is none", async (name, bytes) => {
    const [failure] = failuresOf(await bench.get(bench.server.serve("/a", untilClose(bytes, 150_000)), undefined, { attempts: 1 }));
    expect(failure).toMatchObject({ kind: "truncated", received: 150_000, message: expect.stringContaining(name) });
    expect(await isFile(await bench.get(bench.server.serve("/a", untilClose(bytes))), bytes)).toBe(true);
  });

  test("an archive is taken as it is where HTTP vouches for its length", async () => {
    const short = archive.subarray(0, 5000);
    expect(await isFile(await bench.get(bench.server.serve("/a", whole(short))), short)).toBe(true);
  });

  test("a web page in place of an archive is none, and elsewhere it is the file", async () => {
    expect(failuresOf(await bench.get(bench.server.serve("/a.tar.gz", loginPage()), undefined))).toMatchObject([{ kind: "html" }]);
    expect(await bench.get(bench.server.serve("/index.html", loginPage()))).toMatchObject({ ok: true });
  });
});

describe("always bad", () => {
  test.each([
    ["truncated", truncated(file, 100), { kind: "truncated", received: 100, expected: 200_000 }, 3],
    ["in chunks", truncatedChunks(file, 100), { kind: "truncated", received: 100 }, 3],
    ["reset", reset(file, 100), { kind: "reset", received: 100, expected: 200_000 }, 3],
    ["stalled", stalled(file, 100), { kind: "stalled", received: 100, expected: 200_000 }, 3],
    ["silent", silent(), { kind: "stalled" }, 3],
    ["hung up", hangUp(), { kind: "reset" }, 3],
    ["garbage", garbage(), { kind: "not-http" }, 3],
    ["too long a length", declares(file.subarray(0, 1000), 1001), { kind: "truncated", received: 1000, expected: 1001 }, 3],
    ["other bytes", whole(archive), { kind: "wrong-digest", received: archive.length, actual: archiveDigest }, 2],
    ["a cut archive", shortChunks(archive, 5000), { kind: "truncated", received: 5000, actual: sha256(archive.subarray(0, 5000)) }, 3],
    ["a page", loginPage(), { kind: "html" }, 2],
    ["nothing", chunked(Buffer.alloc(0)), { kind: "empty", actual: sha256(Buffer.alloc(0)) }, 2],
    ["404", status(404), { kind: "status", status: 404 }, 1],
    ["401", status(401), { kind: "status", status: 401 }, 1],
    ["410", status(410), { kind: "status", status: 410 }, 1],
    ["204", status(204), { kind: "status", status: 204 }, 1],
    [
      "an unasked part",
      ({ response }: { response: { writeHead(code: number): { end(): unknown } } }) => void response.writeHead(206).end(),
      { status: 206 },
      1,
    ],
    ["429", status(429), { kind: "status", status: 429 }, 3],
    ["502", status(502), { kind: "status", status: 502 }, 3],
  ])("%s: one line with the reason, then the next mirror", async (name, behaviour, expected, tries) => {
    const bad = bench.server.serve("/bad", behaviour);
    const good = bench.server.serve("/good", whole(file));
    const failures = failuresOf(await bench.get([bad, bad], digest, patience(name)));
    expect(failures).toMatchObject([{ url: bad, ...expected }, expected]);
    expect(failures[0]!.message).toMatch(/^http:[^\n]+$/);
    expect(bench.server.requests).toHaveLength(2 * tries);
    const result = await bench.get([bad, good], digest, patience(name));
    expect(await isFile(result, file)).toBe(true);
    expect(result).toMatchObject({ url: good });
  });

  test("a length that is too small is seen by what follows it", async () => {
    const [failure] = failuresOf(await bench.get(bench.server.serve("/a", declares(archive, 5000)), archiveDigest));
    expect(failure).toMatchObject({ kind: "truncated" });
  });

  test("the second try of wrong bytes passes by caches", async () => {
    failuresOf(await bench.get(bench.server.serve("/a", whole(archive)), digest));
    expect(bench.server.requests.map(({ headers }) => headers["cache-control"])).toEqual([undefined, "no-cache"]);
  });

  test("bad bytes are kept where asked, once", async () => {
    const [failure] = failuresOf(await bench.get(bench.server.serve("/a", whole(archive)), digest, { keepBad: true }));
    expect(archive.equals(await readFile(failure!.kept!))).toBe(true);
    expect(failure!.message).toContain(failure!.kept!);
    expect(await bench.files()).toHaveLength(1);
  });

  test("nothing stays of bytes that can never go on", async () => {
    failuresOf(await bench.get(bench.server.serve("/a", truncated(file, 100_000))));
    expect(await bench.files()).toEqual([]);
  });

  test("nobody listens", async () => {
    const port = await refusedPort();
    const [failure] = failuresOf(await bench.get(`http://127.0.0.1:${port}/a`, digest));
    expect(failure).toMatchObject({ kind: "refused", message: expect.stringContaining(`127.0.0.1:${port}`) });
    expect(bench.events.filter(({ type }) => type === "retry")).toHaveLength(2);
  });

  test("no such host: one more try", async () => {
    const [failure] = failuresOf(await bench.get("http://no-such-host.invalid/a", digest));
    expect(failure).toMatchObject({ kind: "unknown-host" });
    expect(bench.events.filter(({ type }) => type === "retry").length).toBeLessThanOrEqual(2);
  });

  test.each([["no url at all"], ["ftp://example.org/a"], ["http://"], ["data:,x"], ["file://elsewhere/a"]])("%s is no URL to download from", async (url) => {
    expect(failuresOf(await bench.get(url, digest))).toMatchObject([{ kind: "invalid-url" }]);
  });

  test("a file: URL of no file", async () => {
    expect(failuresOf(await bench.get(["file:///no/such/file", "file:///tmp"], digest))).toMatchObject([{ kind: "missing-file" }, { kind: "missing-file" }]);
  });

  test("no URL", async () => {
    expect(failuresOf(await bench.get([], digest))).toMatchObject([{ kind: "invalid-url" }]);
  });
});

describe("redirects", () => {
  test("are followed, with their range", async () => {
    const target = bench.server.serve("/file", ranged(file, { etag: '"v1"', cut: 150_000 }));
    bench.server.serve("/b", redirect(target, 308));
    const url = bench.server.serve("/a", redirect("b", 301));
    const result = await bench.get(url);
    expect(await isFile(result, file)).toBe(true);
    expect(result).toMatchObject({ url, resumedFrom: 150_000 });
    expect(bench.server.requests.map(({ path }) => path)).toEqual(["/a", "/b", "/file", "/a", "/b", "/file"]);
  });

  test("in a circle are named", async () => {
    bench.server.serve("/b", redirect("/c"));
    bench.server.serve("/c", redirect("/b"));
    const [failure] = failuresOf(await bench.get(bench.server.serve("/a", redirect("/b")), digest));
    expect(failure).toMatchObject({ kind: "redirects", message: expect.stringMatching(/circle: \S+\/b → \S+\/c → \S+\/b$/) });
    expect(bench.server.requests).toHaveLength(3);
  });

  test.each([
    [40, true],
    [41, false],
  ])("%i of them", async (count, ok) => {
    for (let i = 1; i <= count; i++) bench.server.serve(`/${i}`, i === count ? whole(file) : redirect(`/${i + 1}`));
    const result = await bench.get(bench.server.serve("/0", redirect("/1")), digest);
    expect(result.ok).toBe(ok);
    if (!result.ok) expect(result.failures).toMatchObject([{ kind: "redirects", message: expect.stringContaining("more than 40") }]);
    expect(bench.server.connections).toBe(1);
  });
});

describe("content codings nobody asked for", () => {
  test("are left alone where the bytes are the wanted ones", async () => {
    const result = await bench.get(bench.server.serve("/a", encoded(file)), sha256(gzipSync(file)));
    expect(await isFile(result, gzipSync(file))).toBe(true);
    expect(result).not.toHaveProperty("decoded");
  });

  test.each([digest, undefined])("are undone otherwise (digest: %j)", async (wanted) => {
    const result = await bench.get(bench.server.serve("/a", encoded(file)), wanted);
    expect(await isFile(result, file)).toBe(true);
    expect(result).toMatchObject({ decoded: "gzip", digest, bytes: file.length });
    expect(await bench.files()).toHaveLength(1);
  });

  test("are the file where it is compressed by its name", async () => {
    expect(await isFile(await bench.get(bench.server.serve("/a.tgz", encoded(file))), gzipSync(file))).toBe(true);
  });

  test("of another file are no help either", async () => {
    const [failure] = failuresOf(await bench.get(bench.server.serve("/a", encoded(randomFile(1000))), digest));
    expect(failure).toMatchObject({ kind: "wrong-digest" });
    expect(await bench.files()).toEqual([]);
  });

  test.each(["gzip", "br", "deflate", "zstd"])("that the bytes (%s) do not have are no help", async (coding) => {
    const url = bench.server.serve("/a", whole(randomFile(1000), { "content-encoding": coding }));
    expect(failuresOf(await bench.get(url, digest))).toMatchObject([{ kind: "wrong-digest" }]);
    expect(await bench.files()).toEqual([]);
  });
});

describe("stopping", () => {
  test.each([
    ["before it begins", undefined, whole(file)],
    ["while the server is silent", "request", silent()],
    ["in the middle", "bytes", stalled(file, 100_000)],
    ["between two tries", "retry", status(503, { "retry-after": 100 })],
    ["at a limited rate", "started", whole(file)],
  ])("%s takes no time", async (_name, moment, behaviour) => {
    const abort = new AbortController();
    const url = bench.server.serve("/a", (call) => {
      if (moment === "request") abort.abort();
      return behaviour(call);
    });
    if (moment === undefined) abort.abort();
    const start = performance.now();
    const result = await bench.get([url, url], digest, {
      signal: abort.signal,
      ...(moment === "started" ? { limitRate: 1000 } : {}),
      progress: ({ type }) => void (type === moment && abort.abort()),
    });
    expect(failuresOf(result)).toMatchObject([{ kind: "aborted" }]);
    expect(performance.now() - start).toBeLessThan(2000);
    await bench.server.idle();
    expect((await bench.files()).filter((name) => name.endsWith(".lock"))).toEqual([]);
  });

  test("a copy stops too", async () => {
    const path = join(bench.directory, "big");
    await writeFile(path, randomFile(2_000_000));
    const abort = new AbortController();
    const result = await bench.get(pathToFileURL(path).href, digest, {
      signal: abort.signal,
      progress: ({ type }) => void (type === "bytes" && abort.abort()),
    });
    expect(failuresOf(result)).toMatchObject([{ kind: "aborted" }]);
  });

  test("before the beginning nothing is written", async () => {
    failuresOf(await bench.get(bench.server.url, digest, { signal: AbortSignal.abort(), directory: join(bench.directory, "new") }));
    expect(await bench.files()).toEqual([]);
  });

  test("a pause that the server asks for is announced and kept", async () => {
    const url = bench.server.serve("/a", inTurn(status(503, { "retry-after": 1 }), whole(file)));
    const start = performance.now();
    expect(await isFile(await bench.get(url, digest), file)).toBe(true);
    expect(performance.now() - start).toBeGreaterThan(990);
    expect(bench.events).toContainEqual({ type: "retry", reason: expect.stringContaining("503"), wait: 1000, url });
  });
});

test("an error of the caller's own progress is the caller's, and nothing stays open", async () => {
  const url = bench.server.serve("/a", whole(file));
  const bug = () => {
    throw new Error("a bug");
  };
  await expect(bench.get(url, digest, { progress: bug })).rejects.toThrow("a bug");
  expect((await bench.files()).filter((name) => name.endsWith(".lock"))).toEqual([]);
  // The server still answers.
  await new Promise<void>((resolve) =>
    connect(bench.server.port, "127.0.0.1", function (this: { end(): void }) {
      this.end();
      resolve();
    }),
  );
});
