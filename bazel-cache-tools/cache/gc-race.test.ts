// What happens in the moment between the look at an entry and its removal: the renaming is intercepted.
import { existsSync, mkdirSync, renameSync, utimesSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { makeScratch, putEntry, treeOf } from "../archive/test/raw-tar.js";
import type { Digest } from "./digest.js";
import { type OldEntry, planGc, removeEntry } from "./gc.js";
import { entryDirectory, entryFile } from "./layout.js";

const race = vi.hoisted(() => ({ before: undefined as (() => void) | undefined, after: undefined as (() => void) | undefined }));
vi.mock("node:fs", async (original) => {
  const real = await original<typeof import("node:fs")>();
  return {
    ...real,
    renameSync(from: string, to: string) {
      const { before, after } = race;
      race.before = race.after = undefined;
      before?.();
      real.renameSync(from, to);
      after?.();
    },
  };
});

let scratch: ReturnType<typeof makeScratch>;
let cache: string;
let digest: Digest;
let old: OldEntry;
beforeEach(() => {
  scratch = makeScratch();
  cache = path.join(scratch.directory, "cache");
  digest = putEntry(cache, "content", ["https://x"]);
  utimesSync(entryFile(cache, digest), 1, 1);
  old = planGc(cache, { olderThan: 0, keep: new Set(), now: Date.now() }).entries[0]!;
});
afterEach(() => scratch.remove());

test("Bazel uses it just before it is renamed: it is put back whole", () => {
  race.before = () => utimesSync(entryFile(cache, digest), 2, 2);
  const before = treeOf(cache);
  expect(removeEntry(cache, old)).toBe("used meanwhile");
  expect(treeOf(cache)).toEqual({ ".bazel-cache": "directory", ...before });
});

test("Bazel uses it, misses it and downloads it again at once: the new one stays, the old one goes", () => {
  race.before = () => utimesSync(entryFile(cache, digest), 2, 2);
  race.after = () => putEntry(cache, "content", ["https://y"]);
  expect(removeEntry(cache, old)).toBe("removed");
  expect(existsSync(entryFile(cache, digest))).toBe(true);
  expect(Object.keys(treeOf(path.join(cache, ".bazel-cache")))).toEqual([]);
});

test("another gc removes it first", () => {
  race.before = () => {
    mkdirSync(path.join(scratch.directory, "away"));
    renameSync(entryDirectory(cache, digest), path.join(scratch.directory, "away", "x"));
  };
  expect(removeEntry(cache, old)).toBe("gone");
});
