import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../cache/digest.js";
import { entryFile } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import { formatManifest, MANIFEST, type ManifestEntry } from "./manifest.js";
import { openStaging } from "./staging.js";
import { END, entryMember, inPieces, makeScratch, member, pathOf, paxRecord, putEntry, rawHeader, tarOf, treeOf } from "./test/raw-tar.js";
import { unpack } from "./unpack.js";

let scratch: ReturnType<typeof makeScratch>;
let cache: string;
beforeEach(() => {
  scratch = makeScratch();
  cache = path.join(scratch.directory, "cache");
  putEntry(cache, "was there before", ["https://x"]);
});
afterEach(() => scratch.remove());

const GOOD = "good bytes";
const digest = digestOf(GOOD, "sha256");
const good = entryMember(GOOD);
const marker = markerName("https://x/good", "sha256");
const upper = `content_addressable/sha256/${digest.hex.toUpperCase()}/file`;
const longName = pathOf(digestOf(GOOD, "sha512"), markerName("u", "sha512"));
const manifestOf = (...entries: Partial<ManifestEntry>[]) =>
  member({ name: MANIFEST }, formatManifest(entries.map((e) => ({ digest, size: GOOD.length, markers: [], names: [], urls: [], ...e }))));
const gnuLong = (name: string) => member({ name: "././@LongLink", type: "L", magic: "ustar  \0" }, `${name}\0`);
const pax = (...records: string[]) => member({ name: "PaxHeader", type: "x" }, records.join(""));

