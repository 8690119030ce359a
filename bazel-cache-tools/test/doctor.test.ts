// bazel-cache doctor, as users run it: one state for each way in which a download can be missed.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../cache/digest.js";
import { entryDirectory, entryFile } from "../cache/layout.js";
import { buildBazelCache, Machine, snapshot } from "./command.js";

const CONTENT = "content of the download\n";
const DIGEST = digestOf(CONTENT, "sha256");
const URLS = ["https://one.invalid/a.txt", "https://two.invalid/a.txt"];

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

const rule = (name: string, attributes: string) => `http_file(name = "${name}", ${attributes})\n`;
const declare = (...rules: string[]) =>
  machine.write(
    "workspace/WORKSPACE",
    `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\nload("@bazel_tools//tools/build_defs/repo:git.bzl", "git_repository")\n${rules.join("")}`,
  );
const declared = rule("data", `urls = ${JSON.stringify(URLS)}, sha256 = "${DIGEST.hex}"`);

interface Result {
  downloads: { name: string; state: string; reason: string; mend?: string }[];
  missing: number;
  problems: { at: string; message: string }[];
  deep: { path: string; what: string }[];
}

async function state(...args: string[]): Promise<{ state: string | undefined; reason: string | undefined; code: number | null; mend: string | undefined }> {
  const { code, result } = await machine.json<Result>(["doctor", ...args]);
  const [first] = result.downloads;
  return { state: first?.state, reason: first?.reason, code, mend: first?.mend };
}

async function seed(...args: string[]): Promise<void> {
  const { code, stderr } = await machine.run(["seed", machine.write("f", CONTENT), "--copy", ...args]);
  expect(stderr).toBe("");
  expect(code).toBe(0);
}

