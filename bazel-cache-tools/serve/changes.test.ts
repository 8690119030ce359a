import { appendFileSync, readdirSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { putEntry } from "../archive/test/raw-tar.js";
import { digestOf } from "../cache/digest.js";
import { entryDirectory, entryFile } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import { CONTENT, Mirror } from "./test/mirror.js";

let mirror: Mirror;
let cache: string;
beforeEach(() => {
  mirror = new Mirror();
  cache = mirror.cache;
});
afterEach(() => mirror.close());

describe("only verified bytes go out", () => {
  test("a corrupt file is a 404 and a line in the log", async () => {
    const digest = putEntry(cache, CONTENT, ["https://h/x"]);
    writeFileSync(entryFile(cache, digest), "9876543210");
    await mirror.start();
    expect((await mirror.ask("/h/x")).status).toBe(404);
    expect(mirror.corrupt).toEqual([expect.stringContaining(`${entryFile(cache, digest)}: has sha256 ${digestOf("9876543210", "sha256").hex}`)]);
  });

  test("where another entry is meant by the same URL, it is served instead", async () => {
    const bad = putEntry(cache, "bad", ["https://h/x"]);
    const good = putEntry(cache, "good", ["https://h/x"]);
    writeFileSync(entryFile(cache, bad), "worse");
    utimesSync(entryFile(cache, good), 1, 1);
    await mirror.start();
    expect((await mirror.ask("/h/x")).body).toBe("good");
  });

  test.each([
    ["overwritten with as many bytes", (file: string) => writeFileSync(file, "9876543210")],
    ["appended to", (file: string) => appendFileSync(file, "!")],
    ["truncated", (file: string) => truncateSync(file, 5)],
    [
      "replaced",
      (file: string) => {
        writeFileSync(`${file}2`, "9876543210");
        renameSync(`${file}2`, file);
      },
    ],
  ])("a file that was %s after it was served is verified again", async (_, change) => {
    const digest = putEntry(cache, CONTENT, ["https://h/x"]);
    await mirror.start();
    expect((await mirror.ask("/h/x")).status).toBe(200);
    change(entryFile(cache, digest));
    expect((await mirror.ask("/h/x")).status).toBe(404);
    expect(mirror.corrupt).toHaveLength(1);
    writeFileSync(entryFile(cache, digest), CONTENT);
    expect(await mirror.ask("/h/x")).toMatchObject({ status: 200, body: CONTENT });
  });

  test("a link to something else of this machine is not served, a link to the right bytes is", async () => {
    const digest = putEntry(cache, CONTENT, ["https://h/x"]);
    const file = entryFile(cache, digest);
    const real = path.join(mirror.directory, "real");
    renameSync(file, real);
    symlinkSync("/etc/passwd", file);
    await mirror.start();
    expect((await mirror.ask("/h/x")).status).toBe(404);
    rmSync(file);
    symlinkSync(real, file);
    expect((await mirror.ask("/h/x")).body).toBe(CONTENT);
  });

  test("many ask at once for a large file", async () => {
    const large = Buffer.alloc(30 * 1024 * 1024, "large");
    putEntry(cache, large, ["https://h/large"]);
    await mirror.start();
    const replies = await Promise.all(Array.from({ length: 8 }, () => mirror.ask("/h/large")));
    const expected = digestOf(large, "sha256").hex;
    for (const { status, body } of replies) expect([status, digestOf(body, "sha256").hex]).toEqual([200, expected]);
  });
});

describe("a cache that changes", () => {
  test("entries that come are found at once, those that go are gone", async () => {
    await mirror.start();
    expect((await mirror.ask("/h/x")).status).toBe(404);
    const digest = putEntry(cache, CONTENT, ["https://h/x"]);
    mirror.clock += 1000;
    expect((await mirror.ask("/h/x")).status).toBe(200);
    rmSync(entryDirectory(cache, digest), { recursive: true });
    expect((await mirror.ask("/h/x")).status).toBe(404);
  });

  test("a marker that is added to an entry is found, though the listing is the same", async () => {
    const digest = putEntry(cache, CONTENT);
    await mirror.start();
    writeFileSync(path.join(entryDirectory(cache, digest), markerName("https://h/x", "sha256")), "");
    expect((await mirror.ask("/h/x")).status).toBe(404);
    mirror.clock += 999;
    expect((await mirror.ask("/h/x")).status).toBe(404);
    mirror.clock += 1;
    expect((await mirror.ask("/h/x")).status).toBe(200);
  });

  test("a cache that is not there yet is an empty one", async () => {
    await mirror.start();
    expect(JSON.parse((await mirror.ask("/", { Accept: "application/json" })).body)).toEqual({ entries: [] });
    expect(readdirSync(mirror.directory)).toEqual([]);
  });
});