const REFUSED: [string, Buffer, RegExp][] = [
  ["a way up", tarOf(good, member({ name: "content_addressable/../../evil" }, "x")), /content_addressable\/\.\.\/\.\.\/evil: is not of a repository cache/],
  ["a way up at the start", tarOf(good, member({ name: "../evil" }, "x")), /\.\.\/evil: is not of/],
  ["a directory above", tarOf(good, member({ name: "../", type: "5" })), /\.\.\/: is not of/],
  ["an absolute path", tarOf(good, member({ name: `/${pathOf(digest)}` }, GOOD)), /\/content_addressable.*: is not of/],
  ["a path that is twice below here", tarOf(member({ name: `././${pathOf(digest)}` }, GOOD)), /is not of/],
  ["a path with an empty part", tarOf(member({ name: pathOf(digest).replace("sha256/", "sha256//") }, GOOD)), /is not of/],
  ["a file whose name ends like a directory's", tarOf(member({ name: `${pathOf(digest)}/` }, GOOD)), /is not of/],
  ["backslashes", tarOf(member({ name: pathOf(digest).replaceAll("/", "\\") }, GOOD)), /is not of/],
  ["an upper-case digest", tarOf(member({ name: upper }, GOOD)), /is not of/],
  ["an algorithm of its own", tarOf(member({ name: pathOf(digest).replace("sha256", "md5") }, GOOD)), /is not of/],
  ["another file of an entry", tarOf(good, member({ name: pathOf(digest, "tmp-1") }, "x")), /tmp-1: was left by an interrupted writer/],
  ["a file of macOS", tarOf(good, member({ name: pathOf(digest, "._file") }, "x")), /COPYFILE_DISABLE=1/],
  ["a foreign directory", tarOf(good, member({ name: "contents/", type: "5" })), /contents\/: is not of/],
  ["a NUL in the name", tarOf(member({ name: Buffer.from(`${pathOf(digest).slice(0, 80)}\0evil`) }, GOOD)), /has a NUL in its name/],
  ["a NUL in an extended name", tarOf(pax(paxRecord("path", `${pathOf(digest)}\0x`)), member({ name: "x" }, GOOD)), /is not of/],
  ["a name that is not UTF-8", tarOf(member({ name: Buffer.from([0x66, 0xff, 0xfe]) }, GOOD)), /has a name that is not UTF-8/],
  ["colours for the terminal", tarOf(member({ name: "\u001b[31mred" }, GOOD)), /^\?\[31mred: is not of/],
  ["a hard link", tarOf(good, member({ name: pathOf(digest, marker), type: "1", linkname: "/etc/passwd" })), /is a hard link; make the tar with/],
  ["a symbolic link", tarOf(good, member({ name: pathOf(digest, marker), type: "2", linkname: "/etc/passwd" })), /is a symbolic link; make the tar with/],
  ["a character device", tarOf(good, member({ name: pathOf(digest, marker), type: "3" })), /is a device/],
  ["a block device", tarOf(good, member({ name: pathOf(digest, marker), type: "4" })), /is a device/],
  ["a pipe", tarOf(good, member({ name: pathOf(digest, marker), type: "6" })), /is a pipe/],
  ["a contiguous file", tarOf(member({ name: pathOf(digest), type: "7" }, GOOD)), /is of a kind that no cache has \(tar type "7"\)/],
  ["a sparse file", tarOf(member({ name: pathOf(digest), type: "S" }, GOOD)), /is a sparse file/],
  ["a sparse file of pax", tarOf(pax(paxRecord("GNU.sparse.major", "1"), paxRecord("path", pathOf(digest))), member({ name: "x" }, GOOD)), /is a sparse file/],
  ["part of a backup", tarOf(member({ name: "content_addressable", type: "D" })), /is part of an incremental backup/],
  ["a volume's continuation", tarOf(member({ name: pathOf(digest), type: "M" }, GOOD)), /is a part of a multi-volume archive/],
  ["a file twice", tarOf(good, good), /\/file: is there twice/],
  ["a marker twice", tarOf(good, member({ name: pathOf(digest, marker) }), member({ name: pathOf(digest, marker) })), /id-.*: is there twice/],
  ["the same file with and without ./", tarOf(good, member({ name: `./${pathOf(digest)}` }, GOOD)), /is there twice/],
  [
    "other bytes than the directory says",
    tarOf(good, member({ name: pathOf(digestOf("this", "sha256")) }, "that")),
    /its bytes have sha256 \w+, not that of its directory/,
  ],
  ["no bytes under a digest", tarOf(member({ name: pathOf(digest) })), /its bytes have sha256 e3b0c442/],
  ["a marker with bytes in it", tarOf(good, member({ name: pathOf(digest, marker) }, "x")), /is a marker, and has 1 bytes in it/],
  ["a directory with bytes in it", tarOf(member({ name: "content_addressable/", type: "5" }, "x")), /is a directory with bytes in it/],
  ["a header with a wrong checksum", tarOf(good, member({ name: pathOf(digest, marker), checksum: "000001\0 " })), /is damaged/],
  ["a size that is too large", tarOf(good, member({ name: pathOf(digestOf("x", "sha256")), size: 4096 }, "x")), /is truncated/],
  ["a size that is too small", tarOf(member({ name: pathOf(digest), size: 3 }, GOOD)), /its bytes have sha256/],
  ["a size one block too large", tarOf(member({ name: pathOf(digest), size: 513 }, GOOD), good), /its bytes have sha256/],
  ["a size that is no number", tarOf(member({ name: pathOf(digest), size: "0000000zzz\0" }, GOOD)), /has an impossible size/],
  ["a negative size", tarOf(member({ name: pathOf(digest), size: "-0000000010\0" }, GOOD)), /has an impossible size/],
  ["a negative binary size", tarOf(member({ name: pathOf(digest), size: Buffer.alloc(12, 0xff) }, GOOD)), /has an impossible size/],
  ["a size beyond all numbers", tarOf(member({ name: pathOf(digest), size: Buffer.from([0x80, ...Array(11).fill(0xff)]) }, GOOD)), /has an impossible size/],
  ["another size in an extended header", tarOf(pax(paxRecord("size", "3")), member({ name: pathOf(digest) }, GOOD)), /its bytes have sha256/],
  ["an extended size that is no number", tarOf(pax(paxRecord("size", "-1")), good), /has an impossible size/],
  ["an extended size of two values", tarOf(pax(paxRecord("size", "10"), paxRecord("size", "3")), good), /two values for size/],
  ["a path for all entries", tarOf(member({ name: "g", type: "g" }, paxRecord("path", pathOf(digest))), good), /sets the path of every entry/],
  ["two names for one entry", tarOf(gnuLong(longName), pax(paxRecord("path", pathOf(digest))), good), /has two extended headers/],
  ["a long name for nothing", tarOf(good, gnuLong(longName)), /is announced, and then the archive ends/],
  ["a long name that leads out", tarOf(gnuLong(`../${"x".repeat(200)}`), member({ name: pathOf(digest), magic: "ustar  \0" }, GOOD)), /\.\.\/x+: is not of/],
  ["a long link name", tarOf(member({ name: "././@LongLink", type: "K", magic: "ustar  \0" }, "x\0"), good), /is of a kind that no cache has/],
  ["a malformed extended header", tarOf(pax("99 path=short\n"), good), /has a malformed extended header/],
  ["an extended header of no records", tarOf(pax("no digits here\n"), good), /has a malformed extended header/],
  ["a gigantic extended header", tarOf(rawHeader({ name: "PaxHeader", type: "x", size: 0o7777777777 })), /has an extended header of 1073741823 bytes/],
  [
    "a gigantic long name",
    tarOf(rawHeader({ name: "././@LongLink", type: "L", size: 2 * 1024 * 1024, magic: "ustar  \0" })),
    /has an extended header of 2097152 bytes/,
  ],
  ["a gigantic manifest", tarOf(rawHeader({ name: MANIFEST, size: 0o7777777777 })), /no manifest is as large/],
  ["no end", good, /is truncated: its end is missing/],
  ["half an end", Buffer.concat([good, END.subarray(512)]), /is truncated: the second half of its end is missing/],
  ["an end within a file", good.subarray(0, 515), /is truncated: 7 of its 10 bytes are missing/],
  ["an end within the padding", good.subarray(0, 600), /is truncated/],
  ["an end within a header", tarOf(good).subarray(0, 1200), /is truncated/],
  ["a second archive behind the end", Buffer.concat([tarOf(good), tarOf(entryMember("more"))]), /goes on behind its end/],
  ["a block of zeros between", Buffer.concat([good, END.subarray(512), entryMember("more"), END]), /goes on behind its end/],
  [
    "a marker in place of the second half of the end",
    Buffer.concat([good, END.subarray(512), member({ name: pathOf(digest, marker) }), END]),
    /goes on behind its end/,
  ],
  ["gzip", gzipSync(tarOf(good)), /is no tar but gzip'ed: gunzip first/],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, ...Array(600).fill(1)]), /unxz first/],
  ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...Array(600).fill(1)]), /unzstd first/],
  ["a zip file", Buffer.from([0x50, 0x4b, 3, 4, ...Array(600).fill(1)]), /is no tar but a zip file/],
  ["nothing", Buffer.alloc(0), /is empty/],
  ["text", Buffer.from("<html>log in first</html>".padEnd(700)), /is no tar$/],
  ["little text", Buffer.from("short"), /is no tar: it is too short/],
  ["an old tar", tarOf(member({ name: pathOf(digest), magic: "\0\0\0\0\0\0\0\0" }, GOOD)), /is a tar of a kind that is not read here/],
  ["a manifest that is no JSON", tarOf(member({ name: MANIFEST }, "{"), good), /bazel-cache\.json: is no JSON/],
  ["a manifest of tomorrow", tarOf(member({ name: MANIFEST }, '{"version": 2}'), good), /is of version 2, which this bazel-cache does not know yet/],
  ["somebody else's manifest", tarOf(member({ name: MANIFEST }, "[]"), good), /is no manifest of bazel-cache pack/],
  ["a manifest with a malformed entry", tarOf(member({ name: MANIFEST }, '{"version": 1, "entries": [{"sha256": "12"}]}'), good), /its entry 0 is malformed/],
  ["two manifests", tarOf(manifestOf({}), manifestOf({}), good), /bazel-cache\.json: is there twice/],
  ["a manifest that lists more", tarOf(manifestOf({}, { digest: digestOf("more", "sha256") }), good), /lists sha256:\w+, which is not in the archive/],
  ["a manifest that lists less", tarOf(manifestOf({}), good, entryMember("more")), /does not list sha256:\w+, which is in the archive/],
  ["a manifest with another size", tarOf(manifestOf({ size: 11 }), good), /says something else of sha256/],
  [
    "a manifest with another marker",
    tarOf(manifestOf({ markers: [marker] }), good, member({ name: pathOf(digest, markerName("other", "sha256")) })),
    /says something else/,
  ],
  ["a manifest that names an entry twice", tarOf(manifestOf({}, {}), good), /names sha256 \w+ twice/],
];

