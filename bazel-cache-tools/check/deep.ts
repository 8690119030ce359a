// doctor --deep: everything that lies in a cache, declared or not.
import path from "node:path";
import { type Entry, readContents } from "../cache/entries.js";
import { type Leftover, type OldEntry, removeEntry, removeLeftover, TEMPORARY_AGE } from "../cache/gc.js";
import { type HashOptions, hashFiles } from "../cache/hashing.js";
import { inspect } from "../cache/inspect.js";
import type { Mended } from "./mend.js";

export interface DeepFinding {
  path: string;
  what: string;
  /** Bazel would not use what somebody believes to be there. */
  serious: boolean;
  /** What --fix removes: bytes that no Bazel uses, and leavings. */
  garbage?: { entry: OldEntry } | { leftover: Leftover };
}

export interface Deep {
  findings: DeepFinding[];
  /** Files that were hashed. */
  verified: number;
}

/** Hashes every file of the cache. Throws a Failure for a cache that cannot be listed. */
export async function examineWhole(cache: string, hashing: HashOptions): Promise<Deep> {
  const { entries, misplaced, unreadable } = readContents(cache);
  const findings: DeepFinding[] = misplaced.map((file) => ({
    path: file,
    what: "Bazel never looks there: it asks for lower-case digests of the right length; move it away",
    // A name that is no digest in any spelling is somebody's note.
    serious: /^[0-9a-f]{40,}$/i.test(path.basename(file)),
  }));
  for (const { directory, reason } of unreadable) findings.push({ path: directory, what: reason, serious: true });
  const files = entries.filter((e) => e.file);
  const jobs = files.map(({ file, digest }) => ({ file: file!.path, algorithms: [digest.algorithm], size: file!.size }));
  const hashed = await hashFiles(jobs, hashing);
  for (const [i, entry] of files.entries()) {
    const { digest, directory, file } = entry;
    const result = hashed[i]!;
    if (!result.ok) findings.push({ path: file!.path, what: result.reason, serious: true });
    else if (result.digests[digest.algorithm] !== digest.hex) {
      const seems = await inspect(file!.path, undefined);
      findings.push({
        path: file!.path,
        what: `has ${digest.algorithm} ${result.digests[digest.algorithm]}${seems ? `: ${seems}` : ""}; Bazel takes it for a miss`,
        serious: true,
        // Whoever writes there now is about to mend it.
        ...(entry.temporary.length === 0 && entry.foreign.length === 0
          ? { garbage: { entry: { digest, directory, size: file!.size, mtime: file!.mtime } } }
          : {}),
      });
    }
  }
  for (const entry of entries) findings.push(...leftovers(entry));
  return { findings, verified: files.length };
}

function leftovers({ directory, file, temporary, foreign }: Entry): DeepFinding[] {
  const stale = temporary.filter(({ mtime }) => Date.now() - mtime > TEMPORARY_AGE);
  const findings: DeepFinding[] = stale.map(({ path: full, size }) => ({
    path: full,
    what: "was left by a writer that was interrupted",
    serious: false,
    garbage: { leftover: { path: full, what: "temporary file", size } },
  }));
  if (file || temporary.length > stale.length) return findings;
  if (foreign.length > 0) findings.push({ path: directory, what: `has no file in it that Bazel would take, but ${foreign[0]}`, serious: true });
  else
    findings.push({
      path: directory,
      what: "has no file in it",
      serious: false,
      garbage: { leftover: { path: directory, what: "entry without a file", size: 0 } },
    });
  return findings;
}

/** Removes what is garbage still, and says what it did. */
export function removeGarbage(cache: string, findings: readonly DeepFinding[]): { removed: Mended[]; left: DeepFinding[] } {
  const removed: Mended[] = [];
  const left: DeepFinding[] = [];
  for (const finding of findings) {
    const { garbage, path: full, what } = finding;
    const gone = garbage !== undefined && ("entry" in garbage ? removeEntry(cache, garbage.entry) === "removed" : removeLeftover(garbage.leftover, Date.now()));
    if (gone) removed.push({ name: full, did: `removed; it ${what}` });
    else left.push(finding);
  }
  return { removed, left };
}
