// Puts bytes into a repository cache as Bazel does: under a temporary name in the entry's own directory, flushed, renamed to `file`, and only then the markers.
// Whoever reads meanwhile sees the old bytes, the new ones, or none; a process that is killed leaves at most a `tmp-` file.
import { randomUUID } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { Failure } from "../../host/cli/failure.js";
import { createHasher, type Digest } from "./digest.js";
import { type FileIdentity, hashOne, reasonOf } from "./hashing.js";
import { entryDirectory, FILE, isMarkerName, TEMPORARY_PREFIX } from "./layout.js";
import { markerNames } from "./markers.js";

export interface Placed {
  how: "already there" | "reflink" | "hard link" | "copy" | "move";
  /** Whether other bytes stood there, which Bazel took for a miss. */
  replaced: boolean;
  /** Names of the markers that were not there before. */
  markers: string[];
}

export interface Source {
  file: string;
  digest: Digest;
  /** As it was when it was hashed: says whether the bytes can still be trusted. */
  identity: FileIdentity;
}

export interface PlaceOptions {
  /** Bytes of the cache's own, even where the file system could share them. */
  copy?: boolean;
  /** The source is ours and not needed any more. */
  move?: boolean;
}

/** Puts a file that was hashed before into the cache, with markers for `canonicalIds`. Throws a Failure where the cache cannot be written or the file has changed meanwhile. */
export async function placeFile(root: string, source: Source, canonicalIds: readonly string[], options: PlaceOptions = {}): Promise<Placed> {
  const directory = entryDirectory(root, source.digest);
  const target = path.join(directory, FILE);
  const before = await contentOf(target, source);
  if (before === "right") {
    if (options.move) rmSync(source.file);
    return { how: "already there", replaced: false, markers: addMarkers(root, source.digest, canonicalIds) };
  }
  const made = makeDirectory(directory);
  const temporary = path.join(directory, TEMPORARY_PREFIX + randomUUID());
  try {
    const how = bring(source, temporary, options);
    flush(temporary);
    putInPlace(temporary, target);
    flush(directory);
    return { how, replaced: before === "wrong", markers: addMarkers(root, source.digest, canonicalIds) };
  } catch (error) {
    rmSync(temporary, { force: true });
    removeEmpty(directory, made);
    throw error instanceof Failure ? error : notWritten(directory, error);
  }
}

/** Creates the markers that are missing and names them. The entry must be there. */
export function addMarkers(root: string, digest: Digest, canonicalIds: readonly string[]): string[] {
  const directory = entryDirectory(root, digest);
  const there = new Set(readdirSync(directory));
  const added = markerNames(canonicalIds, digest.algorithm).filter((name) => !there.has(name));
  for (const name of added) writeMarker(directory, name);
  return added;
}

/** Creates markers by their names, as they stand in another cache. */
export function addMarkerFiles(root: string, digest: Digest, names: readonly string[]): void {
  const directory = entryDirectory(root, digest);
  for (const name of names) if (isMarkerName(name, digest.algorithm)) writeMarker(directory, name);
}

function writeMarker(directory: string, name: string): void {
  try {
    closeSync(openSync(path.join(directory, name), "a"));
  } catch (error) {
    throw notWritten(directory, error);
  }
}

export function notWritten(where: string, error: unknown): Failure {
  const { code = "", message } = error as NodeJS.ErrnoException;
  return new Failure(`${where}: cannot be written: ${WRITE_REASONS[code] ?? reasonOf(code, message)}`);
}

const WRITE_REASONS: Record<string, string> = {
  ENOSPC: "the disk is full; free some space (bazel-cache gc) or choose another cache with --cache",
  EDQUOT: "your disk quota is used up; free some space (bazel-cache gc) or choose another cache with --cache",
  EROFS: "the file system is read-only; choose another cache with --cache",
  EACCES: "no permission; choose another cache with --cache, or mend its owner",
  EPERM: "no permission; choose another cache with --cache, or mend its owner",
  ENOTDIR: "a part of this path is no directory",
  EFBIG: "the file would be larger than is allowed here",
};

