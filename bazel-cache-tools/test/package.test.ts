// The package as npm publishes it: one folder that runs by itself.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "../../test/e2e/command.js";

const directory = mkdtempSync(path.join(tmpdir(), "bazel-cache-package-"));
const cli = path.join(directory, "package/dist/bazel-cache.mjs");
beforeAll(() => {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", directory], { cwd: path.join(ROOT, "bazel-cache-tools") });
  execFileSync("tar", ["-xzf", readdirSync(directory).find((name) => name.endsWith(".tgz"))!], { cwd: directory });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("needs no other package", () => {
  const manifest = JSON.parse(readFileSync(path.join(directory, "package/package.json"), "utf8")) as Record<string, unknown>;
  expect(manifest.dependencies).toBeUndefined();
  expect(manifest.bin).toEqual({ "bazel-cache": "./dist/bazel-cache.mjs" });
  expect(readdirSync(path.join(directory, "package")).sort()).toEqual(["README.md", "dist", "package.json"]);
});

test("runs, with its worker threads", () => {
  const file = path.join(directory, "large");
  writeFileSync(file, Buffer.alloc(40 * 1024 * 1024));
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, "seed", file, "--no-workspace", "--cache", path.join(directory, "cache")], {
    cwd: directory,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(stdout).toContain("seeded");
  expect(status).toBe(0);
});
