// Hashes files, in the main thread and in worker threads alike. Plain JavaScript, so that a worker loads it as it is.
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";

/** Larger pieces leave the processor's cache, smaller ones cost calls: measured best between 128 KiB and 1 MiB. */
const PIECE = 256 * 1024;

/** A word about progress, and in the main thread a breath, after so many bytes: some 10 ms. */
const REPORT = 16 * 1024 * 1024;

/** Two writes within so many ms may leave the same time of change (it advances with the kernel's clock tick). */
const TICK = 50;

const identity = (stat, started) => ({
  size: Number(stat.size),
  mtimeNs: stat.mtimeNs,
  ino: stat.ino,
  dev: stat.dev,
  mode: Number(stat.mode),
  settled: started - Number(stat.mtimeNs / 1000000n) > TICK,
});

let piece;
let blake3;

/** Loads what `algorithms` need besides Node's own: to be awaited before they are used. */
export async function prepare(algorithms) {
  if (algorithms.includes("blake3")) blake3 ??= (await import("@noble/hashes/blake3.js")).blake3;
}

/**
 * The digests of a file. Yields the bytes that were read since it yielded before, so that whoever drives it may do something else in between.
 * Throws the file system's errors, and one of its own (code "CHANGED") where the file changes meanwhile.
 */
export function* hashing(file, algorithms) {
  piece ??= Buffer.allocUnsafeSlow(PIECE);
  const descriptor = openSync(file, "r");
  try {
    const started = Date.now();
    const before = fstatSync(descriptor, { bigint: true });
    if (!before.isFile()) throw Object.assign(new Error(before.isDirectory() ? "is a directory" : "is no regular file"), { code: "NOT_A_FILE" });
    const running = algorithms.map((algorithm) => (algorithm === "blake3" ? blake3.create() : createHash(algorithm)));
    let total = 0;
    let reported = 0;
    for (;;) {
      const length = readSync(descriptor, piece, 0, PIECE, null);
      if (length === 0) break;
      const bytes = length === PIECE ? piece : piece.subarray(0, length);
      for (const hash of running) hash.update(bytes);
      total += length;
      if (total - reported >= REPORT) {
        yield total - reported;
        reported = total;
      }
      // A file that grows as fast as it is read would never end.
      if (BigInt(total) > before.size) break;
    }
    const after = fstatSync(descriptor, { bigint: true });
    if (BigInt(total) !== before.size || after.size !== before.size || after.mtimeNs !== before.mtimeNs)
      throw Object.assign(new Error("changed while it was read: is it still being downloaded?"), { code: "CHANGED" });
    if (total > reported) yield total - reported;
    const digests = Object.fromEntries(algorithms.map((algorithm, i) => [algorithm, Buffer.from(running[i].digest()).toString("hex")]));
    return { digests, identity: identity(before, started) };
  } finally {
    closeSync(descriptor);
  }
}

parentPort?.on("message", async ({ id, file, algorithms }) => {
  try {
    await prepare(algorithms);
    const steps = hashing(file, algorithms);
    let step = steps.next();
    for (; !step.done; step = steps.next()) parentPort.postMessage({ id, bytes: step.value });
    parentPort.postMessage({ id, result: step.value });
  } catch (error) {
    parentPort.postMessage({ id, error: { message: error.message, code: error.code ?? "UNKNOWN" } });
  }
});
