// bazel-cache seed, as users run it.
import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { digestOf, formatIntegrity } from "../cache/digest.js";
import { markerName } from "../cache/markers.js";
import { buildBazelCache, Machine, snapshot } from "./command.js";

const V8 = gzipSync("the source of v8\n".repeat(1000));
const SHA256 = digestOf(V8, "sha256").hex;
const URL = "https://github.com/v8/v8/archive/refs/tags/14.6.202.10.tar.gz";

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

const declare = (attributes = `url = "${URL}", sha256 = "${SHA256}"`) =>
  machine.write("workspace/WORKSPACE", `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")\nhttp_archive(name = "v8", ${attributes})\n`);
const markers = () => readdirSync(path.dirname(machine.entry(V8))).filter((name) => name !== "file");

describe("a file", () => {
  test("that the workspace declares is known by its digest, whatever its name", async () => {
    declare();
    const file = machine.write("downloads/v8 (1).bin", V8);
    const { code, stdout } = await machine.run(["seed", file]);
    expect(stdout).toContain("seeded v8");
    expect(code).toBe(0);
    expect(readFileSync(machine.entry(V8))).toEqual(V8);
    expect(markers()).toContain(markerName(URL, "sha256"));
    expect(existsSync(file)).toBe(true);
  });

  test("is given with its digest and URLs where there is no workspace", async () => {
    const file = machine.write("f.tar.gz", V8);
    const urls = ["--url", `${URL}?a`, "--url", `${URL}?b`];
    expect((await machine.run(["seed", file, "--sha256", SHA256.toUpperCase(), ...urls, "--canonical-id", "mine"], { cwd: machine.home })).code).toBe(0);
    for (const id of [`${URL}?a ${URL}?b`, `${URL}?a`, `${URL}?b`, "mine"]) expect(markers()).toContain(markerName(id, "sha256"));
  });

  test("of another algorithm goes where that algorithm's entries are", async () => {
    const file = machine.write("f", V8);
    const digest = digestOf(V8, "sha512");
    expect((await machine.run(["seed", file, "--integrity", formatIntegrity(digest), "--url", URL])).code).toBe(0);
    expect(readFileSync(machine.entry(V8, "sha512"))).toEqual(V8);
    expect(readdirSync(path.dirname(machine.entry(V8, "sha512")))).toContain(markerName(URL, "sha512"));
    expect(existsSync(machine.entry(V8))).toBe(false);
  });

  test("twice is once", async () => {
    declare();
    const file = machine.write("f", V8);
    await machine.run(["seed", file]);
    const before = snapshot(machine.cache);
    const { stdout, code } = await machine.run(["seed", file]);
    expect(stdout).toContain("already there");
    expect(code).toBe(0);
    expect(snapshot(machine.cache)).toEqual(before);
  });

  test("shares its bytes where it can, and --copy does not", async () => {
    const file = machine.write("f", V8);
    utimesSync(file, 1_600_000_000, 1_600_000_000);
    const { result } = await machine.json<{ files: { how: string }[] }>(["seed", file]);
    expect(["reflink", "hard link"]).toContain(result.files[0]!.how);
    rmSync(machine.cache, { recursive: true });
    await machine.run(["seed", file, "--copy"]);
    expect(statSync(machine.entry(V8)).ino).not.toBe(statSync(file).ino);
  });

  test("with --dry-run changes nothing", async () => {
    declare();
    const { stdout } = await machine.run(["seed", machine.write("f", V8), "--dry-run"]);
    expect(stdout).toContain("would seed v8");
    expect(existsSync(machine.cache)).toBe(false);
  });
});

describe("a directory", () => {
  test("gives the declared files; others, incomplete downloads and loops of links are passed over", async () => {
    declare();
    machine.write("d/sub/a", V8);
    machine.write("d/b.txt", "nobody declares this");
    machine.write("d/c.tar.gz.part", V8.subarray(0, 10));
    const { symlinkSync } = await import("node:fs");
    symlinkSync(".", path.join(machine.directory, "d/loop"));
    symlinkSync("loop2", path.join(machine.directory, "d/loop2"));
    const { code, stdout } = await machine.run(["seed", path.join(machine.directory, "d")]);
    expect(stdout).toMatch(/1 seeded, 0 already there, 1 passed over/);
    expect(code).toBe(0);
  });
});

describe("bytes that are not what was declared are never stored", () => {
  const refused = async (args: string[], pattern: RegExp) => {
    const { code, stderr } = await machine.run(["seed", ...args]);
    expect(stderr).toMatch(pattern);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(1);
    expect(existsSync(machine.cache)).toBe(false);
  };

  test("truncated: both digests, the size, and that it looks truncated", async () => {
    const half = V8.subarray(0, 50);
    const actual = digestOf(half, "sha256").hex;
    await refused([machine.write("v8.tar.gz", half), "--sha256", SHA256], new RegExp(`${actual}.*50 bytes.*${SHA256}.*looks truncated`));
  });

  test("an HTML page", async () => {
    await refused([machine.write("v8.tar.gz", "<!doctype html><title>Log in</title>"), "--sha256", SHA256], /HTML page \("Log in"\)/);
  });

  test("other compression", async () => {
    await refused([machine.write("x.tar.xz", V8), "--sha256", "0".repeat(64)], /it is gzip, where xz was promised/);
  });

  test("a file whose name says which download it should be", async () => {
    declare();
    await refused([machine.write("14.6.202.10.tar.gz", V8.subarray(0, 60))], /not the declared \w{64} of v8.*truncated/);
  });

  test("a file that nothing declares, in a workspace", async () => {
    declare();
    await refused([machine.write("x", "other")], /none of the 1 downloads of .* has sha256 .*say --url or --sha256/);
  });
});

describe("wrong usage is one line and exit code 2", () => {
  test.each([
    [["seed", "x", "--sha256", "12"], /--sha256 12: no SHA-256; it has 64 hexadecimal digits/],
    [["seed", "x", "--integrity", "md5-x"], /--integrity md5-x: no integrity/],
    [["seed", "x", "--sha256", SHA256, "--integrity", "x"], /give one of them/],
    [["seed"], /missing required argument.*--help/],
    [["seed", "x", "--bazel-version", "new"], /--bazel-version new: no version/],
    [["fly"], /unknown command.*--help/],
  ])("%j", async (args, pattern) => {
    const { code, stderr } = await machine.run(args);
    expect(stderr).toMatch(pattern);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(2);
  });
});

describe("what cannot be read is one line and exit code 1", () => {
  test("nothing there, a loop of links, a link to nothing, a device", async () => {
    const { symlinkSync } = await import("node:fs");
    symlinkSync("loop", path.join(machine.workspace, "loop"));
    symlinkSync("/nowhere", path.join(machine.workspace, "dangling"));
    for (const [file, pattern] of [
      ["absent", /absent: there is no such file/],
      ["loop", /loop: a loop of symbolic links/],
      ["dangling", /dangling: is a symbolic link to nothing/],
      ["/dev/null", /\/dev\/null: is neither a file nor a directory/],
    ] as const) {
      const { code, stderr } = await machine.run(["seed", file]);
      expect(stderr).toMatch(pattern);
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect(code).toBe(1);
    }
    expect(existsSync(machine.cache)).toBe(false);
  });
});
