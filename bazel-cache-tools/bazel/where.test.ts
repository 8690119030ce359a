import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseVersion } from "./version.js";
import { type WhereInput, whereIsCache } from "./where.js";

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "bazel-cache-where-"));
  mkdirSync(path.join(root, "ws"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function where(input: Partial<WhereInput> & { bazel?: string } = {}): string {
  const { bazel, env, ...rest } = input;
  const { cache, rules, decided } = whereIsCache({
    workspace: path.join(root, "ws"),
    version: bazel === undefined ? undefined : parseVersion(bazel, "test"),
    env: { HOME: "/h", USER: "ann", ...env },
    platform: "linux",
    cwd: "/cwd",
    systemRc: path.join(root, "system"),
    ...rest,
  });
  return `${rules[decided]!.rule}: ${cache.replace(root, "ROOT")}`;
}

const rc = (text: string) => writeFileSync(path.join(root, "ws/.bazelrc"), text);

// Each row but those of macOS and Windows was measured with `bazel info repository_cache` on 7.7.1.
describe("where Bazel itself would look", () => {
  test("the default", () => expect(where()).toBe("default: /h/.cache/bazel/_bazel_ann/cache/repos/v1"));
  test("XDG_CACHE_HOME, from 7.2 on", () => {
    expect(where({ env: { XDG_CACHE_HOME: "/x" }, bazel: "7.7.1" })).toBe("XDG_CACHE_HOME: /x/bazel/_bazel_ann/cache/repos/v1");
    expect(where({ env: { XDG_CACHE_HOME: "/x" }, bazel: "6.5.0" })).toBe("default: /h/.cache/bazel/_bazel_ann/cache/repos/v1");
    expect(where({ env: { XDG_CACHE_HOME: "/x" } })).toMatch(/^XDG_CACHE_HOME/);
  });
  test("TEST_TMPDIR has no bazel component", () =>
    expect(where({ env: { TEST_TMPDIR: "/tt", XDG_CACHE_HOME: "/x" } })).toBe("TEST_TMPDIR: /tt/_bazel_ann/cache/repos/v1"));
  test("an rc line: absolute, home, relative to the workspace", () => {
    rc("common --repository_cache=/abs");
    expect(where()).toBe(".bazelrc --repository_cache: /abs");
    rc("build --repository_cache=~/zz");
    expect(where()).toBe(`.bazelrc --repository_cache: ${userInfo().homedir}/zz`);
    rc("build --repository_cache rel/zz");
    expect(where()).toBe(".bazelrc --repository_cache: ROOT/ws/rel/zz");
  });
  test("the last rc line of build wins; those of a --config and of fetch do not count", () => {
    rc("build --repository_cache=/1\nbuild --repository_cache=/2\nbuild:ci --repository_cache=/3\ncommon --repository_cache=/4\nfetch --repository_cache=/5");
    expect(where()).toBe(".bazelrc --repository_cache: /2");
  });
  test("startup --output_user_root: absolute, home, relative to the workspace", () => {
    rc("startup --output_user_root=/our");
    expect(where()).toBe(".bazelrc startup --output_user_root: /our/cache/repos/v1");
    rc("startup --output_user_root=~/our");
    expect(where()).toBe(".bazelrc startup --output_user_root: /h/our/cache/repos/v1");
    rc("startup --output_user_root=our");
    expect(where()).toBe(".bazelrc startup --output_user_root: ROOT/ws/our/cache/repos/v1");
  });
  test("an empty value switches it off: an error that names the line", () => {
    rc("\nbuild --repository_cache=");
    expect(() => where()).toThrow(/\.bazelrc:2: --repository_cache= switches the cache off/);
  });
});

describe("what the user says wins", () => {
  test("--cache over the environment over --output-user-root over rc files", () => {
    rc("common --repository_cache=/rc");
    const env = { BAZEL_REPOSITORY_CACHE: "e" };
    expect(where({ cache: "c", env, outputUserRoot: "/o" })).toBe("--cache: /cwd/c");
    expect(where({ env, outputUserRoot: "/o" })).toBe("BAZEL_REPOSITORY_CACHE: /cwd/e");
    expect(where({ outputUserRoot: "~/o" })).toBe("--output-user-root: /h/o/cache/repos/v1");
  });
});

describe("other systems (from Bazel's documentation and source)", () => {
  test("macOS before 9, and since", () => {
    expect(where({ platform: "darwin", bazel: "8.4" })).toBe("macOS default before Bazel 9: /private/var/tmp/_bazel_ann/cache/repos/v1");
    expect(where({ platform: "darwin", bazel: "9.0.0" })).toBe("macOS default from Bazel 9: /h/Library/Caches/bazel/_bazel_ann/cache/repos/v1");
    expect(where({ platform: "darwin", bazel: "8.4", env: { XDG_CACHE_HOME: "/x" } })).toMatch(/private/);
    expect(where({ platform: "darwin", bazel: "9.1", env: { XDG_CACHE_HOME: "/x" } })).toBe("XDG_CACHE_HOME: /x/bazel/_bazel_ann/cache/repos/v1");
  });
  test("Windows: HOME, else USERPROFILE", () => {
    expect(where({ platform: "win32", env: { USERPROFILE: "/u" } })).toBe("Windows default: /h/_bazel_ann/cache/repos/v1");
    expect(where({ platform: "win32", env: { HOME: "", USERPROFILE: "/u" } })).toBe("Windows default: /u/_bazel_ann/cache/repos/v1");
  });
});

test("versions", () => {
  expect(["7.7.1", "8.0.0rc2 # comment", "7.x", "9.*", "6", "fork/7.1"].map((text) => parseVersion(text, "")?.major)).toEqual([7, 8, 7, 9, 6, 7]);
  expect(["latest", "last_green", "", "7rc"].map((text) => parseVersion(text, ""))).toEqual([undefined, undefined, undefined, undefined]);
});
