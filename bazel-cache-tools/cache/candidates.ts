// Files that may be somebody's missing download: found in directories, recognised by their digests and not by their names.
import { type Dirent, lstatSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { Failure } from "../../host/cli/failure.js";
import { type Algorithm, type Digest, keyOf } from "./digest.js";
import { statOf } from "./entries.js";
import { type HashOptions, hashFiles, reasonOf } from "./hashing.js";
import type { Source } from "./store.js";

/** Names under which browsers and tools keep what is not complete. */
const INCOMPLETE = /\.(part|partial|crdownload|download|opdownload|aria2|tmp|!ut)$/i;

/** Directories that are large and hold no downloads. */
const SKIPPED = new Set([".git", ".hg", "node_modules", ".Trash"]);

/** Deeper than any folder of downloads. */
const DEEPEST = 16;

/** Complete-looking files below a directory, in the order of their paths. Links to directories are not followed, so that loops do not matter. */
export function filesBelow(directory: string): string[] {
  const files: string[] = [];
  const waiting = [{ directory, depth: 0 }];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const children = readChildren(next.directory, next.depth === 0);
    for (const child of children) {
      const full = path.join(next.directory, child.name);
      if (child.isDirectory()) {
        if (!SKIPPED.has(child.name) && next.depth < DEEPEST) waiting.push({ directory: full, depth: next.depth + 1 });
      } else if (!INCOMPLETE.test(child.name) && isFile(full, child)) files.push(full);
    }
  }
  return files.sort();
}

function readChildren(directory: string, first: boolean): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (!first) return []; // One folder among many that is somebody else's.
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw new Failure(`${directory}: ${reasonOf(code, message)}`);
  }
}

/** A link to nothing, or in a circle, is none. */
function isFile(full: string, child: Dirent): boolean {
  return child.isFile() || (child.isSymbolicLink() && statOf(full)?.isFile() === true);
}

/** Throws a Failure that says what is wrong with a path that the user gave. */
export function kindOfPath(file: string): "file" | "directory" {
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) return "directory";
    if (stat.isFile()) return "file";
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const link = code === "ENOENT" && lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink();
    throw new Failure(`${file}: ${link ? "is a symbolic link to nothing" : reasonOf(code, message)}`);
  }
  throw new Failure(`${file}: is neither a file nor a directory`);
}

/** The files that `places` name, and those below the directories that they name, each once. */
export function filesIn(places: readonly string[]): string[] {
  return [...new Set(places.flatMap((place) => (kindOfPath(place) === "file" ? [place] : filesBelow(place))))];
}

/** Those of the files, and of the files below the directories in `places`, that have one of the digests, by their keys. What cannot be read is passed over. */
export async function findByDigest(places: readonly string[], wanted: readonly Digest[], hashing: HashOptions = {}): Promise<Map<string, Source>> {
  const found = new Map<string, Source>();
  const algorithms = [...new Set(wanted.map((d) => d.algorithm))] as Algorithm[];
  if (algorithms.length === 0) return found;
  const keys = new Set(wanted.map(keyOf));
  for (const hashed of await hashFiles(
    filesIn(places).map((file) => ({ file, algorithms })),
    hashing,
  )) {
    if (!hashed.ok) continue;
    for (const algorithm of algorithms) {
      const digest = { algorithm, hex: hashed.digests[algorithm]! };
      const key = keyOf(digest);
      if (keys.has(key) && !found.has(key)) found.set(key, { file: hashed.file, digest, identity: hashed.identity });
    }
  }
  return found;
}
