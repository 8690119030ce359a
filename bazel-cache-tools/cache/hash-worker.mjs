// Hashes files: in a worker thread for many or large ones, in the main thread for a few small ones. Plain JavaScript, so that a worker loads it as it is.
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { blake3 } from "@noble/hashes/blake3.js";

/** Larger pieces leave the processor's cache, smaller ones cost calls: measured best between 128 KiB and 1 MiB. */
const PIECE = 256 * 1024;

/** A message about progress after so many bytes. */
const REPORT = 32 * 1024 * 1024;

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

/**
 * The digests of a file. Throws the file system's errors, and one of its own (code "CHANGED") where the file changes meanwhile.
 * @returns {{ digests: Record<string, string>, identity: ReturnType<typeof identity> }}
 */
export function hashFile(file, algorithms, progress = () => {}) {
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
      const bytes = piece.subarray(0, length);
      for (const hash of running) hash.update(bytes);
      total += length;
      if (total - reported >= REPORT) {
        progress(total - reported);
        reported = total;
      }
      // A file that grows as fast as it is read would never end.
      if (BigInt(total) > before.size) break;
    }
    const after = fstatSync(descriptor, { bigint: true });
    if (BigInt(total) !== before.size || after.size !== before.size || after.mtimeNs !== before.mtimeNs)
      throw Object.assign(new Error("changed while it was read: is it still being downloaded?"), { code: "CHANGED" });
    progress(total - reported);
    const digests = Object.fromEntries(algorithms.map((algorithm, i) => [algorithm, Buffer.from(running[i].digest()).toString("hex")]));
    return { digests, identity: identity(before, started) };
  } finally {
    closeSync(descriptor);
  }
}

parentPort?.on("message", ({ id, file, algorithms }) => {
  try {
    const result = hashFile(file, algorithms, (bytes) => parentPort.postMessage({ id, bytes }));
    parentPort.postMessage({ id, result });
  } catch (error) {
    parentPort.postMessage({ id, error: { message: error.message, code: error.code ?? "UNKNOWN" } });
  }
});
