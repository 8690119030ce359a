// Where a bundler's output goes: into a directory from which somebody may be running the last build.
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Each file is complete when it appears, the entry last: somebody may be running the command line, or building it too. */
export function writeOutputs(dist, outputFiles, entry) {
  mkdirSync(dist, { recursive: true });
  const isEntry = (file) => path.basename(file) === entry;
  for (const { path: file, contents } of [...outputFiles].sort((a, b) => Number(isEntry(a.path)) - Number(isEntry(b.path)))) {
    const making = `${file}.${process.pid}`;
    writeFileSync(making, contents);
    if (isEntry(file)) chmodSync(making, 0o755);
    renameSync(making, file);
  }
}

/** Chunks of an earlier build go an hour later: its entry may still be running and load them. A package takes none along. */
export function removeOldOutputs(dist, outputFiles, others, packing) {
  const current = new Set([...outputFiles.map(({ path: file }) => path.basename(file)), ...others]);
  for (const name of readdirSync(dist)) {
    const file = path.join(dist, name);
    if (!current.has(name) && (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) < Date.now() - (packing ? 0 : 3_600_000)) rmSync(file, { force: true });
  }
}