describe.each([65536, 1, 511])("an archive in pieces of %i bytes", (length) => {
  test.each(REFUSED)("with %s is refused, and the cache is as it was", async (_, tar, message) => {
    const before = treeOf(cache);
    await expect(unpack(inPieces(tar, length), cache)).rejects.toThrow(message);
    expect(treeOf(cache)).toEqual(before);
  });
});

test("a cache that was not there is not there after a refusal either, nor after a dry run", async () => {
  const fresh = path.join(scratch.directory, "not/there/yet");
  await expect(unpack(inPieces(tarOf(good, member({ name: "evil" }, "x"))), fresh)).rejects.toThrow("evil");
  await expect(unpack(inPieces(tarOf(good)), fresh, { dryRun: true })).resolves.toMatchObject([{ status: "unpacked" }]);
  expect(readdirSync(scratch.directory)).toEqual(["cache"]);
  await unpack(inPieces(tarOf(good)), fresh);
  expect(readdirSync(fresh)).toEqual(["content_addressable"]);
});

test("what is harmless is taken: directories, an owner, ./, attributes, long names, padding, markers without bytes", async () => {
  const sha512 = digestOf(GOOD, "sha512");
  const tar = Buffer.concat([
    member({ name: "pax_global_header", type: "g" }, paxRecord("comment", "of git archive")),
    member({ name: "./", type: "5" }),
    member({ name: "content_addressable", type: "5" }),
    member({ name: "content_addressable/sha256/", type: "5" }),
    member({ name: "./content_addressable/sha256/", type: "5" }),
    member({ name: `content_addressable/sha256/${digest.hex}/`, type: "5" }),
    pax(paxRecord("mtime", "1.5"), paxRecord("SCHILY.xattr.user.x", "y")),
    member({ name: `./${pathOf(digest, marker)}` }),
    good,
    gnuLong(longName),
    member({ name: longName, magic: "ustar  \0" }),
    member({ name: "file", prefix: pathOf(sha512).replace(/\/file$/, "") }, GOOD),
    member({ name: pathOf(digestOf("nowhere", "sha256"), marker) }),
    Buffer.alloc(10240),
  ]);
  const results = await unpack(inPieces(tar, 100), cache);
  expect(results.map((r) => [r.digest.algorithm, r.status, r.added.length])).toEqual([
    ["sha256", "unpacked", 1],
    ["sha512", "unpacked", 1],
  ]);
  expect(existsSync(entryFile(cache, digest)) && existsSync(entryFile(cache, sha512))).toBe(true);
  expect(existsSync(path.dirname(entryFile(cache, digestOf("nowhere", "sha256"))))).toBe(false);
});

