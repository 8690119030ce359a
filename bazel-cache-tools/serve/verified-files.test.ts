// How often a file is hashed: once, however often it is served.
import { utimesSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { makeScratch, putEntry } from "../archive/test/raw-tar.js";
import type { Digest } from "../cache/digest.js";
import * as hashing from "../cache/hashing.js";
import { entryFile } from "../cache/layout.js";
import { type VerifiedFiles, verifiedFiles } from "./verified-files.js";

vi.mock("../cache/hashing.js", { spy: true });

let scratch: ReturnType<typeof makeScratch>;
let cache: string;
let files: VerifiedFiles;
let digest: Digest;
beforeEach(() => {
  vi.mocked(hashing.hashOne).mockClear();
  scratch = makeScratch();
  cache = path.join(scratch.directory, "cache");
  digest = putEntry(cache, "content");
  files = verifiedFiles(cache, (file) => expect.unreachable(file));
});
afterEach(() => scratch.remove());

const use = async () => {
  const file = (await files.open(digest))!;
  file.touch();
  await file.handle.close();
};
const hashed = () => vi.mocked(hashing.hashOne).mock.calls.length;

test("once, though every use sets its time", async () => {
  for (let i = 0; i < 3; i++) await use();
  expect(hashed()).toBe(1);
});

test("once for many at the same time", async () => {
  await Promise.all([use(), use(), use(), use()]);
  await use();
  expect(hashed()).toBe(1);
});

test("again when somebody else has set its time", async () => {
  await use();
  utimesSync(entryFile(cache, digest), 1, 1);
  await use();
  expect(hashed()).toBe(2);
});
