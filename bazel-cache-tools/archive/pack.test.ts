import { spawnSync } from "node:child_process";
import {
  closeSync,
  createReadStream,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Algorithm, digestOf, keyOf } from "../cache/digest.js";
import { entryDirectory, entryFile } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import type { Download } from "../declared/download.js";
import { type Packed, selectAll, selectDeclared } from "./contents.js";
import { checkOutput, writeArchive } from "./output.js";
import { inPieces, makeScratch, putEntry, treeOf } from "./test/raw-tar.js";
import { unpack } from "./unpack.js";

let scratch: ReturnType<typeof makeScratch>;
let cache: string;
beforeEach(() => {
  scratch = makeScratch();
  cache = path.join(scratch.directory, "cache");
});
afterEach(() => scratch.remove());

const never = new AbortController().signal;
const at = (name: string) => path.join(scratch.directory, name);
const write = async (entries: Packed[], name: string) => {
  await writeArchive(entries, at(name), { signal: never });
  return readFileSync(at(name));
};
const declare = (content: string, name: string, urls: string[], algorithm: Algorithm = "sha256"): Download => ({
  name,
  kind: "archive",
  urls,
  digest: digestOf(content, algorithm),
  marker: "urls",
  at: "WORKSPACE:1",
});
const ALGORITHMS: Algorithm[] = ["sha1", "sha256", "sha384", "sha512", "blake3"];

test("the same entries make the same bytes, in whatever order and whenever they came to be", async () => {
  const other = at("other");
  const contents = ["a", "bb", "c".repeat(70_000), ""];
  for (const content of contents) putEntry(cache, content, [`https://x/${content.length}`, "https://y"]);
  for (const content of contents.toReversed()) {
    const digest = putEntry(other, content, ["https://y", `https://x/${content.length}`]);
    utimesSync(entryFile(other, digest), 1, 1);
  }
  const downloads = [declare("a", "second", ["https://2"]), declare("a", "first", ["https://1"])];
  const first = await write(selectAll(cache, downloads), "1.tar");
  expect(await write(selectAll(cache, downloads), "2.tar")).toEqual(first);
  expect(await write(selectAll(other, downloads), "3.tar")).toEqual(first);
});

