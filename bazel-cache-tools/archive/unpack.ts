// Unpacks an archive into a cache: all of it, once it is verified to its last byte, or nothing.
import { type FileHandle, open } from "node:fs/promises";
import path from "node:path";
import { type Digest, keyOf } from "../cache/digest.js";
import { readEntry } from "../cache/entries.js";
import { hashOne } from "../cache/hashing.js";
import { entryDirectory, entryFile } from "../cache/layout.js";
import { addMarkerFiles, notWritten, placeFile, type Source } from "../cache/store.js";
import { openStaging, removeStaleStagings, type Staging } from "./staging.js";
import { type Sink, type Verified, verifyMembers } from "./verify-members.js";

export interface Unpacked extends Verified {
  status: "unpacked" | "already there";
  /** Whether other bytes stood there, which Bazel took for a miss. */
  replaced: boolean;
  /** Names of the markers that were not there before. */
  added: string[];
}

export interface UnpackOptions {
  dryRun?: boolean;
  progress?(bytes: number): void;
  /** Of files and directories. */
  most?: number;
}

/**
 * Throws a Refusal for an archive that is not exactly what it should be, a Failure where the cache cannot be written, and whatever the source throws (an interruption, for one): the
 * cache is then as it was. From the moment on that all is verified, nothing interrupts it.
 */
export async function unpack(source: AsyncIterable<Buffer>, cache: string, options: UnpackOptions = {}): Promise<Unpacked[]> {
  if (!options.dryRun) removeStaleStagings(cache);
  let staging: Staging | undefined;
  const staged = new Map<string, Source>();
  const stage = async (digest: Digest): Promise<Sink | undefined> => {
    if (options.dryRun || (await isThere(cache, digest))) return undefined;
    staging ??= openStaging(cache);
    return writeStaged(staging, digest, (done) => staged.set(keyOf(digest), done));
  };
  try {
    const verified = await verifyMembers(source, { ...options, open: stage });
    const results: Unpacked[] = [];
    for (const entry of verified) results.push(options.dryRun ? await foresee(cache, entry) : await place(cache, entry, staged.get(keyOf(entry.digest))));
    return results;
  } finally {
    staging?.remove();
  }
}

async function isThere(cache: string, digest: Digest): Promise<boolean> {
  const hashed = await hashOne(entryFile(cache, digest), [digest.algorithm]);
  return hashed.ok && hashed.digests[digest.algorithm] === digest.hex;
}

async function writeStaged(staging: Staging, digest: Digest, done: (source: Source) => void): Promise<Sink> {
  const file = path.join(staging.directory, `${digest.algorithm}-${digest.hex}`);
  const guarded = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw notWritten(staging.directory, error);
    }
  };
  const handle: FileHandle = await guarded(open(file, "wx", 0o644));
  return {
    async write(piece) {
      for (let written = 0; written < piece.length; ) written += (await guarded(handle.write(piece, written))).bytesWritten;
    },
    async end() {
      const { size, mtimeNs, ino, dev, mode } = await handle.stat({ bigint: true });
      await guarded(handle.close());
      done({ file, digest, identity: { size: Number(size), mtimeNs, ino, dev, mode: Number(mode), settled: false } });
    },
    discard: () => handle.close(),
  };
}

async function foresee(cache: string, entry: Verified): Promise<Unpacked> {
  const before = readEntry(entryDirectory(cache, entry.digest), entry.digest.algorithm, entry.digest.hex);
  const added = entry.markers.filter((marker) => !before.markers.includes(marker));
  const there = await isThere(cache, entry.digest);
  return { ...entry, status: there ? "already there" : "unpacked", replaced: !there && before.file !== undefined, added };
}

/** `source`: the staged bytes, where the cache did not have them. */
async function place(cache: string, entry: Verified, source: Source | undefined): Promise<Unpacked> {
  const { digest } = entry;
  const before = readEntry(entryDirectory(cache, digest), digest.algorithm, digest.hex);
  const placed = source && (await placeFile(cache, source, [], { move: true }));
  const added = entry.markers.filter((marker) => !before.markers.includes(marker));
  addMarkerFiles(cache, digest, added);
  return { ...entry, status: placed && placed.how !== "already there" ? "unpacked" : "already there", replaced: placed?.replaced === true, added };
}
