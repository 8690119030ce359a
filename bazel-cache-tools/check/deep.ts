// doctor --deep: everything that lies in a cache, declared or not.
import { rmSync } from "node:fs";
import path from "node:path";
import { type Entry, readContents } from "../cache/entries.js";
import { type HashOptions, hashFiles } from "../cache/hashing.js";
import { inspect } from "../cache/inspect.js";
import type { Mended } from "./mend.js";

export interface DeepFinding {
  path: string;
  what: string;
  /** Bazel would not use what somebody believes to be there. */
  serious: boolean;
  /** What can go without a loss. */
  garbage?: string;
}

/** Temporary files older than this (ms) have lost their writer: a day, as nobody downloads for longer. */
export const STALE = 24 * 60 * 60 * 1000;

/** Hashes every file of the cache. Throws a Failure for a cache that cannot be listed. */
export async function examineWhole(cache: string, hashing: HashOptions): Promise<DeepFinding[]> {
  const { entries, misplaced } = readContents(cache);
  const findings: DeepFinding[] = misplaced.map((file) => ({
    path: file,
    what: "Bazel never looks there: it asks for lower-case digests of the right length",
    serious: true,
  }));
  const files = entries.filter((e) => e.file);
  const hashed = await hashFiles(
    files.map((e) => ({ file: e.file!.path, algorithms: [e.digest.algorithm] })),
    hashing,
  );
  for (const [i, entry] of files.entries()) {
    const { digest, file } = entry;
    const result = hashed[i]!;
    if (!result.ok) findings.push({ path: file!.path, what: result.reason, serious: true });
    else if (result.digests[digest.algorithm] !== digest.hex) {
      const seems = await inspect(file!.path, undefined);
      findings.push({
        path: file!.path,
        what: `has ${digest.algorithm} ${result.digests[digest.algorithm]}${seems ? `: ${seems}` : ""}; Bazel takes it for a miss`,
        serious: true,
        ...(entry.foreign.length === 0 ? { garbage: entry.directory } : {}),
      });
    }
  }
  for (const entry of entries) findings.push(...leftovers(entry));
  return findings;
}

function leftovers(entry: Entry): DeepFinding[] {
  const findings: DeepFinding[] = [];
  for (const { path: file, mtime } of entry.temporary)
    if (Date.now() - mtime > STALE) findings.push({ path: file, what: "was left by a writer that was interrupted", serious: false, garbage: file });
  if (!entry.file && entry.temporary.length === 0)
    findings.push({
      path: entry.directory,
      what: entry.foreign.length > 0 ? `has no "file" in it, but ${entry.foreign[0]}` : "has no file in it",
      serious: entry.foreign.length > 0,
      ...(entry.foreign.length === 0 ? { garbage: entry.directory } : {}),
    });
  return findings;
}

export function removeGarbage(findings: readonly DeepFinding[]): Mended[] {
  const removed: Mended[] = [];
  for (const { path: file, garbage, what } of findings) {
    if (garbage === undefined) continue;
    rmSync(garbage, { recursive: true, force: true });
    removed.push({ name: path.basename(garbage), did: `removed: ${file} ${what}` });
  }
  return removed;
}