test("GNU tar reads it: plain files of nobody, the manifest first, sorted, and nothing but entries", async () => {
  for (const algorithm of ALGORITHMS) putEntry(cache, "content", ["https://x/a", "https://y/b"], algorithm);
  await write(selectAll(cache, []), "x.tar");
  const { status, stdout, stderr } = spawnSync("tar", ["--numeric-owner", "--utc", "-tvf", at("x.tar")], { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const lines = stdout.trim().split("\n");
  expect(lines).toHaveLength(1 + ALGORITHMS.length * 3);
  for (const line of lines) expect(line).toMatch(/^-rw-r--r-- 0\/0 +\d+ 1970-01-01 00:00 (bazel-cache\.json|content_addressable\/\S+)$/);
  const names = lines.map((line) => line.split(" ").at(-1)!);
  expect(names[0]).toBe("bazel-cache.json");
  expect(names.slice(1)).toEqual(names.slice(1).toSorted());
  mkdirSync(at("extracted"));
  expect(spawnSync("tar", ["-xf", at("x.tar"), "-C", at("extracted")]).status).toBe(0);
  rmSync(path.join(at("extracted"), "bazel-cache.json"));
  expect(treeOf(at("extracted"))).toEqual(treeOf(cache));
});

test.each(["gnu", "posix", "ustar", "v7-like paths with ./"])("a tar that GNU tar made of a cache is unpacked (%s)", async (format) => {
  // ustar has no room for the names below a SHA-512.
  const algorithms = ALGORITHMS.filter((a) => format !== "ustar" || a !== "sha512");
  for (const algorithm of algorithms) putEntry(cache, `content of ${algorithm}`, ["https://x/a"], algorithm);
  const flags = format.startsWith("v7") ? ["--format=gnu"] : [`--format=${format}`];
  const what = format.startsWith("v7") ? "./content_addressable" : "content_addressable";
  expect(spawnSync("tar", ["-cf", at("x.tar"), ...flags, "-C", cache, what]).status).toBe(0);
  const results = await unpack(createReadStream(at("x.tar")), at("copy"));
  expect(results.map((r) => r.status)).toEqual(algorithms.map(() => "unpacked"));
  expect(treeOf(at("copy"))).toEqual(treeOf(cache));
});

test("what a workspace declares: its entries with their names, its markers added, the missing ones named", () => {
  putEntry(cache, "undeclared");
  const digest = putEntry(cache, "here", ["https://old/here"]);
  const missing = declare("not here", "gone", ["https://x/gone"]);
  const selection = selectDeclared(cache, [
    missing,
    declare("here", "here", ["https://x/here"]),
    { ...declare("never", "never", []), never: "it is never cached" },
  ]);
  expect(selection.missing).toEqual([missing]);
  expect(selection.entries.map(({ digest, size, names, urls }) => ({ digest, size, names, urls }))).toEqual([
    { digest, size: 4, names: ["here"], urls: ["https://x/here"] },
  ]);
  expect(selection.entries[0]!.markers).toEqual(expect.arrayContaining(["https://old/here", "https://x/here"].map((url) => markerName(url, "sha256"))));
});

test("two declarations of one file are one entry with both names", () => {
  putEntry(cache, "here");
  const { entries } = selectDeclared(cache, [declare("here", "b", ["https://1"]), declare("here", "a", ["https://2"])]);
  expect(entries.map(({ names, urls }) => ({ names, urls }))).toEqual([{ names: ["a", "b"], urls: ["https://1", "https://2"] }]);
});

test("a corrupt entry is refused by its name, and the old archive stays", async () => {
  putEntry(cache, "good");
  const digest = putEntry(cache, "bad one");
  writeFileSync(entryFile(cache, digest), "bad two");
  writeFileSync(at("x.tar"), "the old archive");
  await expect(write(selectAll(cache, []), "x.tar")).rejects.toThrow(
    `${entryFile(cache, digest)}: has sha256 ${digestOf("bad two", "sha256").hex}, not that of its directory`,
  );
  expect(readFileSync(at("x.tar"), "utf8")).toBe("the old archive");
  expect(readdirSync(scratch.directory).toSorted()).toEqual(["cache", "x.tar"]);
});

test.each([
  ["grows", (file: string) => writeFileSync(file, "longer than it was")],
  ["shrinks", (file: string) => writeFileSync(file, "")],
])("a file that %s between being listed and being read is refused", async (_, change) => {
  const digest = putEntry(cache, "as listed");
  const entries = selectAll(cache, []);
  change(entryFile(cache, digest));
  await expect(write(entries, "x.tar")).rejects.toThrow("changed while it was read");
  expect(existsSync(at("x.tar"))).toBe(false);
});

test("a file that went away is refused with its name", async () => {
  const digest = putEntry(cache, "as listed");
  const entries = selectAll(cache, []);
  renameSync(entryDirectory(cache, digest), at("elsewhere"));
  await expect(write(entries, "x.tar")).rejects.toThrow(`${entryFile(cache, digest)}: there is no such file`);
});

test("an interruption leaves nothing behind", async () => {
  for (let i = 0; i < 20; i++) putEntry(cache, Buffer.alloc(300_000, i));
  const controller = new AbortController();
  const writing = writeArchive(selectAll(cache, []), at("x.tar"), { signal: controller.signal, progress: () => controller.abort() });
  await expect(writing).rejects.toThrow();
  expect(readdirSync(scratch.directory)).toEqual(["cache"]);
});

test("an output that fails ends the packing with its error, while much is still to be written", async () => {
  for (let i = 0; i < 20; i++) putEntry(cache, Buffer.alloc(300_000, i));
  const { writeTar } = await import("./write-tar.js");
  let taken = 0;
  const output = new Writable({
    write(piece: Buffer, _, done) {
      taken += piece.length;
      done(taken > 1_000_000 ? new Error("the disk is full") : null);
    },
  });
  await expect(writeTar(selectAll(cache, []), output, { signal: never, end: true })).rejects.toThrow("the disk is full");
});

test("a directory that cannot be written is said in one line", async () => {
  putEntry(cache, "x");
  await expect(writeArchive(selectAll(cache, []), at("no/such/x.tar"), { signal: never })).rejects.toThrow(/no\/such\/x\.tar: cannot be written: /);
});

test("neither a terminal nor a device nor a directory is an output", () => {
  expect(() => checkOutput("-", true)).toThrow("standard output is a terminal");
  expect(() => checkOutput("-", false)).not.toThrow();
  expect(() => checkOutput("/dev/null", false)).toThrow("is no plain file");
  expect(() => checkOutput(scratch.directory, false)).toThrow("is a directory");
  expect(statSync("/dev/null").isFile()).toBe(false);
});

test("a file of 9 GiB keeps its size, which no plain header holds", async () => {
  const { size, name } = await import("./read-tar.js").then(async ({ readTar }) => {
    const { rawHeader } = await import("./test/raw-tar.js");
    const field = Buffer.alloc(12);
    field[0] = 0x80;
    field.writeBigUInt64BE(9n * 1024n ** 3n, 4);
    const tar = readTar(
      (async function* () {
        yield rawHeader({ name: "large", size: field });
      })(),
    );
    return (await tar.next()).value as { size: number; name: string };
  });
  expect({ size, name }).toEqual({ size: 9 * 1024 ** 3, name: "large" });
});

test("the markers of an archive arrive where the bytes are there already, and wrong bytes are replaced", async () => {
  const digest = putEntry(cache, "here", ["https://new"]);
  const wrong = putEntry(cache, "right", ["https://w"]);
  const tar = await write(selectAll(cache, []), "x.tar");
  const copy = at("copy");
  putEntry(copy, "here", ["https://old"]);
  putEntry(copy, "right");
  writeFileSync(entryFile(copy, wrong), "wrong");
  const before = statSync(entryFile(copy, digest)).ino;
  const results = new Map((await unpack(inPieces(tar), copy)).map((r) => [keyOf(r.digest), r]));
  expect(results.get(keyOf(digest))).toMatchObject({ status: "already there", added: [markerName("https://new", "sha256")] });
  expect(results.get(keyOf(wrong))).toMatchObject({ status: "unpacked", replaced: true });
  expect(statSync(entryFile(copy, digest)).ino).toBe(before);
  expect(readFileSync(entryFile(copy, wrong), "utf8")).toBe("right");
  expect(readdirSync(entryDirectory(copy, digest))).toHaveLength(3);
});

test("a large file is packed in little memory", async () => {
  const content = at("hole");
  const descriptor = openSync(content, "w");
  ftruncateSync(descriptor, 300 * 1024 * 1024);
  closeSync(descriptor);
  const { hashOne } = await import("../cache/hashing.js");
  const hashed = await hashOne(content, ["sha256"]);
  if (!hashed.ok) throw new Error(hashed.reason);
  const digest = { algorithm: "sha256" as const, hex: hashed.digests.sha256! };
  mkdirSync(entryDirectory(cache, digest), { recursive: true });
  renameSync(content, entryFile(cache, digest));
  const { writeTar } = await import("./write-tar.js");
  let highest = 0;
  const before = process.memoryUsage().rss;
  const output = new Writable({
    write(_, __, done) {
      highest = Math.max(highest, process.memoryUsage().rss);
      setImmediate(done);
    },
  });
  await writeTar(selectAll(cache, []), output, { signal: never, end: true });
  expect(highest - before).toBeLessThan(150 * 1024 * 1024);
});
