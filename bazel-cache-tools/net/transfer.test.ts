// Downloads that go well, and how fast they may.
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../cache/digest.js";
import { chunked, drip, inTurn, ranged, stalled, untilClose, whole } from "../test/flaky/behaviours.js";
import { type Bench, failuresOf, isFile, openBench, randomFile, sha256 } from "../test/flaky/bench.js";
import { openConnections } from "./index.js";

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
