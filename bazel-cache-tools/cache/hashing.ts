// Digests of files on all cores: the thread itself, and worker threads for the others where there are many bytes (a worker costs more to start than it saves for few).
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Algorithm } from "./digest.js";
import { hashing, prepare } from "./hash-worker.mjs";

/** What tells whether a file is still the one that was hashed. */
export interface FileIdentity {
  /** Bytes. */
  size: number;
  mtimeNs: bigint;
  ino: bigint;
  dev: bigint;
  mode: number;
  /** Whether its last change lay far enough back that another one would show in `mtimeNs`. */
  settled: boolean;
}

export interface HashJob {
  file: string;
  algorithms: readonly Algorithm[];
  /** Bytes, where they are known already. */
  size?: number;
}

export type Hashed =
  | { file: string; ok: true; digests: Partial<Record<Algorithm, string>>; identity: FileIdentity }
  /** `code`: the file system's (ENOENT, EACCES, …), CHANGED or NOT_A_FILE. */
  | { file: string; ok: false; code: string; reason: string };

export interface HashOptions {
  /** Told of bytes that were read since it was told before. */
  progress?(bytes: number): void;
  signal?: AbortSignal;
  /** Threads at work, this one included. Default: one per core. */
  threads?: number;
}

const FEW_BYTES = 24 * 1024 * 1024;

/** Hashes all files and gives them in the order of `jobs`. Never rejects for a file; rejects with the signal's reason when aborted. */
export async function hashFiles(jobs: readonly HashJob[], options: HashOptions = {}): Promise<Hashed[]> {
  const results: Hashed[] = new Array(jobs.length);
  await prepare(jobs.flatMap(({ algorithms }) => algorithms));
  const threads = isLittle(jobs) ? 1 : Math.min(options.threads ?? availableParallelism(), jobs.length);
  const workers = Array.from({ length: threads - 1 }, () => new Worker(new URL("./hash-worker.mjs", import.meta.url)));
  let next = 0;
  const take = () => next++;
  try {
    await Promise.all([hashHere(jobs, take, results, options), ...workers.map((worker) => hashThere(worker, jobs, take, results, options))]);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return results;
}

export async function hashOne(file: string, algorithms: readonly Algorithm[], options: HashOptions = {}): Promise<Hashed> {
  return (await hashFiles([{ file, algorithms }], options))[0]!;
}

function isLittle(jobs: readonly HashJob[]): boolean {
  let total = 0;
  for (const { file, size } of jobs) {
    total += size ?? statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (total > FEW_BYTES) return false;
  }
  return true;
}

/** In this thread, with a breath between the pieces of large files and after some of the small ones. */
async function hashHere(jobs: readonly HashJob[], take: () => number, results: Hashed[], { progress, signal }: HashOptions): Promise<void> {
  let pending = 0;
  for (let id = take(); id < jobs.length; id = take()) {
    const { file, algorithms } = jobs[id]!;
    try {
      const steps = hashing(file, algorithms);
      for (let step = steps.next(); ; step = steps.next()) {
        if (step.done) {
          results[id] = { file, ok: true, ...step.value };
          break;
        }
        progress?.(step.value);
        pending += step.value;
        if (pending < BREATH) continue;
        pending = 0;
        await setImmediate();
        if (signal?.aborted) {
          steps.return(undefined as never);
          break;
        }
      }
    } catch (error) {
      const { code = "UNKNOWN", message } = error as NodeJS.ErrnoException;
      results[id] = { file, ok: false, code, reason: reasonOf(code, message) };
    }
    signal?.throwIfAborted();
  }
}

/** Bytes between two breaths: some 10 ms. */
const BREATH = 16 * 1024 * 1024;

interface Message {
  id: number;
  bytes?: number;
  result?: { digests: Partial<Record<Algorithm, string>>; identity: FileIdentity };
  error?: { code: string; message: string };
}

function hashThere(worker: Worker, jobs: readonly HashJob[], take: () => number, results: Hashed[], { progress, signal }: HashOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal!.reason);
    const end = () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    };
    const give = () => {
      const id = take();
      const job = jobs[id];
      if (job) worker.postMessage({ id, file: job.file, algorithms: job.algorithms });
      else end();
    };
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    worker.on("error", reject);
    worker.on("message", ({ id, bytes, result, error }: Message) => {
      if (bytes !== undefined) return progress?.(bytes);
      const { file } = jobs[id]!;
      results[id] = result ? { file, ok: true, ...result } : { file, ok: false, code: error!.code, reason: reasonOf(error!.code, error!.message) };
      give();
    });
    give();
  });
}

const REASONS: Record<string, string> = {
  ENOENT: "there is no such file",
  EACCES: "no permission to read it",
  EPERM: "no permission to read it",
  ELOOP: "a loop of symbolic links",
  EIO: "the disk fails to read it (I/O error)",
  ENAMETOOLONG: "the name is too long",
  EISDIR: "is a directory",
  ENOTDIR: "a part of its path is no directory",
};

/** The file system's codes in words. */
export function reasonOf(code: string, message: string): string {
  return REASONS[code] ?? message.split("\n", 1)[0]!;
}
