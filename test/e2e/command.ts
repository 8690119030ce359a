// Runs the command line as users do: a process of its own, in an empty directory, with a directory for temporary files that must be empty in the end.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export const ROOT = path.resolve(import.meta.dirname, "../..");
export const CLI = path.join(ROOT, "host/dist/envoyscript.mjs");

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  pid: number;
  /** Resolves with the match in what has been or will be printed (stdout and stderr); rejects when the process ends without it. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  kill(signal: NodeJS.Signals): void;
  /** Reads no more of what it prints, as `| head` does. */
  closeOutput(): void;
  ended: Promise<Ended>;
}

/** Builds the command line from the sources under test. */
export function buildCli(): void {
  const { status, stderr } = spawnSync(process.execPath, [path.join(ROOT, "host/build.mjs")], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** A place for one test file's commands. */
export class Place {
  readonly directory = mkdtempSync(path.join(tmpdir(), "envoyscript-cli-"));
  readonly temporary = path.join(this.directory, "tmp");
  readonly work = path.join(this.directory, "work");

  /** `envoy` is for the commands too: they would fetch one for the empty directory they run in. */
  constructor(private readonly envoy: string) {
    mkdirSync(this.temporary);
    mkdirSync(this.work);
  }

  file(name: string): string {
    return path.join(this.work, name);
  }

  /** Temporary files that commands left. */
  left(): string[] {
    return readdirSync(this.temporary);
  }

  start(command: string[], options: { env?: Record<string, string>; cwd?: string } = {}): Running {
    const child = spawn(command[0]!, command.slice(1), {
      cwd: options.cwd ?? this.work,
      env: { ...process.env, TMPDIR: this.temporary, NO_COLOR: "", ENVOY_BIN: this.envoy, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return watch(child);
  }

  /** Runs envoyscript to its end. */
  run(args: string[], options: { env?: Record<string, string>; cwd?: string } = {}): Promise<Ended> {
    return this.start([process.execPath, CLI, ...args], options).ended;
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Follows a process that was started with pipes for its output. */
export function watch(child: ChildProcess): Running {
  const output = { stdout: "", stderr: "" };
  let waiting: { pattern: RegExp; resolve: (found: RegExpExecArray) => void }[] = [];
  const add = (name: "stdout" | "stderr") => (text: string) => {
    output[name] += text;
    waiting = waiting.filter(({ pattern, resolve }) => {
      const found = pattern.exec(output.stdout) ?? pattern.exec(output.stderr);
      if (found) resolve(found);
      return !found;
    });
  };
  child.stdout!.setEncoding("utf8").on("data", add("stdout"));
  child.stderr!.setEncoding("utf8").on("data", add("stderr"));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, ...output }));
  });
  return {
    pid: child.pid!,
    ended,
    kill: (signal) => void child.kill(signal),
    closeOutput: () => void child.stdout!.destroy(),
    printed(pattern) {
      const found = pattern.exec(output.stdout) ?? pattern.exec(output.stderr);
      if (found) return Promise.resolve(found);
      return Promise.race([
        new Promise<RegExpExecArray>((resolve) => waiting.push({ pattern, resolve })),
        ended.then(({ stdout, stderr, code }) => Promise.reject(new Error(`ended (${code}) before it printed ${pattern}:\n${stdout}\n${stderr}`))),
      ]);
    },
  };
}

/** Processes that a process started, and those they started. */
export function descendants(pid: number): number[] {
  const parents = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // The name may hold spaces and brackets; the parent is the second field after it.
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      parents.set(parent, [...(parents.get(parent) ?? []), Number(entry)]);
    } catch {
      // It ended meanwhile.
    }
  }
  const children = parents.get(pid) ?? [];
  return children.flatMap((child) => [child, ...descendantsIn(parents, child)]);
}

function descendantsIn(parents: Map<number, number[]>, pid: number): number[] {
  return (parents.get(pid) ?? []).flatMap((child) => [child, ...descendantsIn(parents, child)]);
}

export function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0]!;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