describe("states", () => {
  test("hit", async () => {
    declare(declared);
    await seed();
    expect(await state()).toMatchObject({ state: "hit", code: 0, mend: undefined });
  });

  test("miss, with the command that mends it", async () => {
    declare(declared);
    expect(await state()).toMatchObject({ state: "miss", code: 1, mend: expect.stringMatching(/^bazel-cache fetch .* --only data$/) });
  });

  test("marker missing: from Bazel 7 on, and not before", async () => {
    declare(declared);
    await seed("--no-workspace");
    expect(await state()).toMatchObject({ state: "marker missing", code: 1 });
    expect(await state("--bazel-version", "7.0.0")).toMatchObject({
      state: "marker missing",
      reason: expect.stringMatching(/Bazel 7.0.0 keeps the list of its URLs.*/),
    });
    expect(await state("--bazel-version", "6.5.0")).toMatchObject({ state: "hit", code: 0 });
    machine.write("workspace/.bazelversion", "6.4.0\n");
    expect(await state()).toMatchObject({ state: "hit" });
  });

  test("marker missing: of one URL where the list has two", async () => {
    declare(declared);
    await seed("--no-workspace", "--url", URLS[0]!);
    expect(await state()).toMatchObject({ state: "marker missing", reason: expect.stringContaining("markers of other URLs") });
  });

  test("an explicit canonical id is asked for by every version that knows it", async () => {
    declare(rule("data", `urls = ${JSON.stringify(URLS)}, sha256 = "${DIGEST.hex}", canonical_id = "x"`));
    await seed("--no-workspace", "--url", URLS[0]!, "--url", URLS[1]!);
    expect(await state("--bazel-version", "4.2.3")).toMatchObject({ state: "marker missing", reason: expect.stringContaining('its canonical_id is "x"') });
    await seed("--no-workspace", "--canonical-id", "x");
    expect(await state()).toMatchObject({ state: "hit" });
  });

  test("wrong digest: which one it has, and what it seems to be", async () => {
    declare(declared);
    await seed();
    truncateSync(machine.entry(CONTENT), 0);
    expect(await state()).toMatchObject({ state: "wrong digest", code: 1, reason: expect.stringMatching(/0 bytes\) has sha256 e3b0c442.*: it is empty/) });
  });

  test("wrong directory: upper case, the cache's top, the wrong algorithm, another name", async () => {
    declare(declared);
    await seed();
    const right = entryDirectory(machine.cache, DIGEST);
    for (const [to, reason] of [
      [path.join(path.dirname(right), DIGEST.hex.toUpperCase()), /upper case/],
      [path.join(machine.cache, DIGEST.hex), /lies in/],
      [path.join(machine.cache, "content_addressable", DIGEST.hex), /lies in/],
      [path.join(machine.cache, "content_addressable/blake3", DIGEST.hex), /lies in/],
    ] as const) {
      mkdirSync(path.dirname(to), { recursive: true });
      renameSync(right, to);
      expect(await state(), to).toMatchObject({ state: "wrong directory", code: 1, reason: expect.stringMatching(reason) });
      renameSync(to, right);
    }
    renameSync(path.join(right, "file"), path.join(right, "a.txt"));
    expect(await state()).toMatchObject({ state: "wrong directory", reason: expect.stringContaining('"a.txt"') });
  });

  test("wrong directory: another cache of this machine", async () => {
    declare(declared);
    const other = path.join(machine.home, ".cache/bazel/_bazel_ann/cache/repos/v1");
    expect((await machine.run(["seed", machine.write("f", CONTENT), "--cache", other])).code).toBe(0);
    expect(await state()).toMatchObject({ state: "wrong directory", reason: expect.stringContaining(other) });
    expect((await machine.run(["doctor", "--fix"])).code).toBe(0);
    expect(existsSync(entryFile(other, DIGEST))).toBe(true);
  });

  test("never cacheable: no checksum, git", async () => {
    declare(rule("open", 'url = "https://x.invalid/a"'), 'git_repository(name = "g", remote = "https://x.invalid/g.git", commit = "1")\n');
    const { code, result } = await machine.json<Result>(["doctor"]);
    expect(result.downloads.map((d) => [d.name, d.state])).toEqual([
      ["open", "never cacheable"],
      ["g", "never cacheable"],
    ]);
    expect(result.downloads[0]!.reason).toContain("no sha256");
    expect(code).toBe(1);
    expect((await machine.run(["doctor", "--ignore", "open", "--ignore", "g*"])).code).toBe(0);
  });

  test("local: a file: URL that is there", async () => {
    const file = machine.write("here.txt", CONTENT);
    declare(rule("data", `url = "file://${file}", sha256 = "${DIGEST.hex}"`));
    expect(await state()).toMatchObject({ state: "local", code: 0 });
  });
});

describe("--fix", () => {
  test("adds markers, puts misplaced files in place, and the next doctor is content", async () => {
    declare(declared);
    await seed("--no-workspace");
    expect((await machine.run(["doctor", "--fix"])).stdout).toContain("mended data: added");
    const right = entryDirectory(machine.cache, DIGEST);
    renameSync(right, path.join(path.dirname(right), DIGEST.hex.toUpperCase()));
    const { stdout, code } = await machine.run(["doctor", "--fix"]);
    expect(stdout).toContain("mended data: took");
    expect(code).toBe(0);
    expect(readdirSync(path.dirname(right))).toEqual([DIGEST.hex]);
  });

  test("gives bytes under a wrong digest to the download they belong to", async () => {
    const other = digestOf("other\n", "sha256").hex;
    declare(declared, rule("other", `url = "https://x.invalid/o", sha256 = "${other}"`));
    await seed();
    writeFileSync(machine.entry(CONTENT), "other\n");
    const { result } = await machine.json<Result>(["doctor", "--fix"]);
    expect(result.downloads.map((d) => [d.name, d.state])).toEqual([
      ["data", "miss"],
      ["other", "hit"],
    ]);
    expect(readFileSync(machine.entry("other\n"), "utf8")).toBe("other\n");
  });

  test("finds missing bytes in --search, by digest", async () => {
    declare(declared);
    machine.write("usb/deep/er/whatever", CONTENT);
    expect((await machine.run(["doctor", "--fix", "--search", path.join(machine.directory, "usb")])).code).toBe(0);
  });

  test("without it nothing is touched", async () => {
    declare(declared);
    await seed("--no-workspace");
    const before = snapshot(machine.cache);
    await machine.run(["doctor", "--deep"]);
    expect(snapshot(machine.cache)).toEqual(before);
  });
});

