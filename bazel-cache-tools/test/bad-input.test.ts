// Caches, files and declarations that nobody wishes for: one clear line, exit code 1 or 2, and the cache as it was.
import { spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Ended } from "../../test/e2e/command.js";
import { digestOf } from "../cache/digest.js";
import { buildBazelCache, Machine, snapshot } from "./command.js";

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

const CONTENT = "content\n";
const SHA256 = digestOf(CONTENT, "sha256").hex;

function oneLine({ stderr, code }: Ended, pattern: RegExp, expected = 1): void {
  expect(stderr).toMatch(pattern);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(code).toBe(expected);
}

/** Root may do everything: as root these tests run the command as nobody. */
const isRoot = process.getuid?.() === 0;
const nobody = isRoot ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : [];

describe("a cache that", () => {
  beforeEach(() => {
    chmodSync(machine.directory, 0o755);
    machine.write(
      "workspace/WORKSPACE",
      `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\nhttp_file(name = "f", url = "https://x.invalid/f", sha256 = "${SHA256}")\n`,
    );
  });

  test("cannot be read", async () => {
    mkdirSync(machine.cache);
    chmodSync(machine.cache, 0o000);
    for (const args of [["doctor"], ["seed", machine.write("f", CONTENT)], ["fetch"]])
      oneLine(await machine.run(args, { through: nobody }), /cache cannot be read: no permission; choose another cache with --cache/);
    chmodSync(machine.cache, 0o755);
  });

  test("cannot be read in one of its directories", async () => {
    mkdirSync(path.join(machine.cache, "content_addressable/sha256"), { recursive: true });
    chmodSync(path.join(machine.cache, "content_addressable/sha256"), 0o000);
    oneLine(await machine.run(["doctor"], { through: nobody }), /content_addressable\/sha256: no permission to read it/);
    chmodSync(path.join(machine.cache, "content_addressable/sha256"), 0o755);
  });

  test("has an entry that cannot be read", async () => {
    await machine.run(["seed", machine.write("f", CONTENT), "--copy"]);
    chmodSync(machine.entry(CONTENT), 0o000);
    const { result, code } = await machine.json<{ downloads: { state: string; mend: string }[] }>(["doctor"], { through: nobody });
    expect(result.downloads).toMatchObject([{ state: "unreadable", mend: expect.stringContaining("chmod") }]);
    expect(code).toBe(1);
  });

  test("is read-only: doctor works, seed says so and leaves nothing", async () => {
    mkdirSync(path.join(machine.cache, "content_addressable"), { recursive: true });
    chmodSync(path.join(machine.cache, "content_addressable"), 0o555);
    const before = snapshot(machine.cache);
    oneLine(await machine.run(["seed", machine.write("f", CONTENT)], { through: nobody }), /cannot be written: no permission/);
    expect((await machine.run(["doctor"], { through: nobody })).stdout).toContain("1 miss");
    expect(snapshot(machine.cache)).toEqual(before);
  });

  test("is no directory", async () => {
    writeFileSync(machine.cache, "");
    oneLine(await machine.run(["doctor"]), /cache is no directory; choose another/);
  });
});

/** A file system of one megabyte, in a mount namespace of its own: `script` finds it at "$1". */
function onTinyDisk(script: string, args: string[]): ReturnType<typeof spawnSync> {
  const mount = path.join(machine.directory, "tiny");
  mkdirSync(mount);
  const user = isRoot ? [] : ["-r"];
  return spawnSync("unshare", [...user, "-m", "sh", "-ec", `mount -t tmpfs -o size=1m none "$1"; ${script}`, "sh", mount, ...args], {
    encoding: "utf8",
    env: machine.environment(),
  });
}

const canMount = process.platform === "linux" && spawnSync("unshare", [...(isRoot ? [] : ["-r"]), "-m", "true"]).status === 0;

// Where user namespaces are switched off and the tests do not run as root, there is no small disk to be had.
test.skipIf(!canMount)("a disk that becomes full: one line, nothing half written, and what was there stays", async () => {
  const small = machine.write("small", CONTENT);
  const large = machine.write("large", Buffer.alloc(3 * 1024 * 1024, 1));
  const { CLI } = await import("./command.js");
  const run = `"${process.execPath}" "${CLI}" seed --no-workspace --cache "$1/cache"`;
  const { stdout, stderr, status } = onTinyDisk(
    `${run} "$2"; ${run} "$3" && exit 9 || echo "code $?"; find "$1" -type f -size +0 -exec sha256sum {} +; find "$1" -name 'tmp-*'; ls "$1/cache/content_addressable/sha256" | wc -l`,
    [small, large],
  );
  expect(stderr).toMatch(/^bazel-cache: .*: cannot be written: the disk is full; free some space/);
  expect(String(stderr).trim().split("\n")).toHaveLength(1);
  expect(stdout).toMatch(/code 1\n/);
  expect(stdout).toMatch(new RegExp(`${SHA256} .*/${SHA256}/file\n1\n$`));
  expect(status).toBe(0);
});

