// Real Bazels build a small workspace from the cache alone: with a seed they do, without it they do not.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Ended, watch } from "../../test/e2e/command.js";
import { digestOf } from "../cache/digest.js";
import { type Bazel, findBazels } from "./bazels.js";
import { buildBazelCache, Machine } from "./command.js";

const bazels = await findBazels();
/** Names that no resolver knows (RFC 6761): Bazel fails at once. */
const URLS = ["https://one.invalid/data/a%20b.txt?x=1#y", "https://two.invalid/data.txt"];

/** One repository for each test, with bytes of its own. */
const CASES: { name: string; archive: Buffer; attributes?: string }[] = await Promise.all(
  [
    { name: "unseeded" },
    { name: "plain" },
    { name: "joined", attributes: `, canonical_id = ${JSON.stringify(URLS.join(" "))}` },
    { name: "explicit", attributes: ', canonical_id = "my id, ä"' },
    { name: "corrupt" },
    { name: "piped" },
  ].map(async (one) => ({ ...one, archive: await archiveOf("data.txt", one.name) })),
);

beforeAll(buildBazelCache);

test("npm's Bazels run here, and the system's own is counted", () => {
  if (process.platform === "linux" && process.arch === "x64") expect(bazels.map((b) => b.version)).toEqual(expect.arrayContaining(["0.29.0", "2.1.0"]));
});

// Debian's bazel-bootstrap is installed by .ci/run where that is allowed.
test.skipIf(!existsSync("/usr/bin/bazel"))("Debian's Bazel 4.2.3 is here", () => {
  expect(bazels.at(-1)?.program).toBe("/usr/bin/bazel");
});

test.skipIf(!existsSync("/usr/bin/bazel"))("where --ask-bazel is what Bazel itself says, and the rules come to the same", { timeout: 120_000 }, async () => {
  const machine = new Machine();
  machine.write("workspace/WORKSPACE", "");
  machine.write("workspace/.bazelrc", "build --repository_cache=some/where\n");
  try {
    const asked = await machine.run(["where", "--ask-bazel"]);
    expect(asked.stderr).toContain("→ bazel info repository_cache");
    expect(asked.stdout).toBe(`${machine.workspace}/some/where\n`);
    expect((await machine.run(["where"])).stdout).toBe(asked.stdout);
  } finally {
    await watch(spawn("bazel", ["shutdown"], { cwd: machine.workspace, env: machine.environment(), stdio: ["ignore", "pipe", "pipe"] })).ended;
    await removeTree(machine.directory);
  }
});

