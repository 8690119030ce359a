import { existsSync, mkdirSync, readdirSync, utimesSync, watch } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { putEntry } from "../archive/test/raw-tar.js";
import { buildBazelCache, Machine, snapshot } from "../test/command.js";
import { type Digest, digestOf } from "./digest.js";
import { readContents } from "./entries.js";
import { entryDirectory, entryFile } from "./layout.js";

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

const DAY = 24 * 60 * 60 * 1000;
const put = (content: string | Buffer, days: number): Digest => {
  const digest = putEntry(machine.cache, content, ["https://x"]);
  const time = (Date.now() - days * DAY - 60_000) / 1000;
  utimesSync(entryFile(machine.cache, digest), time, time);
  return digest;
};
const declare = (name: string, content: string) =>
  machine.write(
    "workspace/WORKSPACE",
    `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\nhttp_file(name = "${name}", urls = ["https://x.invalid/${name}"], sha256 = "${digestOf(content, "sha256").hex}")\n`,
  );

test("it says what it would remove, and removes it when told to", async () => {
  const [old, recent] = [put("old", 40), put("recent", 3)];
  declare("v8", "old");
  const before = snapshot(machine.cache);
  const said = await machine.run(["gc", "--older-than", "30d"]);
  expect(said).toMatchObject({ code: 0, stderr: "" });
  expect(said.stdout.split("\n")).toEqual([
    "would remove   40 days         3 B  v8 https://x.invalid/v8",
    `would remove 1 entry (3 B); 1 entry stays (6 B) in ${machine.cache}`,
    "nothing was removed yet: --delete does it",
    "",
  ]);
  expect(snapshot(machine.cache)).toEqual(before);
  const done = await machine.run(["gc", "--older-than", "30d", "--delete"]);
  expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining("removed 1 entry (3 B); 1 entry stays (6 B)") });
  expect([existsSync(entryDirectory(machine.cache, old)), existsSync(entryDirectory(machine.cache, recent))]).toEqual([false, true]);
});

test("what a workspace declares stays, also where it would be the first to go; as JSON", async () => {
  const [old, other] = [put("old", 40), put("other", 35)];
  declare("v8", "old");
  const { code, result } = await machine.json(["gc", "--older-than", "2w", "--keep-declared", machine.workspace, "--delete"]);
  expect([code, result]).toEqual([
    0,
    {
      cache: machine.cache,
      deleted: true,
      entries: [{ digest: other, size: 5, lastUse: expect.stringMatching(/^\d{4}-/), names: [], urls: [], status: "removed" }],
      leftovers: [],
      size: 5,
      kept: { count: 1, size: 3 },
    },
  ]);
  expect(existsSync(entryFile(machine.cache, old))).toBe(true);
});

test("to a size: the longest unused go", async () => {
  const [a, b, c] = [put(Buffer.alloc(3000, 1), 3), put(Buffer.alloc(3000, 2), 2), put(Buffer.alloc(3000, 3), 1)];
  expect((await machine.run(["gc", "--max-size", "4K", "--delete"])).code).toBe(0);
  expect([a, b, c].map((d) => existsSync(entryFile(machine.cache, d)))).toEqual([false, false, true]);
});

test("without a rule no entry is looked at, and --keep-declared alone is none", async () => {
  put("old", 4000);
  expect((await machine.run(["gc", "--delete"])).stdout).toContain("no entry was looked at: say which ones go: --older-than 30d");
  declare("v8", "x");
  expect((await machine.run(["gc", "--delete", "--keep-declared", machine.workspace])).stdout).toContain("--older-than 0d: all that is not declared");
  expect(readContents(machine.cache).entries).toHaveLength(1);
});

test.each(["30", "d", "-1d", "30m", "1e3d", ""])("--older-than %j is wrong usage", async (text) => {
  expect(await machine.run(["gc", `--older-than=${text}`])).toMatchObject({ code: 2, stderr: expect.stringContaining("12h, 30d, 2w") });
});

test("a workspace that is none is not taken for one that declares nothing", async () => {
  put("old", 40);
  mkdirSync(path.join(machine.directory, "none"));
  const { code, stderr } = await machine.run(["gc", "--older-than", "1d", "--delete", "--keep-declared", path.join(machine.directory, "none")]);
  expect([code, stderr]).toEqual([2, expect.stringContaining("is no Bazel workspace")]);
  expect(readContents(machine.cache).entries).toHaveLength(1);
});

test("Ctrl-C leaves each entry whole or gone", async () => {
  for (let i = 0; i < 3000; i++) put(`entry ${i}`, 40);
  const began = new Promise<void>((resolve) => {
    const watcher = watch(machine.cache, () => {
      watcher.close();
      resolve();
    });
  });
  const running = machine.start(["gc", "--older-than", "1d", "--delete", "--cache", machine.cache]);
  await began;
  running.kill("SIGINT");
  const { code, stdout, stderr } = await running.ended;
  const { entries } = readContents(machine.cache);
  expect(entries.every((e) => e.file && e.markers.length === 1)).toBe(true);
  expect(readdirSync(path.join(machine.cache, ".bazel-cache"))).toEqual([]);
  expect(stdout).toContain(`; ${entries.length} ${entries.length === 1 ? "entry stays" : "entries stay"}`);
  // A fast machine may be done before the signal comes.
  expect([code, stderr]).toEqual(entries.length > 0 ? [1, expect.stringContaining("interrupted; what is said to be removed is removed")] : [code, stderr]);
});
