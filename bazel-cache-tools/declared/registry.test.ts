import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf, formatIntegrity } from "../cache/digest.js";
import { markerName } from "../cache/markers.js";
import type { Download } from "./download.js";
import { requestedIds } from "./download.js";
import { compareVersions } from "./module-version.js";
import { joinUrl } from "./registry.js";
import { readWorkspace } from "./workspace.js";

const root = mkdtempSync(path.join(tmpdir(), "bazel-cache-registry-"));
const registry = path.join(root, "registry");
const workspace = path.join(root, "workspace");
afterAll(() => rmSync(root, { recursive: true, force: true }));

const integrity = (text: string) => formatIntegrity(digestOf(text, "sha256"));

function write(relative: string, content: string | object): void {
  const file = path.join(root, relative);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
}

function module(name: string, version: string, deps: string[], source: object = {}): void {
  const lines = deps.map((dep) => `bazel_dep(name = "${dep.split("@")[0]}", version = "${dep.split("@")[1]}")`);
  write(`registry/modules/${name}/${version}/MODULE.bazel`, `module(name = "${name}", version = "${version}")\n${lines.join("\n")}\n`);
  const url = `http://127.0.0.1:18081/dl/${name}-${version}.tar.gz`;
  write(`registry/modules/${name}/${version}/source.json`, { url, integrity: integrity(url), ...source });
}

async function read(moduleFile: string): Promise<{ names: string[]; find(name: string): Download; problems: string[] }> {
  write("workspace/MODULE.bazel", moduleFile);
  const declared = await readWorkspace({
    workspace,
    cache: path.join(root, "cache"),
    version: undefined,
    registries: [pathToFileURL(registry).href],
    env: { HOME: root },
    platform: "linux",
  });
  return {
    // A module's MODULE.bazel comes with each of them: a test of its own looks at it.
    names: declared.downloads
      .map((d) => d.name)
      .filter((name) => !name.endsWith(" MODULE.bazel"))
      .sort(),
    find: (name) => declared.downloads.find((d) => d.name === name)!,
    problems: declared.problems.map((p) => `${p.at}: ${p.message}`),
  };
}

beforeAll(() => {
  mkdirSync(workspace, { recursive: true });
  write("registry/bazel_registry.json", { mirrors: ["http://127.0.0.1:18081/mirror/"] });
  module("foo", "1.0", []);
  module("foo", "1.2", ["deep@0.1"]);
  module("foo", "1.10", ["deep@0.2"]);
  module("deep", "0.1", []);
  module("deep", "0.2", []);
  module("bar", "1.0", ["foo@1.10"], {
    patches: { "fix.patch": integrity("patch") },
    overlay: { "sub/BUILD.bazel": integrity("overlay") },
    mirror_urls: ["https://late.invalid/bar.tar.gz"],
  });
  module("gitty", "1.0", [], { type: "git_repository", remote: "https://git.invalid/x", url: undefined, integrity: undefined });
});

describe("a module's archive", () => {
  // The id that bazel 7.7.1 itself stored for this registry and URL.
  test("has the registry's mirrors before its own URL", async () => {
    module("foo", "1.0", [], { url: "http://127.0.0.1:18081/dl/foo-1.0.tar.gz" });
    const { find } = await read('bazel_dep(name = "foo", version = "1.0")');
    expect(find("foo@1.0").urls).toEqual(["http://127.0.0.1:18081/mirror/127.0.0.1:18081/dl/foo-1.0.tar.gz", "http://127.0.0.1:18081/dl/foo-1.0.tar.gz"]);
    const [id] = requestedIds(find("foo@1.0"), "urls")!;
    expect(markerName(id!, "sha256", "module")).toMatch(/^id-589c1de3.*3d2e$/);
  });

  test("has mirror_urls behind it; patches and overlays come from the registry and ask for no marker", async () => {
    const { find, names } = await read('bazel_dep(name = "bar", version = "1.0")');
    expect(find("bar@1.0").urls.at(-1)).toBe("https://late.invalid/bar.tar.gz");
    expect(names).toEqual(["bar@1.0", "bar@1.0 overlay/sub/BUILD.bazel", "bar@1.0 patches/fix.patch", "deep@0.2", "foo@1.10"]);
    const patch = find("bar@1.0 patches/fix.patch");
    expect(patch.urls).toEqual([`${pathToFileURL(registry).href}/modules/bar/1.0/patches/fix.patch`]);
    expect(requestedIds(patch, "urls")).toEqual([]);
  });

  // bazel 7.7.1 asks for it when the module's repository is made (test/bazel7.sh).
  test("comes with the module's MODULE.bazel, by the checksum it has now and without a marker", async () => {
    const { find } = await read('bazel_dep(name = "bar", version = "1.0")');
    const text = readFileSync(path.join(registry, "modules/bar/1.0/MODULE.bazel"), "utf8");
    expect(find("bar@1.0 MODULE.bazel")).toMatchObject({ kind: "registry file", digest: digestOf(text, "sha256"), marker: "canonical id" });
  });

  test("from git is never cacheable, and says so", async () => {
    const { find } = await read('bazel_dep(name = "gitty", version = "1.0")');
    expect(find("gitty@1.0").never).toContain("git");
  });
});

