// Files that are there whole or not at all.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Failure } from "./failure.js";

/** Under a name of its own, flushed, then renamed: whoever reads sees the old file or the new one. */
export function writeAtomically(file: string, data: Uint8Array): void {
  const directory = path.dirname(path.resolve(file));
  const making = path.join(directory, `.${path.basename(file)}.${process.pid}`);
  try {
    mkdirSync(directory, { recursive: true });
    const descriptor = openSync(making, "w");
    try {
      writeFileSync(descriptor, data);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(making, file);
  } catch (error) {
    if (existsSync(making)) rmSync(making);
    throw new Failure(`${file} cannot be written: ${(error as Error).message}`);
  }
}
