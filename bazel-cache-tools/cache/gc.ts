// Which entries of a cache have not been used for long, and their removal: each whole or not at all, and none that was used meanwhile.
import { randomUUID } from "node:crypto";
import { existsSync, lstatSync, readdirSync, renameSync, rmdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { type Digest, keyOf } from "./digest.js";
import { makeDirectories } from "./directories.js";
import { type Entry, readContents } from "./entries.js";
import { FILE, MARKER_PREFIX, OWN_DIRECTORY, partialDirectory, TEMPORARY_PREFIX } from "./layout.js";
import { notWritten } from "./store.js";

export interface GcOptions {
  /** Entries whose last use lies further back go, ms. */
  olderThan?: number;
  /** The longest unused ones go until no more than these bytes are left. */
  maxSize?: number;
  /** Keys of digests that stay in any case. */
  keep: ReadonlySet<string>;
  /** ms */
  now: number;
}

export interface OldEntry {
  digest: Digest;
  directory: string;
  /** Bytes. */
  size: number;
  /** Last use, ms: bazel sets it at every hit (4.2.3). */
  mtime: number;
}

/** What is of no use to anybody: left by writers that were killed, or by downloads that nobody went on with. */
export interface Leftover {
  path: string;
  what: "temporary file" | "entry without a file" | "partial download" | "entry half removed";
  size: number;
}

export interface GcPlan {
  /** Longest unused first. */
  entries: OldEntry[];
  leftovers: Leftover[];
  kept: { count: number; size: number };
}

const DAY = 24 * 60 * 60 * 1000;
/** Writers of `tmp-` files and makers of directories are gone after that, ms. */
export const TEMPORARY_AGE = DAY;
const PARTIAL_AGE = 14 * DAY;
/** A download that is being worked on has grown since, ms. */
const PARTIAL_AT_WORK = 60 * 60 * 1000;

const ASIDE = "gc-";

/** Throws the file system's errors for a cache that cannot be listed. */
export function planGc(cache: string, options: GcOptions): GcPlan {
  const { olderThan, maxSize, keep, now } = options;
  const { entries } = readContents(cache);
  const old: OldEntry[] = [];
  for (const { digest, directory, file, temporary } of entries) {
    // Somebody is just writing there.
    if (!file || temporary.some((t) => now - t.mtime < TEMPORARY_AGE) || keep.has(keyOf(digest))) continue;
    old.push({ digest, directory, size: file.size, mtime: file.mtime });
  }
  old.sort((a, b) => a.mtime - b.mtime || (keyOf(a.digest) < keyOf(b.digest) ? -1 : 1));
  let left = entries.reduce((sum, e) => sum + (e.file?.size ?? 0), 0);
  let count = entries.filter((e) => e.file).length;
  const chosen: OldEntry[] = [];
  for (const entry of old) {
    if (!(olderThan !== undefined && now - entry.mtime > olderThan) && !(maxSize !== undefined && left > maxSize)) break;
    chosen.push(entry);
    left -= entry.size;
    count--;
  }
  return { entries: chosen, leftovers: leftoversOf(cache, entries, options), kept: { count, size: left } };
}

function leftoversOf(cache: string, entries: readonly Entry[], { olderThan, now }: GcOptions): Leftover[] {
  const found: Leftover[] = [];
  for (const { directory, file, temporary, foreign } of entries) {
    const stale = temporary.filter((t) => now - t.mtime > TEMPORARY_AGE);
    if (!file && foreign.length === 0 && stale.length === temporary.length && isOld(directory, now))
      found.push({ path: directory, what: "entry without a file", size: stale.reduce((sum, t) => sum + t.size, 0) });
    else found.push(...stale.map(({ path, size }): Leftover => ({ path, what: "temporary file", size })));
  }
  const partialAge = Math.max(olderThan ?? PARTIAL_AGE, PARTIAL_AT_WORK);
  for (const files of partials(cache))
    if (files.every((f) => now - f.mtime > partialAge)) found.push(...files.map(({ path, size }): Leftover => ({ path, size, what: "partial download" })));
  for (const name of namesIn(path.join(cache, OWN_DIRECTORY))) {
    const full = path.join(cache, OWN_DIRECTORY, name);
    // The renaming set its time of change, and not that of its content.
    if (name.startsWith(ASIDE) && now - (lstatSync(full, { throwIfNoEntry: false })?.ctimeMs ?? now) > PARTIAL_AT_WORK)
      found.push({ path: full, what: "entry half removed", size: statSync(path.join(full, FILE), { throwIfNoEntry: false })?.size ?? 0 });
  }
  return found;
}

/** A download's bytes, their description and their lock have one beginning of their names. */
function partials(cache: string): { path: string; size: number; mtime: number }[][] {
  const directory = partialDirectory(cache);
  const groups = new Map<string, { path: string; size: number; mtime: number }[]>();
  for (const name of namesIn(directory)) {
    const full = path.join(directory, name);
    const stat = lstatSync(full, { throwIfNoEntry: false });
    const base = name.split(".", 1)[0]!;
    if (stat?.isFile()) groups.set(base, [...(groups.get(base) ?? []), { path: full, size: stat.size, mtime: stat.mtimeMs }]);
  }
  return [...groups.values()];
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

export type Removal = "removed" | "used meanwhile" | "gone" | "in use";

/** Takes an entry out of the cache in one step, and deletes it then: whoever reads it meanwhile has all of it, or nothing. Throws a Failure where the cache cannot be written. */
export function removeEntry(cache: string, { directory, mtime }: OldEntry): Removal {
  const used = (file: string) => statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  const now = used(path.join(directory, FILE));
  if (now === undefined) return "gone";
  if (now !== mtime) return "used meanwhile";
  const aside = path.join(cache, OWN_DIRECTORY, ASIDE + randomUUID());
  try {
    makeDirectories(path.dirname(aside));
    renameSync(directory, aside);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return "gone";
    // Windows renames no directory of which a file is open.
    if (process.platform === "win32" && ["EPERM", "EACCES", "EBUSY"].includes(code ?? "")) return "in use";
    throw notWritten(directory, error);
  }
  if (used(path.join(aside, FILE)) !== mtime && putBack(aside, directory)) return "used meanwhile";
  remove(aside);
  return "removed";
}

/** Bazel has used it in the last moment. */
function putBack(aside: string, directory: string): boolean {
  if (existsSync(directory)) return false;
  try {
    renameSync(aside, directory);
    return true;
  } catch {
    return false; // It has just been downloaded again.
  }
}

/** Whether it was removed: somebody may have come back to it meanwhile. Throws a Failure where the cache cannot be written. */
export function removeLeftover({ path: full, what }: Leftover, now: number): boolean {
  if (what === "entry without a file") return removeEmptyEntry(full, now);
  if (what === "partial download" && !full.endsWith(".lock")) {
    const lock = statSync(`${full.replace(/(partial[/\\][^./\\]*)[^/\\]*$/, "$1")}.lock`, { throwIfNoEntry: false });
    if (lock && now - lock.mtimeMs <= PARTIAL_AT_WORK) return false;
  }
  return remove(full);
}

/** Markers and old temporary files only: what else has come to lie there keeps the directory. */
function removeEmptyEntry(directory: string, now: number): boolean {
  if (!isOld(directory, now)) return false;
  try {
    for (const name of namesIn(directory)) {
      const full = path.join(directory, name);
      if (name.startsWith(MARKER_PREFIX) || (name.startsWith(TEMPORARY_PREFIX) && isOld(full, now))) rmSync(full, { force: true });
    }
    rmdirSync(directory);
    return true;
  } catch (error) {
    if (["ENOTEMPTY", "EEXIST", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw notWritten(directory, error);
  }
}

function isOld(full: string, now: number): boolean {
  const stat = lstatSync(full, { throwIfNoEntry: false });
  return stat !== undefined && now - stat.mtimeMs > TEMPORARY_AGE;
}

function remove(full: string): boolean {
  try {
    rmSync(full, { recursive: true, force: true });
    return true;
  } catch (error) {
    throw notWritten(full, error);
  }
}
