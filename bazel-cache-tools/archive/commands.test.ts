import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, watch as watchFiles, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Running, watch } from "../../test/e2e/command.js";
import { digestOf } from "../cache/digest.js";
import { buildBazelCache, CLI, Machine, snapshot } from "../test/command.js";
import { formatManifest, MANIFEST } from "./manifest.js";
import { entryMember, member, putEntry, tarOf } from "./test/raw-tar.js";

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

const LOAD = 'load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\n';
const declare = (...names: string[]) =>
  machine.write(
    "workspace/WORKSPACE",
    LOAD + names.map((name) => `http_file(name = "${name}", urls = ["https://x.invalid/${name}"], sha256 = "${digestOf(name, "sha256").hex}")\n`).join(""),
  );
const put = (...names: string[]) => {
  for (const name of names) putEntry(machine.cache, name);
};
const at = (name: string) => path.join(machine.directory, name);

test("what a workspace needs goes to another machine, and Bazel 7's markers with it", async () => {
  declare("one", "two");
  put("one", "two", "undeclared");
  expect(await machine.run(["pack", "-o", at("x.tar")])).toMatchObject({ code: 0, stdout: `packed 2 entries (6 B) into ${at("x.tar")}\n`, stderr: "" });
  const there = at("other/cache");
  const dry = await machine.run(["unpack", at("x.tar"), "--dry-run", "--cache", there]);
  expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining("2 to unpack") });
  expect(existsSync(there)).toBe(false);
  const { code, stdout } = await machine.run(["unpack", at("x.tar"), "--cache", there]);
  expect(code).toBe(0);
  expect(stdout.split("\n")).toEqual(expect.arrayContaining(["unpacked one (3 B)", "unpacked two (3 B)", `2 unpacked (6 B), 0 already there; ${there}`]));
  expect(await machine.run(["doctor", "--bazel-version", "7.7.1", "--cache", there])).toMatchObject({ code: 0, stdout: expect.stringContaining("2 hit") });
});

test("through a pipe, with --all, and as JSON", async () => {
  put("one", "undeclared");
  const packing = spawn(process.execPath, [CLI, "pack", "--all", "-o", "-", "--cache", machine.cache], { cwd: machine.workspace, env: machine.environment() });
  const pieces: Buffer[] = [];
  for await (const piece of packing.stdout) pieces.push(piece as Buffer);
  const copy = at("copy");
  const run = await machine.run(["unpack", "-", "--json", "--cache", copy], { input: Buffer.concat(pieces) });
  expect(JSON.parse(run.stdout)).toMatchObject({ cache: copy, dryRun: false, entries: [{ status: "unpacked" }, { status: "unpacked" }] });
  expect(snapshot(copy)).toEqual(snapshot(machine.cache));
});

test("missing downloads are named and nothing is written; --partial packs the rest", async () => {
  declare("one", "gone", "lost");
  put("one");
  const args = ["pack", "-o", at("x.tar")];
  const { code, stderr } = await machine.run(args);
  expect(code).toBe(1);
  expect(stderr).toContain("missing gone (WORKSPACE:3) https://x.invalid/gone\nmissing lost");
  expect(stderr).toContain("2 of 3 declared downloads are not in");
  expect(existsSync(at("x.tar"))).toBe(false);
  expect(await machine.run([...args, "--partial"])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("packed 1 entry"),
    stderr: expect.stringContaining("missing gone"),
  });
  expect(await machine.run([...args, "--ignore", "gone", "--ignore", "l*"])).toMatchObject({ code: 0, stderr: "" });
  expect(await machine.run([...args, "--only", "none"])).toMatchObject({ code: 1, stderr: expect.stringContaining("no declared download has that name") });
});

test("outside of a workspace --all is asked for, and an empty cache is nothing to pack", async () => {
  mkdirSync(at("empty"));
  expect(await machine.run(["pack", "-o", at("x.tar")], { cwd: at("empty") })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("there is no workspace"),
  });
  expect(await machine.run(["pack", "--all", "-o", at("x.tar")], { cwd: at("empty") })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("nothing to pack"),
  });
  expect(await machine.run(["pack"], { cwd: at("empty") })).toMatchObject({ code: 2, stderr: expect.stringContaining("--output") });
});