describe("--deep", () => {
  test("verifies what nobody declares, and names leftovers; --fix removes them", async () => {
    declare(declared);
    await seed();
    expect((await machine.run(["seed", machine.write("g", "undeclared"), "--no-workspace", "--copy"])).code).toBe(0);
    writeFileSync(machine.entry("undeclared"), "rotten");
    const stale = path.join(entryDirectory(machine.cache, DIGEST), "tmp-1");
    writeFileSync(stale, "half");
    utimesSync(stale, 1_600_000_000, 1_600_000_000);
    writeFileSync(path.join(entryDirectory(machine.cache, DIGEST), "tmp-2"), "somebody writes it now");
    expect((await machine.run(["doctor"])).code).toBe(0);
    const { code, result } = await machine.json<Result>(["doctor", "--deep"]);
    expect(code).toBe(1);
    expect(result.deep.map((d) => path.basename(d.path)).sort()).toEqual(["file", "tmp-1"]);
    expect((await machine.run(["doctor", "--deep", "--fix"])).code).toBe(0);
    expect(existsSync(stale)).toBe(false);
    expect(existsSync(machine.entry("undeclared"))).toBe(false);
    expect(existsSync(path.join(entryDirectory(machine.cache, DIGEST), "tmp-2"))).toBe(true);
  });
});

describe("what it reads", () => {
  test("--from-json, without a workspace", async () => {
    const list = machine.write("list.json", JSON.stringify([{ name: "j", urls: URLS, sha256: DIGEST.hex }]));
    const { code, result } = await machine.json<Result>(["doctor", "--from-json", list], { cwd: machine.home });
    expect(result.downloads.map((d) => [d.name, d.state])).toEqual([["j", "miss"]]);
    expect(code).toBe(1);
  });

  test("a file of declarations that is named", async () => {
    machine.write("workspace/WORKSPACE", "");
    const file = machine.write(
      "workspace/deps/table.bzl",
      `T = dict(x = dict(version = "1.2", sha256 = "${DIGEST.hex}", urls = ["https://x.invalid/{version}/{dash_version}"]))`,
    );
    const { result } = await machine.json<Result>(["doctor", file]);
    expect(result.downloads).toMatchObject([{ name: "x", urls: ["https://x.invalid/1.2/1-2"], at: "deps/table.bzl:1" }]);
  });

  test("what it cannot evaluate it names by file and line", async () => {
    declare(declared, 'load("@elsewhere//:deps.bzl", "deps")\n', "deps()\n", "oops(\n");
    const { result } = await machine.json<Result>(["doctor"]);
    expect(result.problems.map((p) => p.at)).toEqual(["WORKSPACE:5", expect.stringMatching(/^WORKSPACE:\d+$/)]);
    expect(result.downloads.map((d) => d.name)).toEqual(["data"]);
  });

  test("outside of any workspace it says what to do", async () => {
    const { code, stderr } = await machine.run(["doctor"], { cwd: machine.home });
    expect(stderr).toMatch(/there is no workspace here or above .*--from-json/);
    expect(code).toBe(2);
  });
});

test("where: the rule that decided", async () => {
  machine.write("workspace/WORKSPACE", "");
  machine.write("workspace/.bazelrc", "common --repository_cache='/my cache'\n");
  const { stdout, stderr } = await machine.run(["where"], { env: { BAZEL_REPOSITORY_CACHE: "" } });
  expect(stdout).toBe("/my cache\n");
  expect(stderr).toMatch(/→ \.bazelrc --repository_cache/);
});