/** What stands under an entry's name now. */
async function contentOf(target: string, { digest, identity }: Source): Promise<"nothing" | "right" | "wrong"> {
  try {
    if (!lstatSync(target, { throwIfNoEntry: false })) return "nothing";
  } catch (error) {
    throw notWritten(path.dirname(target), error);
  }
  const there = statSync(target, { bigint: true, throwIfNoEntry: false });
  if (there && there.ino === identity.ino && there.dev === identity.dev && there.mtimeNs === identity.mtimeNs) return "right";
  const hashed = await hashOne(target, [digest.algorithm]);
  return hashed.ok && hashed.digests[digest.algorithm] === digest.hex ? "right" : "wrong";
}

function makeDirectory(directory: string): string | undefined {
  try {
    return mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw notWritten(directory, error);
  }
}

/** Takes back the directories that were made for an entry that did not come to be. `made` is the topmost of them. */
function removeEmpty(directory: string, made: string | undefined): void {
  if (made === undefined) return;
  for (let current = directory; current.length >= made.length; current = path.dirname(current)) {
    try {
      rmdirSync(current);
    } catch {
      return; // Somebody else has put something there.
    }
  }
}

/** The cheapest way of having the bytes under the temporary name, verified. */
function bring(source: Source, temporary: string, options: PlaceOptions): "reflink" | "hard link" | "copy" | "move" {
  if (options.move && attempt(() => renameSync(source.file, temporary))) return "move";
  if (!options.copy) {
    const how = share(source, temporary);
    if (how) return how;
  }
  copyVerified(source, temporary);
  if (options.move) rmSync(source.file);
  return "copy";
}

/** Without copying bytes: a clone where the file system has them, a second name where it is on the same one. Undefined where neither can be had. */
function share(source: Source, temporary: string): "reflink" | "hard link" | undefined {
  if (!source.identity.settled) return undefined;
  let how: "reflink" | "hard link" | undefined;
  if (attempt(() => copyFileSync(source.file, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE))) how = "reflink";
  // A file that others cannot read stays its owner's own; the cache may be shared.
  else if ((source.identity.mode & 0o444) === 0o444 && attempt(() => linkSync(source.file, temporary))) how = "hard link";
  if (!how) {
    rmSync(temporary, { force: true });
    return undefined;
  }
  if (how === "reflink") makeReadable(temporary);
  const now = statSync(source.file, { bigint: true });
  if (Number(now.size) !== source.identity.size || now.mtimeNs !== source.identity.mtimeNs || now.ino !== source.identity.ino) throw changed(source.file);
  return how;
}

function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

function copyVerified(source: Source, temporary: string): void {
  const hasher = createHasher(source.digest.algorithm);
  const piece = Buffer.allocUnsafe(1024 * 1024);
  const from = openSync(source.file, "r");
  try {
    const to = openSync(temporary, "wx", 0o644);
    try {
      for (let length = readSync(from, piece); length > 0; length = readSync(from, piece)) {
        hasher.update(piece.subarray(0, length));
        for (let written = 0; written < length; ) written += writeSync(to, piece, written, length - written);
      }
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
  if (hasher.digest("hex") !== source.digest.hex) throw changed(source.file);
}

function changed(file: string): Failure {
  return new Failure(`${file} changed while it was read: is it still being downloaded? Nothing was stored; try again when it is complete`);
}

function makeReadable(file: string): void {
  chmodSync(file, 0o644);
  const now = new Date();
  utimesSync(file, now, now);
}

/** The old bytes or the new ones, never a part. Elsewhere than on Unix a file that is being read cannot be replaced: then what stands there is as good (bazel does the same). */
function putInPlace(temporary: string, target: string): void {
  try {
    renameSync(temporary, target);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!["EPERM", "EACCES", "EBUSY"].includes(code ?? "") || process.platform !== "win32" || !existsSync(target)) throw error;
    rmSync(temporary, { force: true });
  }
}

function flush(file: string): void {
  const descriptor = openSync(file, "r");
  try {
    fsyncSync(descriptor);
  } catch (error) {
    // Windows flushes only what is open for writing, and no directories.
    if (process.platform !== "win32") throw error;
  } finally {
    closeSync(descriptor);
  }
}
