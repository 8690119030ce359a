import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type RcValue, rcConfigValues, rcLines, rcValues, readRcFiles } from "./rc.js";

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "bazel-cache-rc-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(relative: string, text: string): void {
  const file = path.join(root, relative);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function values(names = ["repository_cache", "experimental_repository_cache"]): string[] {
  return rcValues(read().options, names).map(shown);
}

const shown = (v: RcValue) => `${v.value}${v.config === undefined ? "" : ` (${v.config})`} ${path.relative(root, v.at)}`;
const read = () =>
  readRcFiles({
    workspace: path.join(root, "ws"),
    env: { HOME: path.join(root, "home") },
    platform: "linux",
    cwd: path.join(root, "ws"),
    system: path.join(root, "system.bazelrc"),
  });

describe("lines", () => {
  test("are words as in a shell: quotes, backslashes, comments, joined lines", () => {
    expect(rcLines('build --a="b c" --d=\'e "f"\'\\ g # h\n# whole\n\ncommon --x=1 \\\n  --y="2#3"#4\nend').map((l) => [l.line, ...l.words])).toEqual([
      [1, "build", "--a=b c", '--d=e "f" g'],
      [4, "common", "--x=1", "--y=2#3"],
      [6, "end"],
    ]);
  });

  test("of any bytes end", () => {
    expect(rcLines('"never closed\n\\')).toEqual([{ words: ["never closed"], line: 1 }]);
    expect(rcLines("\ufeffbuild --a\r\nbuild\t--b\r\n").map((l) => l.words)).toEqual([
      ["build", "--a"],
      ["build", "--b"],
    ]);
  });
});

describe("files", () => {
  test("the system's come first, the workspace's, then the user's; a line of build wins over one of common", () => {
    write("system.bazelrc", "build --repository_cache=/s");
    write("ws/.bazelrc", "build --experimental_repository_cache /old\ncommon --repository_cache=/w");
    write("home/.bazelrc", "common --repository_cache=/h");
    expect(values()).toEqual(["/w ws/.bazelrc:2", "/h home/.bazelrc:1", "/s system.bazelrc:1", "/old ws/.bazelrc:1"]);
  });

  test("imports are read where they stand, twice where they stand twice, and never in a circle", () => {
    write("ws/.bazelrc", "common --repository_cache=/1\nimport %workspace%/tools/a.rc\ntry-import /nowhere\ncommon --repository_cache=/3\nimport tools/a.rc");
    write("ws/tools/a.rc", "common --repository_cache=/2\nimport %workspace%/.bazelrc");
    expect(values()).toEqual(["/1 ws/.bazelrc:1", "/2 ws/tools/a.rc:1", "/3 ws/.bazelrc:4", "/2 ws/tools/a.rc:1"]);
  });

  test("an import of what is not there is named", () => {
    write("ws/.bazelrc", "\nimport %workspace%/gone.rc");
    expect(read().missing).toEqual([{ file: path.join(root, "ws/gone.rc"), at: `${path.join(root, "ws/.bazelrc")}:2` }]);
  });

  test("lines of a --config count where a line asks for it, in its place; other commands do not count", () => {
    write(
      "ws/.bazelrc",
      "build:ci --repository_cache=/ci --config=deep\nbuild:deep --repository_cache=/deep --config=ci\nrun --repository_cache=/run\nfetch --repository_cache=/f",
    );
    expect(values()).toEqual([]);
    expect(rcConfigValues(read().options, ["repository_cache"]).map(shown)).toEqual(["/ci (ci) ws/.bazelrc:1", "/deep (deep) ws/.bazelrc:2"]);
    write("home/.bazelrc", "build --repository_cache=/h --config=ci");
    expect(values()).toEqual(["/h home/.bazelrc:1", "/ci ws/.bazelrc:1", "/deep ws/.bazelrc:2"]);
  });
});
