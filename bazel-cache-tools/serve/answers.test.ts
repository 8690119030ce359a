import { statSync, utimesSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { putEntry } from "../archive/test/raw-tar.js";
import type { Digest } from "../cache/digest.js";
import { entryFile } from "../cache/layout.js";
import { openCatalogue } from "./catalogue.js";
import { serve } from "./server.js";
import { CONTENT, Mirror } from "./test/mirror.js";
import { verifiedFiles } from "./verified-files.js";

let mirror: Mirror;
let cache: string;
beforeEach(() => {
  mirror = new Mirror();
  cache = mirror.cache;
});
afterEach(() => mirror.close());

describe("how it is answered", () => {
  let digest: Digest;
  let tag: string;
  beforeEach(async () => {
    digest = putEntry(cache, CONTENT, ["https://h/x"]);
    utimesSync(entryFile(cache, digest), 1_600_000_000, 1_600_000_000);
    tag = `"sha256-${digest.hex}"`;
    await mirror.start();
  });
  const DATE = "Sun, 13 Sep 2020 12:26:40 GMT";

  test("whole, with what tells the bytes apart", async () => {
    const { status, headers } = await mirror.ask("/h/x");
    expect(status).toBe(200);
    expect(headers).toMatchObject({ etag: tag, "accept-ranges": "bytes", "content-length": "10", "last-modified": DATE });
  });

  test("HEAD: the same headers and no bytes", async () => {
    const { date: _, connection: __, ...whole } = (await mirror.ask("/h/x")).headers;
    const head = await mirror.ask("/h/x", {}, "HEAD");
    expect(head).toMatchObject({ status: 200, body: "", headers: whole });
    expect(await mirror.ask("/h/none", {}, "HEAD")).toMatchObject({ status: 404, body: "" });
  });

  test.each([
    ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
    ["bytes=7-", 206, "789", "bytes 7-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=-99", 206, CONTENT, "bytes 0-9/10"],
    ["bytes=4-99", 206, "456789", "bytes 4-9/10"],
    ["BYTES=9-9", 206, "9", "bytes 9-9/10"],
    ["bytes=10-", 416, undefined, "bytes */10"],
    ["bytes=-0", 416, undefined, "bytes */10"],
    ["bytes=0-1,4-5", 200, CONTENT, undefined],
    ["bytes=5-4", 200, CONTENT, undefined],
    ["bytes=-", 200, CONTENT, undefined],
    ["bytes=a-b", 200, CONTENT, undefined],
    ["lines=0-3", 200, CONTENT, undefined],
  ])("Range: %s → %i", async (range, status, body, contentRange) => {
    const reply = await mirror.ask("/h/x", { Range: range });
    expect([reply.status, reply.headers["content-range"]]).toEqual([status, contentRange]);
    if (body !== undefined) expect([reply.body, reply.headers["content-length"]]).toEqual([body, String(body.length)]);
  });

  test("a range of HEAD is no range", async () => {
    expect(await mirror.ask("/h/x", { Range: "bytes=0-3" }, "HEAD")).toMatchObject({ status: 200, headers: { "content-length": "10" } });
  });

  test("If-Range: the tag or the exact time, or the whole", async () => {
    const part = async (ifRange: string) => (await mirror.ask("/h/x", { Range: "bytes=0-3", "If-Range": ifRange })).status;
    expect(await part(tag)).toBe(206);
    expect(await part(DATE)).toBe(206);
    expect(await part(`W/${tag}`)).toBe(200);
    expect(await part('"other"')).toBe(200);
    expect(await part("Sun, 13 Sep 2020 12:26:41 GMT")).toBe(200);
    expect(await part("nonsense")).toBe(200);
  });

  test("If-None-Match and If-Modified-Since: 304 without bytes", async () => {
    const status = async (headers: Record<string, string>) => (await mirror.ask("/h/x", headers)).status;
    expect(await mirror.ask("/h/x", { "If-None-Match": tag })).toMatchObject({ status: 304, body: "", headers: { etag: tag } });
    expect(await status({ "If-None-Match": `"a", W/${tag}` })).toBe(304);
    expect(await status({ "If-None-Match": "*" })).toBe(304);
    expect(await status({ "If-None-Match": '"a"', "If-Modified-Since": DATE })).toBe(200);
    expect(await status({ "If-Modified-Since": DATE })).toBe(304);
    expect(await status({ "If-Modified-Since": "Sun, 13 Sep 2020 12:26:39 GMT" })).toBe(200);
  });

  test.each(["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])("%s is not allowed", async (method) => {
    expect(await mirror.ask("/h/x", {}, method)).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
  });

  test("a use sets the file's time, as Bazel does, and no other answer does", async () => {
    const mtime = () => statSync(entryFile(cache, digest)).mtimeMs;
    await mirror.ask("/h/x", {}, "HEAD");
    await mirror.ask("/h/x", { Range: "bytes=99-" });
    expect(mtime()).toBe(1_600_000_000_000);
    const before = Date.now();
    await mirror.ask("/h/x");
    expect(mtime()).toBeGreaterThanOrEqual(before - 1);
    // The tag's companion for clients stays what it was.
    expect((await mirror.ask("/h/x")).headers["last-modified"]).toBe(DATE);
  });

  test("an empty file is served, and no part of it", async () => {
    const { hex } = putEntry(cache, "");
    mirror.clock += 1000;
    expect(await mirror.ask(`/sha256/${hex}`)).toMatchObject({ status: 200, body: "", headers: { "content-length": "0" } });
    expect(await mirror.ask(`/sha256/${hex}`, { Range: "bytes=0-" })).toMatchObject({ status: 416 });
  });

  test("a line for each request, in which nothing steers the terminal", async () => {
    await mirror.ask("/h/x");
    await mirror.ask("/h/x", {}, "HEAD");
    await mirror.ask("/h/%1b%9b31m'");
    await mirror.serving!.close(1000);
    expect(mirror.log).toHaveLength(3);
    expect(mirror.log[0]).toMatch(/^GET \/h\/x 200 10 bytes \d+ ms$/);
    expect(mirror.log[1]).toMatch(/^HEAD \/h\/x 200 0 bytes \d+ ms$/);
    expect(mirror.log[2]).toMatch(/^GET \/h\/%1b%9b31m%27 404 \d+ bytes \d+ ms$/);
  });
});

describe("beginning and end", () => {
  test("a port that is taken is said in one line", async () => {
    await mirror.start();
    const again = serve({ host: "127.0.0.1", port: mirror.port, catalogue: openCatalogue(cache, []), files: verifiedFiles(cache, () => {}), log: () => {} });
    await expect(again).rejects.toThrow(/^127\.0\.0\.1:\d+: the port is taken; choose another with --port/);
  });

  test("a transfer that is open is finished; one that nobody reads is broken off", async () => {
    putEntry(cache, Buffer.alloc(8 * 1024 * 1024, 1), ["https://h/large"]);
    await mirror.start();
    const response = await new Promise<IncomingMessage>((resolve) => {
      request({ host: "127.0.0.1", port: mirror.port, path: "/h/large", agent: false }, resolve).end();
    });
    const closing = mirror.serving!.close(10_000);
    let received = 0;
    for await (const piece of response as AsyncIterable<Buffer>) received += piece.length;
    expect(received).toBe(8 * 1024 * 1024);
    await closing;
    await mirror.start();
    const stalled = connect(mirror.port, "127.0.0.1");
    const broken = new Promise<void>((resolve) => stalled.on("close", () => resolve()).on("error", () => {}));
    await new Promise<void>((resolve) => {
      stalled.once("readable", resolve);
      stalled.write("GET /h/large HTTP/1.1\r\nHost: x\r\n\r\n");
    });
    await mirror.serving!.close(0);
    stalled.resume();
    await broken;
    expect(mirror.log.at(-1)).toMatch(/^GET \/h\/large 200 \d+ bytes \d+ ms, broken off$/);
  });
});
