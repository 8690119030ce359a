// bazel-cache fetch and seed URL over bad networks, as users run them.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { digestOf, formatIntegrity } from "../cache/digest.js";
import { partialDirectory } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import { buildBazelCache, Machine } from "./command.js";
import { inTurn, loginPage, ranged, redirect, reset, stalled, status, truncated, truncatedChunks, whole } from "./flaky/behaviours.js";
import { type Behaviour, type Flaky, startFlaky } from "./flaky/server.js";

const FILE = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 2654435761) >>> 11));
const SHA256 = digestOf(FILE, "sha256").hex;
const FAST = ["--attempts", "3", "--stall-timeout", "1"];

let machine: Machine;
let server: Flaky;
beforeAll(buildBazelCache);
beforeEach(async () => {
  machine = new Machine();
  server = await startFlaky();
});
afterEach(async () => {
  await server.close();
  machine.close();
});

const file = (name: string, urls: string[], sha256 = SHA256) => `http_file(name = "${name}", urls = ${JSON.stringify(urls)}, sha256 = "${sha256}")\n`;
const declare = (...rules: string[]) =>
  machine.write("workspace/WORKSPACE", `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\n${rules.join("")}`);
const partials = () => (existsSync(partialDirectory(machine.cache)) ? readdirSync(partialDirectory(machine.cache)) : []);

test("what is declared is fetched, with its markers; what is there is not fetched again", async () => {
  const urls = [server.serve("/a?x=1", whole(FILE)), `${server.url}/never`];
  declare(file("a", urls));
  const { code, stdout, stderr } = await machine.run(["fetch", ...FAST]);
  expect(stderr).toContain("fetched a");
  expect(stdout).toMatch(/1 fetched .*, 0 in the cache before/);
  expect(code).toBe(0);
  expect(readdirSync(path.dirname(machine.entry(FILE)))).toContain(markerName(urls.join(" "), "sha256"));
  expect((await machine.run(["doctor"])).code).toBe(0);
  expect((await machine.run(["fetch"])).stdout).toMatch(/0 fetched, 1 in the cache before/);
  expect(server.requests).toHaveLength(1);
  expect(partials()).toEqual([]);
});

test("one digest under two names is fetched once, with the markers of both", async () => {
  const [one, two] = [server.serve("/1", whole(FILE)), server.serve("/2", whole(FILE))];
  declare(file("one", [one]), file("two", [two]));
  expect((await machine.run(["fetch", ...FAST])).code).toBe(0);
  expect(server.requests).toHaveLength(1);
  expect((await machine.run(["doctor"])).code).toBe(0);
});

describe("a server that", () => {
  test.each([
    ["truncates", () => inTurn(truncated(FILE, 1000), truncatedChunks(FILE, 1000), whole(FILE))],
    ["resets", () => inTurn(reset(FILE, 5000), whole(FILE))],
    ["stalls", () => inTurn(stalled(FILE, 5000), whole(FILE))],
    ["is busy", () => inTurn(status(503, { "retry-after": "0" }), status(429, { "retry-after": "0" }), whole(FILE))],
  ])("%s is asked again until the file is whole", async (_, behaviour) => {
    declare(file("a", [server.serve("/a", behaviour())]));
    const { code, stderr } = await machine.run(["fetch", ...FAST]);
    expect(stderr).toContain("fetched a");
    expect(code).toBe(0);
    expect(readFileSync(machine.entry(FILE))).toEqual(FILE);
  });

  test("has only an error page makes place for the next URL", async () => {
    declare(file("a", [server.serve("/page", loginPage()), server.serve("/gone", status(404)), server.serve("/good", whole(FILE))]));
    expect((await machine.run(["fetch", ...FAST])).code).toBe(0);
  });

  test("never has the right bytes: the reason for each URL, both digests, and nothing is stored", async () => {
    declare(
      file("a", [server.serve("/page", loginPage()), server.serve("/circle", redirect("/circle")), server.serve("/cut", whole(FILE.subarray(0, 100)))]),
      file("b", [server.serve("/b", whole(FILE))]),
    );
    machine.write("workspace/WORKSPACE", readFileSync(path.join(machine.workspace, "WORKSPACE"), "utf8").replace(SHA256, "0".repeat(64)));
    const { code, stderr, stdout } = await machine.run(["fetch", ...FAST]);
    expect(stderr).toMatch(/failed a/);
    expect(stderr).toMatch(/web page/);
    expect(stderr).toMatch(/circle/);
    expect(stderr).toContain(digestOf(FILE.subarray(0, 100), "sha256").hex);
    expect(stderr).toMatch(/1 of 2 could not be fetched; get them some other way/);
    expect(stdout).toMatch(/1 fetched/);
    expect(code).toBe(1);
    expect(existsSync(machine.entry(FILE))).toBe(true);
    expect(readdirSync(path.join(machine.cache, "content_addressable/sha256"))).toEqual([SHA256]);
  });
});

