import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "./digest.js";
import { hashOne } from "./hashing.js";
import { entryDirectory, entryFile } from "./layout.js";
import { markerName } from "./markers.js";
import { placeFile, type Source } from "./store.js";

const CONTENT = "some bytes\n";
const DIGEST = digestOf(CONTENT, "sha256");

let directory: string;
let cache: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "bazel-cache-store-"));
  cache = path.join(directory, "cache");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A file that was not touched for a while, hashed. */
async function source(content = CONTENT, digest = digestOf(content, "sha256")): Promise<Source> {
  const file = path.join(directory, "download");
  writeFileSync(file, content);
  utimesSync(file, 1_600_000_000, 1_600_000_000);
  const hashed = await hashOne(file, ["sha256"]);
  if (!hashed.ok) throw new Error(hashed.reason);
  return { file, digest, identity: hashed.identity };
}

const names = () => readdirSync(entryDirectory(cache, DIGEST)).sort();

describe("an entry", () => {
  test("is the bytes under `file` and an empty marker for each id", async () => {
    const placed = await placeFile(cache, await source(), ["a", "b"]);
    expect(names()).toEqual(["file", markerName("a", "sha256"), markerName("b", "sha256")].sort());
    expect(readFileSync(entryFile(cache, DIGEST), "utf8")).toBe(CONTENT);
    expect(statSync(path.join(entryDirectory(cache, DIGEST), markerName("a", "sha256"))).size).toBe(0);
    expect(placed.markers).toHaveLength(2);
  });

  test("that is there gets the markers it lacks, and its bytes stay", async () => {
    await placeFile(cache, await source(), ["a"]);
    const { ino } = statSync(entryFile(cache, DIGEST));
    const placed = await placeFile(cache, await source(), ["a", "b"], { copy: true });
    expect(placed).toEqual({ how: "already there", replaced: false, markers: [markerName("b", "sha256")] });
    expect(statSync(entryFile(cache, DIGEST)).ino).toBe(ino);
  });

  test("with other bytes is replaced in one step", async () => {
    await placeFile(cache, await source(), ["a"], { copy: true });
    truncateSync(entryFile(cache, DIGEST), 3);
    expect(await placeFile(cache, await source(), ["a"], { copy: true })).toMatchObject({ how: "copy", replaced: true });
    expect(readFileSync(entryFile(cache, DIGEST), "utf8")).toBe(CONTENT);
  });

  test("that is a link to nothing is replaced", async () => {
    mkdirSync(entryDirectory(cache, DIGEST), { recursive: true });
    symlinkSync("/nowhere/at/all", entryFile(cache, DIGEST));
    await placeFile(cache, await source(), []);
    expect(readFileSync(entryFile(cache, DIGEST), "utf8")).toBe(CONTENT);
  });

  test("shares its bytes with the file where it can; --copy has bytes of its own", async () => {
    const { how } = await placeFile(cache, await source(), []);
    expect(["reflink", "hard link"]).toContain(how);
    const shared = statSync(entryFile(cache, DIGEST)).ino === statSync(path.join(directory, "download")).ino;
    expect(shared).toBe(how === "hard link");
    rmSync(cache, { recursive: true });
    expect((await placeFile(cache, await source(), [], { copy: true })).how).toBe("copy");
    expect(statSync(entryFile(cache, DIGEST)).ino).not.toBe(statSync(path.join(directory, "download")).ino);
  });

  test("takes no second name of a file that others may not read", async () => {
    const from = await source();
    chmodSync(from.file, 0o600);
    const hashed = await hashOne(from.file, ["sha256"]);
    if (!hashed.ok) throw new Error(hashed.reason);
    await placeFile(cache, { ...from, identity: hashed.identity }, []);
    expect(statSync(entryFile(cache, DIGEST)).mode & 0o444).toBe(0o444);
  });
});