describe.each(bazels)("bazel $version", (bazel) => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(path.join(tmpdir(), "bazel-root-"));
  });
  afterAll(async () => {
    await runBazel(bazel, root, machine, ["shutdown"]);
    machine.close();
    await removeTree(root);
  }, 60_000);

  // One workspace, one server: each test has a repository of its own, which a failed build leaves unfetched.
  let machine: Machine;
  beforeAll(() => {
    machine = new Machine();
    machine.write(
      "workspace/WORKSPACE",
      `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
${CASES.map(
  ({ name, archive, attributes = "" }) =>
    `http_archive(name = "${name}", type = "tar.gz", build_file_content = 'exports_files(["data.txt"])', sha256 = "${sha256(archive)}", urls = ${JSON.stringify(URLS)}${attributes})`,
).join("\n")}
`,
    );
    machine.write(
      "workspace/BUILD",
      CASES.map(({ name }) => `genrule(name = "copy_${name}", srcs = ["@${name}//:data.txt"], outs = ["${name}.txt"], cmd = "cp $< $@")`).join("\n"),
    );
  });

  const build = async (name: string) => {
    const built = await runBazel(bazel, root, machine, ["build", `//:copy_${name}`, `--repository_cache=${machine.cache}`, ...offline(bazel)]);
    if (built.code === 0) {
      const out = ["bazel-bin", "bazel-genfiles"].map((link) => path.join(machine.workspace, link, `${name}.txt`)).find((file) => existsSync(file))!;
      expect(readFileSync(out, "utf8")).toBe(name);
    }
    return built;
  };
  const download = (name: string, as = `downloads/${name}.tar.gz`) => machine.write(as, archiveFor(name));
  const state = async (name: string) => {
    const { result } = await machine.json<{ downloads: { name: string; state: string }[] }>(["doctor"]);
    return result.downloads.find((d) => d.name === name)!.state;
  };

  test("misses what nobody seeded", { timeout: 120_000 }, async () => {
    expect((await build("unseeded")).code).not.toBe(0);
    expect(await state("unseeded")).toBe("miss");
  });

  test("finds what was seeded by its digest", { timeout: 120_000 }, async () => {
    expect((await machine.run(["seed", download("plain", "downloads/whatever (1).bin")])).code).toBe(0);
    expect(await state("plain")).toBe("hit");
    const built = await build("plain");
    expect(built.stderr).not.toContain("ERROR");
    expect(built.code).toBe(0);
  });

  // The rule's canonical_id with the URLs in it is what every rule asks for from 7.0 on: the same look-up, bit for bit.
  test("finds it under the marker that Bazel 7 and later make of the URLs, and not without", { timeout: 120_000 }, async () => {
    await machine.run(["seed", download("joined"), "--no-workspace"]);
    expect(await state("joined")).toBe("marker missing");
    expect((await build("joined")).code).not.toBe(0);
    await machine.run(["doctor", "--fix"]);
    expect(await state("joined")).toBe("hit");
    expect((await build("joined")).code).toBe(0);
  });

  test("finds it under an explicit canonical id that is not ASCII", { timeout: 120_000 }, async () => {
    expect((await machine.run(["seed", download("explicit")])).code).toBe(0);
    expect((await build("explicit")).code).toBe(0);
  });

  test("takes wrong bytes for a miss, and doctor says so", { timeout: 120_000 }, async () => {
    await machine.run(["seed", download("corrupt"), "--copy"]);
    machine.write(path.relative(machine.directory, machine.entry(archiveFor("corrupt"))), archiveFor("corrupt").subarray(0, 10));
    expect((await build("corrupt")).code).not.toBe(0);
    expect(await state("corrupt")).toBe("wrong digest");
  });

  test("its own failure, piped into from-log, is mended from a folder", { timeout: 120_000 }, async () => {
    const failed = await build("piped");
    expect(failed.code).not.toBe(0);
    download("piped", "home/Downloads/some name");
    const { code, stdout } = await machine.run(["from-log"], { input: failed.stderr });
    expect(stdout).toContain("in the cache now");
    expect(code).toBe(0);
    expect((await build("piped")).code).toBe(0);
  });
});

/** What Bazel writes is read-only. */
async function removeTree(directory: string): Promise<void> {
  await watch(spawn("chmod", ["-R", "u+w", directory], { stdio: ["ignore", "pipe", "pipe"] })).ended;
  rmSync(directory, { recursive: true, force: true });
}

function archiveFor(name: string): Buffer {
  return CASES.find((one) => one.name === name)!.archive;
}

function sha256(bytes: Uint8Array): string {
  return digestOf(bytes, "sha256").hex;
}

async function archiveOf(name: string, content: string): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name, mtime: new Date(0) }, content);
  archive.finalize();
  return gzipSync(await buffer(archive));
}

function offline({ version }: Bazel): string[] {
  return version.startsWith("0.") || version.startsWith("2.") ? [] : ["--experimental_repository_disable_download"];
}

function runBazel({ program, startup: own }: Bazel, root: string, machine: Machine, args: string[]): Promise<Ended> {
  const startup = [`--output_user_root=${root}`, "--max_idle_secs=30", ...own];
  return watch(
    spawn(program, [...startup, ...args], {
      cwd: machine.workspace,
      env: { ...machine.environment(), PATH: "/usr/bin:/bin" },
      stdio: ["ignore", "pipe", "pipe"],
    }),
  ).ended;
}
