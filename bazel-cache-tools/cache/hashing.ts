// Digests of files on all cores: worker threads for many bytes, the thread itself for few (a worker costs more to start than it saves).
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Algorithm } from "./digest.js";
import { hashFile } from "./hash-worker.mjs";

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
  /** Default: one per core. */
  workers?: number;
}

const FEW_BYTES = 24 * 1024 * 1024;

/** Hashes all files and gives them in the order of `jobs`. Never rejects for a file; rejects with the signal's reason when aborted. */
export async function hashFiles(jobs: readonly HashJob[], options: HashOptions = {}): Promise<Hashed[]> {
  const workers = Math.min(options.workers ?? availableParallelism(), jobs.length);
  if (isLittle(jobs) || workers === 0) return jobs.map((job) => hashHere(job, options.progress));
  return hashInWorkers(jobs, workers, options);
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

function hashHere({ file, algorithms }: HashJob, progress?: (bytes: number) => void): Hashed {
  try {
    return { file, ok: true, ...hashFile(file, algorithms, progress) };
  } catch (error) {
    const { code = "UNKNOWN", message } = error as NodeJS.ErrnoException;
    return { file, ok: false, code, reason: reasonOf(code, message) };
  }
}

interface Message {
  id: number;
  bytes?: number;
  result?: { digests: Partial<Record<Algorithm, string>>; identity: FileIdentity };
  error?: { code: string; message: string };
}

async function hashInWorkers(jobs: readonly HashJob[], count: number, { progress, signal }: HashOptions): Promise<Hashed[]> {
  const results: Hashed[] = new Array(jobs.length);
  const workers = Array.from({ length: count }, () => new Worker(new URL("./hash-worker.mjs", import.meta.url)));
  try {
    await new Promise<void>((resolve, reject) => {
      let next = 0;
      let left = jobs.length;
      const give = (worker: Worker) => {
        const id = next++;
        const job = jobs[id];
        if (job) worker.postMessage({ id, file: job.file, algorithms: job.algorithms });
      };
      const abort = () => reject(signal!.reason);
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort, { once: true });
      for (const worker of workers) {
        worker.on("error", reject);
        worker.on("message", ({ id, bytes, result, error }: Message) => {
          if (bytes !== undefined) return progress?.(bytes);
          const { file } = jobs[id]!;
          results[id] = result ? { file, ok: true, ...result } : { file, ok: false, code: error!.code, reason: reasonOf(error!.code, error!.message) };
          if (--left === 0) resolve();
          else give(worker);
        });
        give(worker);
      }
    });
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return results;
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
