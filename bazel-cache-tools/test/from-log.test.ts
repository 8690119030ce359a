// bazel-cache from-log, as users run it: the logs are those of real Bazels (test/recorded), the files are made.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../cache/digest.js";
import { entryFile } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import { buildBazelCache, Machine } from "./command.js";
import { whole } from "./flaky/behaviours.js";
import { startFlaky } from "./flaky/server.js";

const CONTENT = "the right bytes\n";
const DIGEST = digestOf(CONTENT, "sha256");
const URLS = ["http://127.0.0.1:9/1.0.tar.gz", "http://127.0.0.1:9/mirror/1.0.tar.gz"];
const failure = (urls: readonly string[], reason: string) =>
  `Error in download_and_extract: java.io.IOException: Error downloading [${urls.join(", ")}] to /home/ann/.cache/bazel/_bazel_ann/0/external/v8/temp1/1.0.tar.gz: ${reason}\n`;
const MISMATCH = failure(URLS, `Checksum was ${"b".repeat(64)} but wanted ${DIGEST.hex}`);

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

interface Result {
  downloads: { name: string; state: string; cause: string; did?: string; command: string }[];
}

describe("a piped build", () => {
  test("passes its output on and is mended from ~/Downloads, markers and all, with no configuration", async () => {
    machine.write("home/Downloads/unrelated name.bin", CONTENT);
    const log = `INFO: something\n${MISMATCH}ERROR: Build did NOT complete\n`;
    const { code, stdout, stderr } = await machine.run(["from-log"], { input: log, cwd: machine.home });
    expect(stderr).toBe(log);
    expect(stdout).toContain("✓ in the cache now  v8");
    expect(stdout).toContain("build again");
    expect(code).toBe(0);
    expect(readdirSync(path.dirname(machine.entry(CONTENT)))).toContain(markerName(URLS.join(" "), "sha256"));
  });

  test("without the file it says what to get and how to seed it; that command works", async () => {
    const { code, stdout } = await machine.run(["from-log"], { input: MISMATCH, cwd: machine.home });
    expect(code).toBe(1);
    const command = /bazel-cache (seed FILE .*)$/m.exec(stdout)?.[1];
    const file = machine.write("f", CONTENT);
    expect((await machine.run(command!.replace("FILE", file).split(" "), { cwd: machine.home })).code).toBe(0);
    expect((await machine.run(["from-log"], { input: MISMATCH, cwd: machine.home })).code).toBe(0);
  });
});

test("files that were meant to be it are explained", async () => {
  machine.write("home/Downloads/1.0 (2).tar.gz", "<!doctype html><title>Log in</title>");
  const { stdout } = await machine.run(["from-log"], { input: MISMATCH, cwd: machine.home });
  expect(stdout).toMatch(/not it .*1\.0 \(2\)\.tar\.gz: has sha256 .*HTML page \("Log in"\)/);
});

test("a build under another --output_user_root is mended there, and what else it would die of is said", async () => {
  const root = path.join(machine.directory, "our");
  machine.write("our/0123456789abcdef0123456789abcdef/external/v8/x", "");
  machine.write(
    "workspace/WORKSPACE",
    `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\nhttp_file(name = "next", url = "https://x.invalid/n", sha256 = "${"1".repeat(64)}")\n`,
  );
  machine.write("home/Downloads/x", CONTENT);
  const log = MISMATCH.replace("/home/ann/.cache/bazel/_bazel_ann/0", `${root}/0123456789abcdef0123456789abcdef`);
  const { stdout } = await machine.start(["from-log"], { input: log }).ended;
  expect(stdout).toContain(`1 of 1 is in ${root}/cache/repos/v1`);
  expect(stdout).toContain("1 more of what is declared is not there");
  expect(existsSync(entryFile(path.join(root, "cache/repos/v1"), DIGEST))).toBe(true);
});

test("--search and --file name other places", async () => {
  machine.write("usb/x", CONTENT);
  const log = machine.write("build.log", MISMATCH);
  expect((await machine.run(["from-log", log, "--search", path.join(machine.directory, "usb")], { cwd: machine.home })).code).toBe(0);
  const other = new Machine();
  expect((await other.run(["from-log", log, "--file", machine.write("y", CONTENT)], { cwd: other.home })).code).toBe(0);
  other.close();
});

