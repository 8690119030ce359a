// Everything that lies in a cache, and what is wrong with it.
import { type Dirent, lstatSync, readdirSync, type Stats, statSync } from "node:fs";
import path from "node:path";
import { Failure } from "../../host/cli/failure.js";
import { ALGORITHMS, type Algorithm, type Digest } from "./digest.js";
import { reasonOf } from "./hashing.js";
import { algorithmDirectory, FILE, isEntryName, isMarkerName, TEMPORARY_PREFIX } from "./layout.js";

export interface Entry {
  digest: Digest;
  directory: string;
  /** Of `file`. Undefined where there is none: markers alone are nothing to Bazel. */
  file?: { path: string; size: number /** Time of the last use, ms: Bazel sets it at every hit. */; mtime: number; links: number };
  markers: string[];
  /** `tmp-…` of interrupted writers, with their time of change (ms). */
  temporary: { path: string; size: number; mtime: number }[];
  /** Names that Bazel knows nothing of, and a `file` that is no file. */
  foreign: string[];
}

export interface Contents {
  entries: Entry[];
  /** Directories and files where Bazel looks for entries, under names that it never asks for. */
  misplaced: string[];
  /** Entries that cannot be listed, with the reason. */
  unreadable: { directory: string; reason: string }[];
}

/** As Bazel and we name them; what somebody else called tmp-… is theirs. */
const TEMPORARY = new RegExp(`^${TEMPORARY_PREFIX}[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$`);

/** Reads the directories of all algorithms. A cache that is not there is empty. Throws a Failure for one that cannot be read. */
export function readContents(root: string): Contents {
  const contents: Contents = { entries: [], misplaced: [], unreadable: [] };
  for (const algorithm of ALGORITHMS) {
    const directory = algorithmDirectory(root, algorithm);
    for (const child of childrenOf(directory)) {
      const full = path.join(directory, child.name);
      if (!isEntryName(child.name, algorithm) || !isDirectory(full, child)) contents.misplaced.push(full);
      else {
        try {
          contents.entries.push(readEntry(full, algorithm, child.name));
        } catch (error) {
          contents.unreadable.push({ directory: full, reason: (error as Error).message });
        }
      }
    }
  }
  return contents;
}

export function readEntry(directory: string, algorithm: Algorithm, hex: string): Entry {
  const entry: Entry = { digest: { algorithm, hex }, directory, markers: [], temporary: [], foreign: [] };
  for (const { name } of childrenOf(directory)) {
    const full = path.join(directory, name);
    const stat = name === FILE ? statOf(full) : undefined;
    if (stat?.isFile()) entry.file = { path: full, size: stat.size, mtime: stat.mtimeMs, links: stat.nlink };
    else if (isMarkerName(name, algorithm)) entry.markers.push(name);
    else if (TEMPORARY.test(name)) {
      const stat = lstatSync(full, { throwIfNoEntry: false });
      if (stat) entry.temporary.push({ path: full, size: stat.size, mtime: stat.mtimeMs });
    } else entry.foreign.push(name);
  }
  return entry;
}

/** What is in a directory, by name; nothing where there is none. Throws a Failure for one that cannot be listed. */
export function childrenOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return [];
    throw new Failure(`${directory}: ${reasonOf(code, message)}`);
  }
}

/** Undefined for what is not there: also where the path leads through a file, in a circle, or to what may not be seen. */
export function statOf(full: string): Stats | undefined {
  try {
    return statSync(full, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function isDirectory(full: string, child: Dirent): boolean {
  return child.isDirectory() || (child.isSymbolicLink() && statOf(full)?.isDirectory() === true);
}
