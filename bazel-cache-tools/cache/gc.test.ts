import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeScratch, putEntry, treeOf } from "../archive/test/raw-tar.js";
import { type Digest, keyOf } from "./digest.js";
import { type GcOptions, planGc, removeEntry, removeLeftover } from "./gc.js";
import { entryDirectory, entryFile, partialDirectory } from "./layout.js";

/** Names as Bazel gives them. */
const TMP = { one: `tmp-${randomUUID()}`, old: `tmp-${randomUUID()}`, young: `tmp-${randomUUID()}` };

let scratch: ReturnType<typeof makeScratch>;
let cache: string;
beforeEach(() => {
  scratch = makeScratch();
  cache = path.join(scratch.directory, "cache");
});
afterEach(() => scratch.remove());

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;
const now = Date.now();
const age = (file: string, span: number) => utimesSync(file, (now - span) / 1000, (now - span) / 1000);
/** An entry of so many bytes that was last used so long ago (ms). */
const entry = (size: number, unused: number): Digest => {
  const digest = putEntry(cache, Buffer.alloc(size, String(unused)), ["https://x"]);
  age(entryFile(cache, digest), unused);
  return digest;
};
const write = (file: string, span: number, content = "x") => {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  age(file, span);
  return file;
};
const plan = (options: Partial<GcOptions> = {}) => planGc(cache, { keep: new Set(), now, ...options });
const going = (options: Partial<GcOptions>) => plan(options).entries.map((e) => keyOf(e.digest));

describe("which entries go", () => {
  test("those that were not used for so long, the oldest first", () => {
    const [recent, older, oldest] = [entry(1, 29 * DAY), entry(2, 31 * DAY), entry(3, 300 * DAY)];
    expect(going({ olderThan: 30 * DAY })).toEqual([oldest, older].map(keyOf));
    expect(going({ olderThan: 0 })).toEqual([oldest, older, recent].map(keyOf));
    expect(plan({ olderThan: 30 * DAY }).kept).toEqual({ count: 1, size: 1 });
  });

  test("the oldest ones until the rest is no larger than wanted", () => {
    const [a, b, c] = [entry(400, 3 * DAY), entry(300, 2 * DAY), entry(200, DAY)];
    expect(going({ maxSize: 900 })).toEqual([]);
    expect(going({ maxSize: 899 })).toEqual([keyOf(a)]);
    expect(going({ maxSize: 500 })).toEqual([keyOf(a)]);
    expect(going({ maxSize: 499 })).toEqual([a, b].map(keyOf));
    expect(going({ maxSize: 0 })).toEqual([a, b, c].map(keyOf));
  });

  test("both: what is too old goes, and more where that is not enough", () => {
    const [a, b] = [entry(400, 40 * DAY), entry(300, 2 * DAY)];
    entry(200, DAY);
    expect(going({ olderThan: 30 * DAY, maxSize: 600 })).toEqual([keyOf(a)]);
    expect(going({ olderThan: 30 * DAY, maxSize: 300 })).toEqual([a, b].map(keyOf));
  });

  test("never what is to be kept, though it counts", () => {
    const [a, b] = [entry(400, 40 * DAY), entry(300, 2 * DAY)];
    expect(going({ olderThan: 0, maxSize: 100, keep: new Set([keyOf(a)]) })).toEqual([keyOf(b)]);
    expect(plan({ maxSize: 100, keep: new Set([keyOf(a)]) }).kept).toEqual({ count: 1, size: 400 });
  });

  test("none without a rule, and none in which somebody is writing", () => {
    const digest = entry(1, 300 * DAY);
    expect(going({})).toEqual([]);
    write(path.join(entryDirectory(cache, digest), TMP.one), HOUR);
    expect(going({ olderThan: DAY })).toEqual([]);
    age(path.join(entryDirectory(cache, digest), TMP.one), 2 * DAY);
    expect(going({ olderThan: DAY })).toEqual([keyOf(digest)]);
  });
});