describe("a file that", () => {
  test("is written while it is read is never stored", { timeout: 60_000 }, async () => {
    const file = machine.write("growing", Buffer.alloc(64 * 1024 * 1024));
    const running = machine.start(["seed", "--no-workspace", file, "--cache", machine.cache]);
    let ended = false;
    void running.ended.then(() => {
      ended = true;
    });
    // Another writer, as a browser is: it goes on until the command gives up.
    while (!ended) {
      appendFileSync(file, Buffer.alloc(64 * 1024, 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
    oneLine(await running.ended, /growing.*changed while it was read: is it still being downloaded\?/);
    expect(existsSync(path.join(machine.cache, "content_addressable"))).toBe(false);
  });
});

describe("declarations that are", () => {
  const declarations = async (name: string, text: string | Uint8Array, expected: { pattern: RegExp; code: number }, ...args: string[]) => {
    const file = machine.write(`workspace/${name}`, text);
    const ended = await machine.run(["doctor", ...(name.endsWith(".json") ? ["--from-json", file] : []), ...args]);
    expect(`${ended.stdout}${ended.stderr}`).toMatch(expected.pattern);
    expect(ended.stderr.split("\n").length).toBeLessThanOrEqual(2);
    expect(ended.code).toBe(expected.code);
    expect(existsSync(machine.cache)).toBe(false);
  };

  test.each([
    ["not JSON", "[1,\n2", /list\.json(:\d)?: is no JSON/, 1],
    ["empty", "", /list\.json.*is no JSON \(it is empty\)/, 1],
    ["an object", "{}", /list\.json: write a list/, 2],
    ["a list of numbers", "[1]", /\[0\]: is no object/, 2],
    ["without a digest", '[{"urls": ["https://x.invalid"]}]', /\[0\]: needs "sha256"/, 2],
    ["of a field that is misspelled", `[{"url": "https://x.invalid", "sha-256": "${SHA256}"}]`, /\[0\]: sha-256: no such field/, 2],
    ["of wrong types", `[{"urls": [1], "sha256": "${SHA256}"}]`, /\[0\]: urls: is no list of strings/, 2],
    ["nested a million deep", "[".repeat(1_000_000), /list\.json.*(nested too deeply|is no JSON)/, 1],
  ] as const)("JSON %s", async (_, text, pattern, code) => declarations("list.json", text, { pattern, code }));

  test("100 MB of JSON", async () =>
    declarations("list.json", Buffer.alloc(100 * 1024 * 1024, "[1,"), { pattern: /list\.json: 104857600 bytes are too many/, code: 1 }));

  test("a lockfile of rubbish, or nested deep", async () => {
    machine.write("workspace/MODULE.bazel", "");
    await declarations("MODULE.bazel.lock", "{", { pattern: /MODULE\.bazel\.lock.*is no JSON/, code: 1 });
    await declarations("MODULE.bazel.lock", `{"moduleExtensions": ${'{"a":'.repeat(5000)}1${"}".repeat(5001)}`, {
      pattern: /no downloads are declared/,
      code: 0,
    });
    await declarations(
      "MODULE.bazel.lock",
      '{"registryFileHashes": {"x": 1, "https://r.invalid/modules/a/1/source.json": "zz"}, "moduleExtensions": [null, {"attributes": 1}]}',
      { pattern: /no downloads are declared/, code: 0 },
    );
  });

  test.each([
    ["nested deep", `x = ${"(".repeat(100_000)}`, /WORKSPACE:\d+: .*nested/],
    ["endless recursion", "def f():\n    f()\nf()\n", /WORKSPACE:\d+: /],
    ["endless work", "def f():\n    for i in range(1000000):\n        for j in range(1000000):\n            pass\nf()\n", /WORKSPACE:\d+: .*(steps|elements)/],
    ["too much memory", 'x = "a" * 1000000000\n', /WORKSPACE:1: .*characters/],
    ["doubling lists", `x = [0]\n${"x = x + x\n".repeat(60)}`, /WORKSPACE:\d+: .*(elements|steps)/],
    ["binary", Buffer.from(Array.from({ length: 4096 }, (_, i) => i % 256)), /WORKSPACE:\d+: /],
  ] as const)("Starlark that is %s", async (_, text, pattern) => declarations("WORKSPACE", text, { pattern, code: 1 }));

  test("100 MB of Starlark", async () =>
    declarations("WORKSPACE", Buffer.alloc(100 * 1024 * 1024, "# x\n"), { pattern: /WORKSPACE: 104857600 bytes are too many/, code: 1 }));

  test("loads in a circle, out of the workspace, and of nothing", async () => {
    machine.write("workspace/a.bzl", 'load(":b.bzl", "b")\na = b\n');
    machine.write("workspace/b.bzl", 'load(":a.bzl", "a")\nb = a\n');
    machine.write("secret.bzl", "x = 1\n");
    await declarations("WORKSPACE", 'load("//:a.bzl", "a")\nload("//:../secret.bzl", "x")\nload("//:none.bzl", "y")\na()\nx()\ny()\n', {
      pattern: /WORKSPACE:4: .*loads itself[\s\S]*WORKSPACE:5: .*is no label[\s\S]*WORKSPACE:6: .*there is no none\.bzl/,
      code: 1,
    });
  });

  test("a WORKSPACE that is a loop of links", async () => {
    symlinkSync("WORKSPACE", path.join(machine.workspace, "WORKSPACE"));
    const { code, stderr } = await machine.run(["doctor"]);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(2);
  });
});

test("old leavings of others are no reason to fail", async () => {
  const file = machine.write("f", CONTENT);
  await machine.run(["seed", file, "--no-workspace"]);
  const entry = path.dirname(machine.entry(CONTENT));
  writeFileSync(path.join(entry, "tmp-dead"), "x");
  utimesSync(path.join(entry, "tmp-dead"), 1, 1);
  expect((await machine.run(["seed", file, "--no-workspace", "--url", "https://x.invalid"])).code).toBe(0);
  expect(readdirSync(entry)).toContain("tmp-dead");
});