const BIG = Buffer.concat(Array.from({ length: 15 }, () => FILE));

/** A part of the file, and then nothing; it could be resumed. */
function halted(bytes: number): Behaviour {
  return ({ response }) => {
    response.writeHead(200, { "content-length": BIG.length, "accept-ranges": "bytes", etag: '"1"' });
    response.write(BIG.subarray(0, bytes));
  };
}

/** Resolves when so many bytes of a download are on the disk. */
async function partialOf(bytes: number): Promise<void> {
  const directory = partialDirectory(machine.cache);
  await vi.waitFor(() => expect(readdirSync(directory).some((name) => statSync(path.join(directory, name)).size >= bytes)).toBe(true), {
    timeout: 20_000,
    interval: 20,
  });
}

test("interrupted in the middle, it goes on where it stopped", async () => {
  declare(file("a", [server.serve("/a", inTurn(halted(2_000_000), ranged(BIG, { etag: '"1"' })))], digestOf(BIG, "sha256").hex));
  const running = machine.start(["fetch", "--cache", machine.cache]);
  await partialOf(1_000_000);
  running.kill("SIGINT");
  const ended = await running.ended;
  expect(ended.stderr).toContain("interrupted; what came so far is kept, run the same again to go on");
  expect(ended.code).toBe(1);
  expect(existsSync(machine.entry(BIG))).toBe(false);
  const { code, stderr } = await machine.run(["fetch", ...FAST]);
  expect(stderr).toMatch(/fetched a .*resumed at/);
  expect(code).toBe(0);
  expect(server.requests.at(-1)!.headers.range).toMatch(/^bytes=\d+-$/);
  expect(partials()).toEqual([]);
});

test("what a file: URL names is cached, too, for builds with downloads switched off", async () => {
  const local = machine.write("here.bin", FILE);
  declare(file("here", [`file://${local}`]));
  expect((await machine.run(["fetch"])).code).toBe(0);
  expect(readFileSync(machine.entry(FILE))).toEqual(FILE);
  expect((await machine.run(["doctor"])).stdout).toContain("1 hit");
});

test("--only, --ignore and --dry-run choose", async () => {
  declare(file("a1", [server.serve("/a", whole(FILE))]), file("b1", [server.serve("/b", whole(FILE))], "1".repeat(64)));
  expect((await machine.run(["fetch", "--dry-run", "--ignore", "b*"])).stdout).toMatch(/would fetch a1 .*\n1 to fetch/);
  expect(server.requests).toEqual([]);
  expect((await machine.run(["fetch", ...FAST, "--only", "a*"])).code).toBe(0);
  const { code, stderr } = await machine.run(["fetch", "--only", "zzz"]);
  expect(stderr).toMatch(/--only zzz: no declared download has that name/);
  expect(code).toBe(1);
});

