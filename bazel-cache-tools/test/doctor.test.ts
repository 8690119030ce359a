// bazel-cache doctor, as users run it: one state for each way in which a download can be missed.
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { digestOf, formatIntegrity } from "../cache/digest.js";
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
  deep: { findings: { path: string; what: string }[]; verified: number };
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

  test("local only with the right bytes, and one that is no path ends nothing", async () => {
    const file = machine.write("here.txt", "other bytes");
    declare(rule("data", `urls = ["file://host/x", "file:///%2F", "file://${file}"], sha256 = "${DIGEST.hex}"`));
    expect(await state()).toMatchObject({ state: "miss", code: 1, reason: expect.stringContaining("has other bytes") });
  });

  test("local: a file: URL that is there", async () => {
    const file = machine.write("here.txt", CONTENT);
    declare(rule("data", `url = "file://${file}", sha256 = "${DIGEST.hex}"`));
    expect(await state()).toMatchObject({ state: "local", code: 0 });
  });
});

describe("files where people put them who know how it works, almost", () => {
  const places = (): [string, RegExp][] => [
    [path.join(machine.cache, DIGEST.hex), /lies in the cache's top as/],
    [path.join(machine.cache, "content_addressable", DIGEST.hex), /lies in content_addressable as/],
    [path.join(machine.cache, "sha256", DIGEST.hex), /lies in sha256 as/],
    [path.join(machine.cache, "content_addressable/sha512", DIGEST.hex), /lies in/],
    [entryDirectory(machine.cache, DIGEST), /lies in content_addressable\/sha256 as/],
    [path.join(machine.cache, "content_addressable/sha256", DIGEST.hex, "v8.tar.gz"), /"v8\.tar\.gz"/],
  ];

  test("are found and put in place, each", async () => {
    declare(declared);
    for (const [file, reason] of places()) {
      const relative = path.relative(machine.directory, file);
      machine.write(relative, CONTENT);
      if (path.basename(file) === "v8.tar.gz") machine.write(path.join(path.dirname(relative), "README"), "not it");
      expect(await state(), file).toMatchObject({ state: "wrong directory", reason: expect.stringMatching(reason) });
      expect((await machine.run(["doctor", "--fix"])).code, file).toBe(0);
      expect(readFileSync(machine.entry(CONTENT), "utf8")).toBe(CONTENT);
      rmSync(machine.cache, { recursive: true });
    }
  });

  test("with other bytes are no more than a miss", async () => {
    declare(declared);
    machine.write(path.relative(machine.directory, path.join(machine.cache, "content_addressable/sha256", DIGEST.hex.toUpperCase(), "file")), "wrong");
    expect(await state()).toMatchObject({ state: "miss", reason: expect.stringContaining("has other bytes") });
  });
});

describe("nothing of anybody's is lost", () => {
  test("a directory where the file belongs, with something in it", async () => {
    declare(declared);
    machine.write(path.relative(machine.directory, path.join(machine.entry(CONTENT), "mine")), CONTENT);
    await machine.run(["doctor", "--deep", "--fix"]);
    expect(readFileSync(path.join(machine.entry(CONTENT), "mine"), "utf8")).toBe(CONTENT);
  });

  test("bytes under another download's digest", async () => {
    declare(declared);
    machine.write(path.relative(machine.directory, machine.entry(CONTENT)), "another version");
    expect((await machine.run(["doctor", "--fix"])).code).toBe(1);
    expect(readFileSync(machine.entry(CONTENT), "utf8")).toBe("another version");
  });

  test("files below the cache that --search finds are copied, and valid entries stay", async () => {
    const integrity = formatIntegrity(digestOf(CONTENT, "sha512"));
    declare(declared, rule("other", `url = "https://x.invalid/o", integrity = "${integrity}"`));
    await seed("--no-workspace", "--integrity", integrity);
    machine.write("cache/mine/copy", CONTENT);
    expect((await machine.run(["doctor", "--fix", "--search", machine.cache])).code).toBe(0);
    expect(existsSync(machine.entry(CONTENT, "sha512"))).toBe(true);
    expect(existsSync(path.join(machine.cache, "mine/copy"))).toBe(true);
    expect(existsSync(machine.entry(CONTENT))).toBe(true);
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

const STALE = `tmp-${randomUUID()}`;
const FRESH = `tmp-${randomUUID()}`;

describe("--deep", () => {
  test("verifies what nobody declares, and names leftovers; --fix removes them", async () => {
    declare(declared);
    await seed();
    expect((await machine.run(["seed", machine.write("g", "undeclared"), "--no-workspace", "--copy"])).code).toBe(0);
    writeFileSync(machine.entry("undeclared"), "rotten");
    const stale = path.join(entryDirectory(machine.cache, DIGEST), STALE);
    writeFileSync(stale, "half");
    utimesSync(stale, 1_600_000_000, 1_600_000_000);
    writeFileSync(path.join(entryDirectory(machine.cache, DIGEST), FRESH), "somebody writes it now");
    expect((await machine.run(["doctor"])).code).toBe(0);
    const { code, result } = await machine.json<Result>(["doctor", "--deep"]);
    expect(code).toBe(1);
    expect(result.deep.findings.map((d) => path.basename(d.path)).sort()).toEqual(["file", STALE]);
    expect((await machine.run(["doctor", "--deep", "--fix"])).code).toBe(0);
    expect(existsSync(stale)).toBe(false);
    expect(existsSync(machine.entry("undeclared"))).toBe(false);
    expect(existsSync(path.join(entryDirectory(machine.cache, DIGEST), FRESH))).toBe(true);
  });
});

describe("settings that decide which marker is asked for", () => {
  test("Bazel 7 without ids of URLs, Bazel 6 with them", async () => {
    declare(declared);
    await seed("--no-workspace");
    machine.write(
      "workspace/.bazelrc",
      "common --repo_env=BAZEL_HTTP_RULES_URLS_AS_DEFAULT_CANONICAL_ID=0\nbuild --experimental_repository_cache_urls_as_default_canonical_id\n",
    );
    expect(await state("--bazel-version", "7.7.1")).toMatchObject({ state: "hit" });
    expect(await state("--bazel-version", "6.5.0")).toMatchObject({ state: "marker missing" });
    await machine.run(["doctor", "--bazel-version", "6.5.0", "--fix"]);
    expect(await state("--bazel-version", "6.5.0")).toMatchObject({ state: "hit" });
  });

  test("MODULE.bazel and WORKSPACE count as this Bazel counts them", async () => {
    declare(declared);
    machine.write(
      "workspace/WORKSPACE.bzlmod",
      `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\n${rule("mod", `url = "https://x.invalid/m", sha256 = "${DIGEST.hex}"`)}`,
    );
    machine.write("workspace/MODULE.bazel", 'module(name = "m")\n');
    const names = async (version: string) => (await machine.json<Result>(["doctor", "--bazel-version", version])).result.downloads.map((d) => d.name);
    expect([await names("6.5.0"), await names("7.7.1"), await names("8.0.0"), await names("9.0.0")]).toEqual([["data"], ["mod"], [], []]);
    machine.write("workspace/.bazelrc", "common --enable_workspace --noenable_bzlmod\n");
    expect(await names("7.7.1")).toEqual(["data"]);
  });
});

describe("what it reads", () => {
  test("a repository that is declared twice is the last of them", async () => {
    declare(declared, rule("data", `url = "https://x.invalid/2", sha256 = "${"2".repeat(64)}"`));
    expect((await machine.json<Result>(["doctor"])).result.downloads).toMatchObject([{ urls: ["https://x.invalid/2"] }]);
  });

  test("native.bazel_version, where it is known", async () => {
    machine.write(
      "workspace/d.bzl",
      `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\ndef deps():\n    http_file(name = "old" if native.bazel_version.startswith("0.") else "new", url = "https://x.invalid", sha256 = "${DIGEST.hex}")\n`,
    );
    machine.write("workspace/WORKSPACE", 'load("//:d.bzl", "deps")\ndeps()\n');
    expect((await machine.json<Result>(["doctor", "--bazel-version", "0.29.0"])).result.downloads).toMatchObject([{ name: "old" }]);
  });

  test("includes that include one another end", async () => {
    machine.write("workspace/MODULE.bazel", 'include("//:a.MODULE.bazel")\n');
    machine.write("workspace/a.MODULE.bazel", 'include("//:b.MODULE.bazel")\ninclude("//:b.MODULE.bazel")\n');
    machine.write("workspace/b.MODULE.bazel", 'include("//:a.MODULE.bazel")\ninclude("//:a.MODULE.bazel")\n');
    expect((await machine.json<Result>(["doctor"])).result.problems.length).toBeGreaterThan(0);
  });

  test("what the workspace's own files hide is exit code 1", async () => {
    machine.write("workspace/WORKSPACE", 'load("//:none.bzl", "x")\nload(\n');
    const { code, stdout } = await machine.run(["doctor"]);
    expect(stdout).toContain("as far as it could be read");
    expect(code).toBe(1);
    expect((await machine.run(["fetch"])).code).toBe(1);
  });

  test("the commands that it recommends keep its options", async () => {
    const list = machine.write("list.json", JSON.stringify([{ name: "j", urls: URLS, sha256: DIGEST.hex }]));
    const { stdout } = await machine.run(["doctor", "--from-json", list], { cwd: machine.home });
    expect(stdout).toContain(`$ bazel-cache fetch --cache ${machine.cache} --from-json ${list} --only j`);
  });

  test("hostile names do not reach the terminal", async () => {
    declare(rule("ev\\033[2Jil", `url = "https://x.invalid/\\033]0;x\\007", sha256 = "${"1".repeat(64)}"`));
    const { stdout } = await machine.run(["doctor"]);
    expect(stdout).toContain("ev?[2Jil");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there.
    expect(stdout).not.toMatch(/[\u001b\u0007]/);
  });

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