describe("never wrong bytes", () => {
  const changed = /changed while it was read.*Nothing was stored/;

  test("where the file changes behind its hashing", async () => {
    const from = await source();
    writeFileSync(from.file, "other bytes");
    await expect(placeFile(cache, from, ["a"])).rejects.toThrow(changed);
    expect(existsSync(path.join(cache, "content_addressable"))).toBe(false);
  });

  test("where it changes and its size and times say nothing, and it is copied", async () => {
    const from = await source();
    writeFileSync(from.file, CONTENT.replace("s", "S"));
    utimesSync(from.file, 1_600_000_000, 1_600_000_000);
    await expect(placeFile(cache, from, ["a"], { copy: true })).rejects.toThrow(changed);
    expect(existsSync(entryDirectory(cache, DIGEST))).toBe(false);
  });

  test("where it was written this very moment: it is copied and hashed once more", async () => {
    const file = path.join(directory, "download");
    writeFileSync(file, CONTENT);
    const now = new Date();
    utimesSync(file, now, now);
    const hashed = await hashOne(file, ["sha256"]);
    if (!hashed.ok) throw new Error(hashed.reason);
    expect(hashed.identity.settled).toBe(false);
    expect((await placeFile(cache, { file, digest: DIGEST, identity: hashed.identity }, [])).how).toBe("copy");
  });

  test("where the digest is another's", async () => {
    await expect(placeFile(cache, await source(CONTENT, digestOf("x", "sha256")), [], { copy: true })).rejects.toThrow(changed);
  });
});

describe("a move that does not come about", () => {
  test("because a directory stands in its place leaves the file where it was", async () => {
    mkdirSync(path.join(entryFile(cache, DIGEST), "sub"), { recursive: true });
    const from = await source();
    await expect(placeFile(cache, from, [], { move: true })).rejects.toThrow(/there is a directory where the file belongs; move it away/);
    expect(readFileSync(from.file, "utf8")).toBe(CONTENT);
    expect(existsSync(path.join(entryFile(cache, DIGEST), "sub"))).toBe(true);
  });

  test("because the file was changed since leaves it, too, and stores nothing", async () => {
    const from = await source();
    writeFileSync(from.file, "tampered");
    await expect(placeFile(cache, from, [], { move: true })).rejects.toThrow(/changed while it was read/);
    expect(readFileSync(from.file, "utf8")).toBe("tampered");
    expect(existsSync(entryDirectory(cache, DIGEST))).toBe(false);
  });
});

test("of a symbolic link the file is taken, not the link", async () => {
  const { file } = await source();
  const link = path.join(directory, "link");
  symlinkSync("download", link);
  const hashed = await hashOne(link, ["sha256"]);
  if (!hashed.ok) throw new Error(hashed.reason);
  await placeFile(cache, { file: link, digest: DIGEST, identity: hashed.identity }, []);
  rmSync(file);
  expect(lstatSync(entryFile(cache, DIGEST)).isFile()).toBe(true);
  expect(readFileSync(entryFile(cache, DIGEST), "utf8")).toBe(CONTENT);
});

test("a copy ends when it is told to, and leaves nothing", async () => {
  const reason = new Error("stop");
  await expect(placeFile(cache, await source(), [], { copy: true, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expect(existsSync(entryDirectory(cache, DIGEST))).toBe(false);
});

describe("a cache that cannot be written", () => {
  test("because a file stands in its way is one line that names the place", async () => {
    writeFileSync(cache, "");
    await expect(placeFile(cache, await source(), [])).rejects.toThrow(
      /content_addressable\/sha256\/\w+: cannot be written: a part of this path is no directory/,
    );
  });

  test("keeps what was there", async () => {
    await placeFile(cache, await source(), ["a"], { copy: true });
    truncateSync(entryFile(cache, DIGEST), 3);
    const from = await source();
    rmSync(from.file);
    await expect(placeFile(cache, from, ["a"], { copy: true })).rejects.toThrow(/no such file/);
    expect(names()).toEqual(["file", markerName("a", "sha256")]);
  });
});

test("moving takes the file away, also where it was there already", async () => {
  const from = await source();
  await placeFile(cache, from, [], { move: true });
  expect(existsSync(from.file)).toBe(false);
  const again = await source();
  await placeFile(cache, again, [], { move: true });
  expect(existsSync(again.file)).toBe(false);
});