test("bytes that are there without their marker get it", async () => {
  await machine.run(["seed", machine.write("f", CONTENT), "--no-workspace"]);
  const { result, code } = await machine.json<Result>(["from-log", machine.write("l", MISMATCH)], { cwd: machine.home });
  expect(result.downloads).toMatchObject([{ state: "hit", did: expect.stringMatching(/marker/) }]);
  expect(code).toBe(0);
});

test("a digest that the log does not say comes from the workspace", async () => {
  machine.write(
    "workspace/WORKSPACE",
    `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")\nhttp_archive(name = "v8", urls = ${JSON.stringify(URLS)}, sha256 = "${DIGEST.hex}")\n`,
  );
  machine.write("home/Downloads/x", CONTENT);
  const log = failure(URLS, "Premature EOF");
  expect((await machine.run(["from-log"], { input: log, cwd: machine.home })).stdout).toContain("the log does not say its checksum");
  expect((await machine.run(["from-log"], { input: log })).code).toBe(0);
});

test("a URL that is printed as no UTF-8 is known by the repository's name, and seeded under the declared one", async () => {
  const url = "https://one.invalid/é/1.0.tar.gz";
  machine.write(
    "workspace/MODULE.bazel",
    `http_file = use_repo_rule("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\nhttp_file(name = "v8", url = "${url}", sha256 = "${DIGEST.hex}")\n`,
  );
  machine.write("home/Downloads/x", CONTENT);
  const log = Buffer.concat([
    Buffer.from("Error downloading [https://one.invalid/"),
    Buffer.from([0xe9]),
    Buffer.from("/1.0.tar.gz] to /o/external/_main~_repo_rules~v8/file: Unknown host: one.invalid\n"),
  ]);
  const { result } = await machine.json<Result>(["from-log"], { input: log });
  expect(result.downloads).toMatchObject([{ name: "v8", state: "hit" }]);
  expect(readdirSync(path.dirname(machine.entry(CONTENT)))).toContain(markerName(url, "sha256", "module"));
});

test("downloads that were switched off are known by the repository's name", async () => {
  machine.write(
    "workspace/WORKSPACE",
    `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")\nhttp_archive(name = "v8", urls = ${JSON.stringify(URLS)}, sha256 = "${DIGEST.hex}")\n`,
  );
  machine.write("home/Downloads/x", CONTENT);
  for (const line of [
    "java.io.IOException: Failed to download repo v8: download is disabled.",
    "java.io.IOException: Failed to download repository @@v8: download is disabled.",
  ]) {
    const { result } = await machine.json<Result>(["from-log"], { input: line });
    expect(result.downloads).toMatchObject([{ name: "v8", cause: "disabled", state: "hit" }]);
  }
});

test("--fetch downloads what nobody has", async () => {
  const server = await startFlaky();
  const url = server.serve("/1.0.tar.gz", whole(Buffer.from(CONTENT)));
  const { code } = await machine.run(["from-log", "--fetch"], {
    input: failure([url], `Checksum was ${"b".repeat(64)} but wanted ${DIGEST.hex}`),
    cwd: machine.home,
  });
  await server.close();
  expect(code).toBe(0);
  expect(readFileSync(machine.entry(CONTENT), "utf8")).toBe(CONTENT);
});

describe("what it is given", () => {
  test("a log without failures is no failure", async () => {
    const { code, stdout } = await machine.run(["from-log", machine.write("l", "INFO: Build completed successfully\n")], { cwd: machine.home });
    expect(stdout).toBe("no failed downloads in this log\n");
    expect(code).toBe(0);
    expect(existsSync(machine.cache)).toBe(false);
  });

  test.each([
    [["from-log", "absent.log"], /absent\.log: there is no such file/, 1],
    [["from-log", "."], /\.: is a directory/, 1],
    [["from-log", "l", "--search", "l"], /--search l: is no directory/, 2],
  ] as const)("%j", async (args, pattern, expected) => {
    machine.write("home/l", "");
    const { code, stderr } = await machine.run([...args], { cwd: machine.home });
    expect(stderr).toMatch(pattern);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(expected);
  });
});

// Written for the logs that others recorded: what is fetched by one of them is found for all of its URLs.
test("every recorded log is read without an error", { timeout: 120_000 }, async () => {
  const logs = path.resolve(import.meta.dirname, "recorded/logs");
  const all = readdirSync(logs)
    .map((name) => readFileSync(path.join(logs, name), "utf8"))
    .join("\n");
  const { code, result } = await machine.json<Result>(["from-log"], { input: all, cwd: machine.home });
  expect(code).toBe(1);
  expect(result.downloads.length).toBeGreaterThan(10);
});