describe("bzlmod", () => {
  test("a lockfile's registry files are fetched first, then what they lead to", async () => {
    const patch = "a patch\n";
    const sourceJson = JSON.stringify({
      url: server.serve("/dl/foo.tar.gz", whole(FILE)),
      integrity: formatIntegrity(digestOf(FILE, "sha256")),
      patches: { "p.patch": formatIntegrity(digestOf(patch, "sha256")) },
    });
    const moduleFile = 'module(name = "foo", version = "1.0")\n';
    const registry = `${server.url}/registry`;
    const paths = { "modules/foo/1.0/MODULE.bazel": moduleFile, "modules/foo/1.0/source.json": sourceJson, "modules/foo/1.0/patches/p.patch": patch };
    for (const [name, text] of Object.entries(paths)) server.serve(`/registry/${name}`, whole(Buffer.from(text)));
    machine.write("workspace/MODULE.bazel", 'bazel_dep(name = "foo", version = "1.0")\n');
    machine.write(
      "workspace/MODULE.bazel.lock",
      JSON.stringify({
        lockFileVersion: 26,
        registryFileHashes: {
          [`${registry}/bazel_registry.json`]: null,
          [`${registry}/modules/foo/1.0/MODULE.bazel`]: digestOf(moduleFile, "sha256").hex,
          [`${registry}/modules/foo/1.0/source.json`]: digestOf(sourceJson, "sha256").hex,
        },
        moduleExtensions: {},
      }),
    );
    const { code, stdout } = await machine.run(["fetch", ...FAST]);
    expect(stdout).toMatch(/3 fetched .*, 1 in the cache before/);
    expect(code).toBe(0);
    expect((await machine.run(["doctor"])).stdout).toMatch(/4 downloads: 4 hit/);
    expect(readFileSync(machine.entry(patch), "utf8")).toBe(patch);
  });

  test("without a lockfile the registry is asked for the versions", async () => {
    const registry = `${server.url}/registry`;
    server.serve("/registry/modules/foo/1.0/MODULE.bazel", whole(Buffer.from('module(name = "foo", version = "1.0")')));
    server.serve(
      "/registry/modules/foo/1.0/source.json",
      whole(Buffer.from(JSON.stringify({ url: server.serve("/foo", whole(FILE)), integrity: formatIntegrity(digestOf(FILE, "sha256")) }))),
    );
    machine.write("workspace/MODULE.bazel", 'bazel_dep(name = "foo", version = "1.0")\n');
    expect((await machine.run(["fetch", ...FAST, "--registry", registry])).code).toBe(0);
    expect(readFileSync(machine.entry(FILE))).toEqual(FILE);
    expect(partials()).toEqual([]);
  });
});

describe("seed URL", () => {
  test("downloads it, and it is found under that URL", async () => {
    const url = server.serve("/a", inTurn(truncated(FILE, 1000), whole(FILE)));
    const { code, stdout } = await machine.run(["seed", url, "--sha256", SHA256], { cwd: machine.home });
    expect(stdout).toContain("seeded");
    expect(code).toBe(0);
    expect(readdirSync(path.dirname(machine.entry(FILE)))).toContain(markerName(url, "sha256"));
    expect(partials()).toEqual([]);
  });

  test("without a digest, of something that is no file, is refused, and leaves nothing", async () => {
    const url = server.serve("/a.tar.gz", whole(Buffer.from("not packed at all\n")));
    const { code, stderr } = await machine.run(["seed", url], { cwd: machine.home });
    expect(stderr).toMatch(/it is text, where gzip was promised; with --sha256 it is stored all the same/);
    expect(code).toBe(1);
    expect(partials()).toEqual([]);
  });

  test("with other bytes is one line with both digests", async () => {
    const url = server.serve("/a", loginPage());
    const { code, stderr } = await machine.run(["seed", url, "--sha256", SHA256], { cwd: machine.home });
    expect(stderr).toContain(SHA256);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(1);
    expect(existsSync(machine.entry(FILE))).toBe(false);
  });
});
