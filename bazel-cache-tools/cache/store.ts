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
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
  utimesSync,
} from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { Failure } from "../../host/cli/failure.js";
import { createHasher, type Digest } from "./digest.js";
import { makeDirectories } from "./directories.js";
import { type FileIdentity, type HashOptions, hashOne, reasonOf } from "./hashing.js";
import { entryDirectory, entryFile, FILE, isMarkerName, TEMPORARY_PREFIX } from "./layout.js";
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

/** Whether the right bytes lie under a digest already. */
export async function isStored(root: string, digest: Digest): Promise<boolean> {
  return (await sourceOf(entryFile(root, digest), digest)) !== undefined;
}

export interface PlaceOptions {
  /** Bytes of the cache's own, even where the file system could share them. */
  copy?: boolean;
  /** The source is ours and not needed any more. */
  move?: boolean;
  /** Ends a copy in its middle; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Hashes a file, and gives it as a source where it has the digest. */
export async function sourceOf(file: string, digest: Digest, hashing?: HashOptions): Promise<Source | undefined> {
  const hashed = await hashOne(file, [digest.algorithm], hashing);
  return hashed.ok && hashed.digests[digest.algorithm] === digest.hex ? { file, digest, identity: hashed.identity } : undefined;
}

/** Puts a file that was hashed before into the cache, with markers for `canonicalIds`. Throws a Failure where the cache cannot be written or the file has changed meanwhile: then both are as they were. */
export async function placeFile(root: string, source: Source, canonicalIds: readonly string[], options: PlaceOptions = {}): Promise<Placed> {
  const directory = entryDirectory(root, source.digest);
  const target = path.join(directory, FILE);
  const before = await contentOf(target, source);
  if (before === "right") {
    if (options.move) rmSync(source.file, { force: true });
    return { how: "already there", replaced: false, markers: addMarkers(root, source.digest, canonicalIds) };
  }
  const made = makeDirectory(directory);
  const temporary = path.join(directory, TEMPORARY_PREFIX + randomUUID());
  let how: Exclude<Placed["how"], "already there"> | undefined;
  try {
    how = await bring(source, temporary, options);
    flush(temporary);
    putInPlace(temporary, target);
  } catch (error) {
    if (how === "move" && existsSync(temporary)) renameSync(temporary, source.file);
    else rmSync(temporary, { force: true });
    removeEmpty(directory, made);
    throw error instanceof Failure || options.signal?.aborted ? error : notWritten(directory, error);
  }
  if (options.move && how !== "move") rmSync(source.file, { force: true });
  flush(directory);
  return { how, replaced: before === "wrong", markers: addMarkers(root, source.digest, canonicalIds) };
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
  EISDIR: "there is a directory where the file belongs; remove it",
  EFBIG: "the file would be larger than is allowed here",
};

/** What stands under an entry's name now. */
async function contentOf(target: string, { digest, identity }: Source): Promise<"nothing" | "right" | "wrong"> {
  let stat: Stats | undefined;
  try {
    stat = lstatSync(target, { throwIfNoEntry: false });
  } catch (error) {
    throw notWritten(path.dirname(target), error);
  }
  if (!stat) return "nothing";
  if (stat.isDirectory()) throw new Failure(`${target}: there is a directory where the file belongs; move it away`);
  const there = stat.isFile() ? statSync(target, { bigint: true, throwIfNoEntry: false }) : undefined;
  if (there && there.ino === identity.ino && there.dev === identity.dev && there.mtimeNs === identity.mtimeNs) return "right";
  return (await sourceOf(target, digest)) ? "right" : "wrong";
}

function makeDirectory(directory: string): string | undefined {
  try {
    return makeDirectories(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new Failure(`${directory}: cannot be made there; choose another cache with --cache`);
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
async function bring(source: Source, temporary: string, options: PlaceOptions): Promise<"reflink" | "hard link" | "copy" | "move"> {
  if (options.move && source.identity.settled && attempt(() => renameSync(source.file, temporary))) {
    if (isSame(temporary, source)) return "move";
    renameSync(temporary, source.file);
    throw changed(source.file);
  }
  if (!options.copy && !options.move) {
    const how = share(source, temporary);
    if (how) return how;
  }
  await copyVerified(source, temporary, options.signal);
  return "copy";
}

/** Whether a file is still the one that was hashed. */
function isSame(file: string, { identity }: Source): boolean {
  const now = statSync(file, { bigint: true });
  return Number(now.size) === identity.size && now.mtimeNs === identity.mtimeNs && now.ino === identity.ino;
}

/** Without copying bytes: a clone where the file system has them, a second name where it is on the same one. Undefined where neither can be had. */
function share(source: Source, temporary: string): "reflink" | "hard link" | undefined {
  if (!source.identity.settled) return undefined;
  let how: "reflink" | "hard link" | undefined;
  // A second name of a symbolic link would be a link, too.
  const file = realpathSync(source.file);
  if (attempt(() => copyFileSync(file, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE))) how = "reflink";
  // A file that others cannot read stays its owner's own; the cache may be shared.
  else if ((source.identity.mode & 0o444) === 0o444 && attempt(() => linkSync(file, temporary))) how = "hard link";
  if (!how) {
    rmSync(temporary, { force: true });
    return undefined;
  }
  if (how === "reflink") makeReadable(temporary);
  if (!isSame(file, source)) throw changed(source.file);
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

/** In pieces, so that a signal is heard between them. */
async function copyVerified(source: Source, temporary: string, signal: AbortSignal | undefined): Promise<void> {
  const hasher = createHasher(source.digest.algorithm);
  const piece = Buffer.allocUnsafe(1024 * 1024);
  const from = await open(source.file, "r");
  try {
    const to = await open(temporary, "wx", 0o644);
    try {
      for (;;) {
        signal?.throwIfAborted();
        const { bytesRead } = await from.read(piece, 0, piece.length);
        if (bytesRead === 0) break;
        hasher.update(piece.subarray(0, bytesRead));
        for (let written = 0; written < bytesRead; ) written += (await to.write(piece, written, bytesRead - written)).bytesWritten;
      }
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
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
