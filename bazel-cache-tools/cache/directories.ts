// Making directories one by one: Node's own recursive mkdir runs for ever where the system refuses with ENOENT (below /proc, for one).
import { mkdirSync, statSync } from "node:fs";
import path from "node:path";

/** Makes a directory and those above it. Gives the topmost that was not there before, or undefined. Throws the file system's errors. */
export function makeDirectories(directory: string): string | undefined {
  const missing: string[] = [];
  for (let current = path.resolve(directory); !isDirectory(current); current = path.dirname(current)) missing.unshift(current);
  for (const next of missing) {
    try {
      mkdirSync(next);
    } catch (error) {
      // Somebody else was faster.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !isDirectory(next)) throw error;
    }
  }
  return missing[0];
}

/** Whether it is one; something else in its place is the file system's error. */
function isDirectory(directory: string): boolean {
  const stat = statSync(directory, { throwIfNoEntry: false });
  if (stat && !stat.isDirectory()) throw Object.assign(new Error(`${directory} is no directory`), { code: "ENOTDIR" });
  return stat !== undefined;
}
