import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Ended, type Running, watch } from "../../test/e2e/command.js";
import { putEntry } from "../archive/test/raw-tar.js";
import { digestOf } from "../cache/digest.js";
import { entryFile } from "../cache/layout.js";
import { buildBazelCache, Machine } from "../test/command.js";

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

const LOAD = 'load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\n';
const declare = (folder: string, name: string) =>
  path.dirname(
    machine.write(
      `${folder}/WORKSPACE`,
      `${LOAD}http_file(name = "${name}", urls = ["https://unreachable.invalid/${name}?x=%20"], sha256 = "${digestOf(name, "sha256").hex}")\n`,
    ),
  );

const serving = async (args: string[], work: (base: string, running: Running) => Promise<void>): Promise<Ended> => {
  const running = machine.start(["serve", ...args, "--port", "0", "--cache", machine.cache]);
  const [, base] = await running.printed(/ on (http:\S+)\n[\s\S]*Requests:/);
  try {
    await work(base!, running);
  } finally {
    running.kill("SIGINT");
  }
  return running.ended;
};

test("it serves what several workspaces declare, prints the config, logs, and ends with Ctrl-C", async () => {
  const workspaces = [declare("one", "a"), declare("two", "b")];
  for (const name of ["a", "b"]) putEntry(machine.cache, name);
  const ended = await serving(workspaces, async (base) => {
    for (const name of ["a", "b"]) expect(await (await fetch(`${base}unreachable.invalid/${name}?x=%20`)).text()).toBe(name);
  });
  expect(ended.code).toBe(0);
  expect(ended.stdout).toMatch(/^serving \S+ \(2 entries\) on http:\/\/127\.0\.0\.1:\d+\/\n/);
  expect(ended.stdout).toMatch(/\nrewrite \(\.\*\) http:\/\/127\.0\.0\.1:\d+\/\$1\nrewrite \(\.\*\) \$1\n/);
  expect(ended.stdout).toContain("Bazel 8.2 and later  common --downloader_config=bazel-downloader.cfg");
  expect(ended.stdout).toContain("Bazel 4 to 8.1       common --experimental_downloader_config=bazel-downloader.cfg");
  expect(ended.stderr).toMatch(/^GET \/unreachable\.invalid\/a\?x=%20 200 1 bytes \d+ ms\nGET .*\n$/);
});

test("--print-config is the file and nothing else", async () => {
  const config = (host: string) =>
    `# Bazel asks the mirror first, and the original server for what the mirror does not have.\nrewrite (.*) http://${host}/$1\nrewrite (.*) $1\n`;
  expect(await machine.run(["serve", "--print-config"])).toEqual({ code: 0, signal: null, stdout: config("127.0.0.1:8099"), stderr: "" });
  expect((await machine.run(["serve", "--print-config", "--host", "cache.example", "--port", "80"])).stdout).toBe(config("cache.example:80"));
  expect((await machine.run(["serve", "--print-config", "--host", "::1"])).stdout).toBe(config("[::1]:8099"));
  expect(await machine.run(["serve", "--print-config", "--port", "0"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--port 0") });
});

test("a port that is taken, and one that is none", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  try {
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as { port: number };
    const { code, stderr } = await machine.run(["serve", "--port", String(port)]);
    expect([code, stderr]).toEqual([1, `bazel-cache: 127.0.0.1:${port}: the port is taken; choose another with --port (0: any free one)\n`]);
  } finally {
    taken.close();
  }
  expect(await machine.run(["serve", "--port", "70000"])).toMatchObject({ code: 2 });
});

// Debian's bazel-bootstrap; CI installs it.
test.skipIf(!existsSync("/usr/bin/bazel"))("a real Bazel builds through it what no network has", { timeout: 180_000 }, async () => {
  declare("workspace", "data");
  machine.write("workspace/BUILD", 'genrule(name = "copy", srcs = ["@data//file"], outs = ["out.txt"], cmd = "cp $< $@")\n');
  const digest = putEntry(machine.cache, "data");
  const root = mkdtempSync(path.join(tmpdir(), "bazel-root-"));
  const bazel = (...args: string[]) =>
    watch(
      spawn("/usr/bin/bazel", ["--nohome_rc", `--output_user_root=${root}`, ...args], {
        cwd: machine.workspace,
        env: machine.environment(),
        stdio: ["ignore", "pipe", "pipe"],
      }),
    ).ended;
  try {
    const build = ["build", "//:copy", `--repository_cache=${path.join(machine.directory, "bazel-own")}`];
    expect((await bazel(...build)).stderr).toContain("Unknown host: unreachable.invalid");
    const before = Date.now() - 1000;
    const ended = await serving([machine.workspace], async (base) => {
      const { stdout } = await machine.run(["serve", "--print-config", "--port", new URL(base).port]);
      machine.write("workspace/bazel-downloader.cfg", stdout);
      machine.write("workspace/.bazelrc", "common --experimental_downloader_config=bazel-downloader.cfg\n");
      const built = await bazel(...build);
      expect([built.code, built.stderr]).toEqual([0, expect.stringContaining("Build completed successfully")]);
    });
    expect(readFileSync(path.join(machine.workspace, "bazel-bin/out.txt"), "utf8")).toBe("data");
    expect(ended.stderr).toMatch(/^GET \/unreachable\.invalid\/data\?x=%20 200 4 bytes/m);
    expect(statSync(entryFile(machine.cache, digest)).mtimeMs).toBeGreaterThan(before);
  } finally {
    await bazel("shutdown");
    await watch(spawn("chmod", ["-R", "u+w", root], { stdio: ["ignore", "pipe", "pipe"] })).ended;
    rmSync(root, { recursive: true, force: true });
  }
});