test("more entries than are allowed are refused before they are read", async () => {
  const tar = tarOf(...Array.from({ length: 11 }, (_, i) => entryMember(`entry ${i}`)));
  await expect(unpack(inPieces(tar), cache, { most: 10 })).rejects.toThrow("has more than 10 entries");
  expect(readdirSync(path.join(cache, "content_addressable/sha256"))).toHaveLength(1);
  await expect(unpack(inPieces(tar), cache, { most: 11 })).resolves.toHaveLength(11);
});

test("an interruption while it is read leaves the cache as it was", async () => {
  const before = treeOf(cache);
  const source = async function* () {
    yield good;
    expect(readdirSync(path.join(cache, ".bazel-cache"))).toHaveLength(1);
    throw new Error("interrupted");
  };
  await expect(unpack(source(), cache)).rejects.toThrow("interrupted");
  expect(treeOf(cache)).toEqual(before);
});

test("stagings of dead processes are removed, those of living ones are not", async () => {
  const own = path.join(cache, ".bazel-cache");
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  for (const [name, owner] of [
    ["unpack-dead", { pid: dead, host: hostname() }],
    ["unpack-elsewhere", { pid: dead, host: "another-machine" }],
  ] as const) {
    mkdirSync(path.join(own, name), { recursive: true });
    writeFileSync(path.join(own, name, "owner.json"), JSON.stringify(owner));
    writeFileSync(path.join(own, name, "sha256-00"), "half");
  }
  const living = spawn("sleep", ["60"]);
  try {
    mkdirSync(path.join(own, "unpack-living"));
    writeFileSync(path.join(own, "unpack-living", "owner.json"), JSON.stringify({ pid: living.pid, host: hostname() }));
    const mine = openStaging(cache);
    await unpack(inPieces(tarOf(good)), cache);
    expect(readdirSync(own).toSorted()).toEqual([path.basename(mine.directory), "unpack-elsewhere", "unpack-living"].toSorted());
    mine.remove();
  } finally {
    living.kill();
  }
});
