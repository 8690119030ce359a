// Runs bazel-cache as users do: a process of its own, with a home and a cache that are empty at first.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Ended, ROOT, type Running, watch } from "../../test/e2e/command.js";
import { type Algorithm, digestOf } from "../cache/digest.js";
import { entryFile } from "../cache/layout.js";

export const CLI = path.join(ROOT, "bazel-cache-tools/dist/bazel-cache.mjs");

/** Builds the command line from the sources under test. */
export function buildBazelCache(): void {
  const { status, stderr } = spawnSync(process.execPath, [path.join(ROOT, "bazel-cache-tools/build.mjs")], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Standard input. Without it: none. */
  input?: string | Buffer;
  /** Instead of `bazel-cache`: a wrapper that is given its command line. */
  through?: string[];
}

/** A machine of one test's own: home, workspace, cache. */
export class Machine {
  readonly directory = mkdtempSync(path.join(tmpdir(), "bazel-cache-test-"));
  readonly home = path.join(this.directory, "home");
  readonly workspace = path.join(this.directory, "workspace");
  readonly cache = path.join(this.directory, "cache");

  constructor() {
    for (const directory of [this.home, this.workspace, path.join(this.directory, "tmp")]) mkdirSync(directory);
  }

  /** Writes a file below the machine's directory and gives its path. */
  write(relative: string, content: string | Uint8Array): string {
    const file = path.join(this.directory, relative);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  start(args: string[], { cwd = this.workspace, env = {}, input, through = [] }: RunOptions = {}): Running {
    const command = [...through, process.execPath, CLI, ...args];
    const child = spawn(command[0]!, command.slice(1), {
      cwd,
      env: { ...this.environment(), ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    if (input !== undefined) child.stdin!.on("error", () => {}).end(input);
    return watch(child);
  }

  /** Runs bazel-cache on this machine's cache to its end. */
  run(args: string[], options: RunOptions = {}): Promise<Ended> {
    const places =
      args.some((arg) => arg === "--cache" || arg === "where" || arg === "--help" || arg === "--version") || options.env?.BAZEL_REPOSITORY_CACHE !== undefined;
    return this.start(places ? args : [...args, "--cache", this.cache], options).ended;
  }

  /** `result`: what it printed, unchecked: tests compare it. */
  async json<T>(args: string[], options: RunOptions = {}): Promise<{ code: number | null; stderr: string; result: T }> {
    const { code, stdout, stderr } = await this.run([...args, "--json"], options);
    return { code, stderr, result: JSON.parse(stdout) as T };
  }

  /** Nothing of the user's own settings. */
  environment(): Record<string, string> {
    return { PATH: process.env.PATH ?? "", HOME: this.home, USER: "ann", NO_COLOR: "1", TMPDIR: path.join(this.directory, "tmp") };
  }

  /** The bytes of an entry, by the content it should have. */
  entry(content: string | Uint8Array, algorithm: Algorithm = "sha256"): string {
    return entryFile(this.cache, digestOf(content, algorithm));
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Every file below a directory with its bytes: two states of a cache are compared by it. */
export function snapshot(directory: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" }).sort()) {
    const full = path.join(directory, name);
    files[name] = statSync(full).isDirectory() ? "directory" : digestOf(readFileSync(full), "sha256").hex;
  }
  return files;
}