describe("which versions are chosen", () => {
  test("the highest that anybody reachable asks for, by number and not by letter", async () => {
    const { names } = await read('bazel_dep(name = "foo", version = "1.2")\nbazel_dep(name = "bar", version = "1.0")');
    expect(names.filter((n) => /^(foo|deep)@/.test(n))).toEqual(["deep@0.2", "foo@1.10"]);
  });

  test("overrides of the root decide", async () => {
    const { names } = await read(
      'bazel_dep(name = "foo", version = "1.0")\nbazel_dep(name = "bar", version = "1.0")\nsingle_version_override(module_name = "foo", version = "1.2")',
    );
    expect(names.filter((n) => /^(foo|deep)@/.test(n))).toEqual(["deep@0.1", "foo@1.2"]);
  });

  test("an archive_override is an http_archive of the root's, and the registry is not asked", async () => {
    const { find, names, problems } = await read(
      `bazel_dep(name = "foo", version = "1.0")\narchive_override(module_name = "foo", urls = ["https://a.invalid/x", "https://b.invalid/x"], integrity = "${integrity("x")}")`,
    );
    expect(names).toEqual(["foo"]);
    expect(requestedIds(find("foo"), "urls")).toEqual(["https://a.invalid/x https://b.invalid/x"]);
    expect(problems.join()).toMatch(/MODULE\.bazel:2: foo comes from an archive/);
  });

  test("a local module's dependencies count", async () => {
    write("workspace/sub/MODULE.bazel", 'module(name = "local")\nbazel_dep(name = "foo", version = "1.0")\n');
    const { names } = await read('bazel_dep(name = "local")\nlocal_path_override(module_name = "local", path = "sub")');
    expect(names).toEqual(["foo@1.0"]);
  });

  test("what no registry has is a problem with its place", async () => {
    const { problems } = await read('\nbazel_dep(name = "nobody", version = "3")');
    expect(problems).toEqual([expect.stringMatching(/^MODULE\.bazel:2: nobody@3 is in no registry/)]);
  });

  test("circles end", async () => {
    module("a", "1", ["b@1"]);
    module("b", "1", ["a@1"]);
    expect((await read('bazel_dep(name = "a", version = "1")')).names).toEqual(["a@1", "b@1"]);
  });
});

describe("MODULE.bazel", () => {
  test("use_repo_rule(http_file): the marker is made of its URLs", async () => {
    const { find } = await read(
      `http_file = use_repo_rule("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")\nhttp_file(name = "f", urls = ["https://a.invalid/f", "https://b.invalid/f"], integrity = "${integrity("f")}")`,
    );
    expect(requestedIds(find("f"), "urls")).toEqual(["https://a.invalid/f https://b.invalid/f"]);
  });

  test("include() brings in other files of the workspace", async () => {
    write("workspace/more/deps.MODULE.bazel", 'bazel_dep(name = "foo", version = "1.0")\n');
    expect((await read('include("//more:deps.MODULE.bazel")')).names).toEqual(["foo@1.0"]);
  });

  test("an extension of the workspace's own is run for what it declares", async () => {
    write(
      "workspace/ext.bzl",
      `load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_file")
def _impl(ctx):
    for mod in ctx.modules:
        for tag in mod.tags.file:
            http_file(name = tag.name, url = "https://x.invalid/" + tag.name, sha256 = "${"a".repeat(64)}")
ext = module_extension(implementation = _impl, tag_classes = {"file": tag_class(attrs = {"name": attr.string()})})
`,
    );
    const { find, names } = await read('e = use_extension("//:ext.bzl", "ext")\n[e.file(name = n) for n in ["one", "two"]]\n');
    expect(names).toEqual(["one", "two"]);
    expect(find("one").at).toBe("ext.bzl:5");
  });

  test("an extension of another repository is named", async () => {
    const { problems } = await read('e = use_extension("@rules_python//python:e.bzl", "pip")\ne.parse(x = 1)');
    expect(problems).toEqual([
      expect.stringMatching(/^MODULE\.bazel:1: .*pip: what this extension downloads is known to Bazel only: there is no MODULE\.bazel\.lock$/),
    ]);
  });
});

test("versions in order", () => {
  const order = [
    "0.9",
    "1.0-alpha",
    "1.0-alpha.1",
    "1.0-alpha.beta",
    "1.0-rc.2",
    "1.0-rc.10",
    "1.0",
    "1.0.1",
    "1.0.bcr.1",
    "1.2",
    "1.10",
    "20230802.0",
    "a",
    "",
  ];
  for (const [i, a] of order.entries()) for (const [j, b] of order.entries()) expect(Math.sign(compareVersions(a, b)), `${a} ${b}`).toBe(Math.sign(i - j));
});

test("joining leaves exactly one slash", () => {
  expect([joinUrl("https://r/", "/a"), joinUrl("https://r", "a"), joinUrl("https://r/x//", "a/b")]).toEqual(["https://r/a", "https://r/a", "https://r/x/a/b"]);
});