describe("leftovers", () => {
  const found = (options: Partial<GcOptions> = {}) => plan(options).leftovers.map(({ path: file, what }) => [path.relative(cache, file), what]);

  test("temporary files of writers that are gone for a day", () => {
    const digest = entry(1, 0);
    const old = write(path.join(entryDirectory(cache, digest), TMP.old), 25 * HOUR);
    write(path.join(entryDirectory(cache, digest), TMP.young), 23 * HOUR);
    expect(found()).toEqual([[path.relative(cache, old), "temporary file"]]);
  });

  test("entries without a file, also with markers and old temporary files; not those that were just made, nor those with something unknown in them", () => {
    const directories = ["old", "new", "foreign"].map((name) => {
      const digest = putEntry(cache, name, ["https://x"]);
      rmSync(entryFile(cache, digest));
      return entryDirectory(cache, digest);
    });
    const [old, , foreign] = directories as [string, string, string];
    write(path.join(old, TMP.old), 25 * HOUR);
    write(path.join(foreign, "v8.tar.gz"), 25 * HOUR);
    for (const directory of [old, foreign]) age(directory, 25 * HOUR);
    expect(found()).toEqual([[path.relative(cache, old), "entry without a file"]]);
    expect(plan().leftovers.map((leftover) => removeLeftover(leftover, now))).toEqual([true]);
    expect([existsSync(old), existsSync(foreign)]).toEqual([false, true]);
  });

  test("a directory to which somebody came back meanwhile stays", () => {
    const digest = putEntry(cache, "x", ["https://x"]);
    const directory = entryDirectory(cache, digest);
    rmSync(entryFile(cache, digest));
    age(directory, 25 * HOUR);
    const { leftovers } = plan();
    writeFileSync(path.join(directory, TMP.young), "half");
    const before = treeOf(cache);
    expect(leftovers.map((leftover) => removeLeftover(leftover, now))).toEqual([false]);
    age(directory, 25 * HOUR);
    expect(leftovers.map((leftover) => removeLeftover(leftover, now))).toEqual([false]);
    expect(Object.keys(treeOf(cache)).filter((name) => name.endsWith(TMP.young))).toEqual(Object.keys(before).filter((name) => name.endsWith(TMP.young)));
  });

  test("partial downloads that nobody went on with for two weeks, or for as long as entries may be unused; whole ones with their description", () => {
    const part = (name: string, span: number) => write(path.join(partialDirectory(cache), name), span);
    part("sha256-aa.part", 15 * DAY);
    part("sha256-aa.json", 16 * DAY);
    part("sha256-bb.part", 13 * DAY);
    part("sha256-bb.json", 20 * DAY);
    part("url-cc.part", 2 * HOUR);
    part("url-dd.part", HOUR / 2);
    const names = (options: Partial<GcOptions> = {}) => plan(options).leftovers.map((l) => path.basename(l.path));
    expect(names()).toEqual(["sha256-aa.json", "sha256-aa.part"]);
    expect(names({ olderThan: 5 * DAY })).toEqual(["sha256-aa.json", "sha256-aa.part", "sha256-bb.json", "sha256-bb.part"]);
    // What is being downloaded right now has grown within the hour.
    expect(names({ olderThan: 0 })).not.toContain("url-dd.part");
    expect(names({ olderThan: 0 })).toContain("url-cc.part");
  });

  test("a partial download that is resumed in the last moment stays", () => {
    write(path.join(partialDirectory(cache), "sha256-aa.part"), 15 * DAY);
    const { leftovers } = plan();
    const lock = write(path.join(partialDirectory(cache), "sha256-aa.lock"), 0);
    expect(leftovers.map((leftover) => removeLeftover(leftover, now))).toEqual([false]);
    rmSync(lock);
    expect(leftovers.map((leftover) => removeLeftover(leftover, now))).toEqual([true]);
    expect(readdirSync(partialDirectory(cache))).toEqual([]);
  });

  test("entries that a killed run has renamed and not removed", () => {
    write(path.join(cache, ".bazel-cache/gc-1/file"), 0, "12345");
    expect(plan().leftovers).toEqual([]);
    const [leftover] = plan({ now: now + 2 * HOUR }).leftovers;
    expect(leftover).toMatchObject({ what: "entry half removed", size: 5 });
    removeLeftover(leftover!, now);
    expect(readdirSync(path.join(cache, ".bazel-cache"))).toEqual([]);
  });

  test("contents/, and what others have put there, is not even looked at", () => {
    write(path.join(cache, "contents/aa/uuid/x"), 300 * DAY);
    write(path.join(cache, "content_addressable/sha256/README"), 300 * DAY);
    write(path.join(cache, "content_addressable/md5/aa/file"), 300 * DAY);
    expect(plan({ olderThan: 0, maxSize: 0 })).toEqual({ entries: [], leftovers: [], kept: { count: 0, size: 0 } });
  });
});

describe("removing an entry", () => {
  test("it goes with its markers, and nothing else does", () => {
    const [gone, stays] = [entry(5, 40 * DAY), entry(6, DAY)];
    const [old] = plan({ olderThan: 30 * DAY }).entries;
    expect(removeEntry(cache, old!)).toBe("removed");
    expect(existsSync(entryDirectory(cache, gone))).toBe(false);
    expect(readdirSync(entryDirectory(cache, stays))).toHaveLength(2);
    expect(readdirSync(path.join(cache, ".bazel-cache"))).toEqual([]);
  });

  test("one that was used meanwhile stays", () => {
    const digest = entry(5, 40 * DAY);
    const before = treeOf(cache);
    const [old] = plan({ olderThan: 30 * DAY }).entries;
    age(entryFile(cache, digest), 0);
    expect(removeEntry(cache, old!)).toBe("used meanwhile");
    expect(treeOf(cache)).toEqual(before);
  });

  test("one that was replaced by a new download meanwhile stays", () => {
    const digest = entry(5, 40 * DAY);
    const [old] = plan({ olderThan: 30 * DAY }).entries;
    rmSync(entryDirectory(cache, digest), { recursive: true });
    expect(removeEntry(cache, old!)).toBe("gone");
    putEntry(cache, Buffer.alloc(5, String(40 * DAY)));
    expect(removeEntry(cache, old!)).toBe("used meanwhile");
    expect(existsSync(entryFile(cache, digest))).toBe(true);
  });
});