test("what is refused is one line and exit code 1, and nothing changes", async () => {
  put("one");
  const before = snapshot(machine.cache);
  const refused = async (content: Buffer, message: string) => {
    writeFileSync(at("x.tar"), content);
    const { code, stdout, stderr } = await machine.run(["unpack", at("x.tar")]);
    expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: "", stderr: expect.stringContaining(message) });
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(snapshot(machine.cache)).toEqual(before);
  };
  await refused(tarOf(entryMember("good"), member({ name: "../evil" }, "x")), `${at("x.tar")}: ../evil: is not of a repository cache`);
  await refused(entryMember("good"), `${at("x.tar")} is truncated: its end is missing; nothing was unpacked`);
  await refused(Buffer.from([0x1f, 0x8b, 8, 0]), "gunzip first");
  expect(await machine.run(["unpack", at("none.tar")])).toMatchObject({ code: 1, stderr: expect.stringContaining("there is no such file") });
  expect(await machine.run(["unpack", machine.workspace])).toMatchObject({ code: 2, stderr: expect.stringContaining("is a directory") });
});

test("names in a hostile manifest do not steer the terminal", async () => {
  const manifest = formatManifest([{ digest: digestOf("x", "sha256"), size: 1, markers: [], names: ["\u001b]0;owned\u0007"], urls: [] }]);
  const { code, stdout } = await machine.run(["unpack", "-"], { input: tarOf(member({ name: MANIFEST }, manifest), entryMember("x")) });
  expect([code, stdout]).toEqual([0, `unpacked ?]0;owned? (1 B)\n1 unpacked (1 B), 0 already there; ${machine.cache}\n`]);
});

/** Starts to unpack an archive of which only a part has come so far. A pipe holds little: what was taken of it is being staged. */
const half = async (tar: Buffer): Promise<Running> => {
  const child = spawn(process.execPath, [CLI, "unpack", "-", "--cache", machine.cache], { cwd: machine.workspace, env: machine.environment() });
  child.stdin.on("error", () => {});
  await new Promise((resolve) => child.stdin.write(tar.subarray(0, 2_000_000), resolve));
  expect(readdirSync(path.join(machine.cache, ".bazel-cache"))).toEqual([expect.stringMatching(/^unpack-/)]);
  return watch(child);
};
const LARGE = Buffer.alloc(3_000_000, 1);

test("Ctrl-C while an archive comes in leaves the cache as it was", async () => {
  put("one");
  const before = snapshot(machine.cache);
  const running = await half(tarOf(entryMember(LARGE)));
  running.kill("SIGINT");
  expect(await running.ended).toMatchObject({ code: 1, stderr: `bazel-cache: interrupted; ${machine.cache} is as it was\n` });
  expect(snapshot(machine.cache)).toEqual(before);
});

test("what a killed run has staged goes with the next one", async () => {
  const tar = tarOf(entryMember(LARGE));
  const running = await half(tar);
  running.kill("SIGKILL");
  await running.ended;
  expect(readdirSync(path.join(machine.cache, ".bazel-cache"))).toHaveLength(1);
  writeFileSync(at("x.tar"), tar);
  expect((await machine.run(["unpack", at("x.tar")])).code).toBe(0);
  expect(readdirSync(path.join(machine.cache, ".bazel-cache"))).toEqual([]);
  expect(existsSync(machine.entry(LARGE))).toBe(true);
});

test("Ctrl-C while a file is written leaves none, also not under another name", async () => {
  for (let i = 0; i < 4; i++) putEntry(machine.cache, Buffer.alloc(30_000_000, i));
  mkdirSync(at("out"));
  const began = new Promise<void>((resolve) => {
    const watcher = watchFiles(at("out"), () => {
      watcher.close();
      resolve();
    });
  });
  const running = machine.start(["pack", "--all", "-o", at("out/x.tar"), "--cache", machine.cache]);
  await began;
  running.kill("SIGINT");
  const { code, stderr } = await running.ended;
  // A fast machine may be done before the signal comes.
  expect([code, stderr, readdirSync(at("out"))]).toEqual(code === 0 ? [0, "", ["x.tar"]] : [1, "bazel-cache: interrupted; nothing was written\n", []]);
});
