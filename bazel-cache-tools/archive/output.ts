// Where an archive goes: a file that is there whole or not at all, or standard output.
import { randomUUID } from "node:crypto";
import { closeSync, createWriteStream, fsyncSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { usage } from "../../host/cli/failure.js";
import { notWritten } from "../cache/store.js";
import type { Packed } from "./contents.js";
import { type WriteOptions, writeTar } from "./write-tar.js";

/** Throws a usage Failure where no archive can go there. */
export function checkOutput(output: string, terminal: boolean): void {
  if (output === "-") {
    if (terminal) throw usage("-o -: standard output is a terminal; redirect it, or name a file");
    return;
  }
  const there = statSync(output, { throwIfNoEntry: false });
  // A device would be replaced by a file.
  if (there && !there.isFile())
    throw usage(`-o ${output}: is ${there.isDirectory() ? "a directory; name a file in it" : "no plain file; write to - and redirect that"}`);
}

/** Writes under another name, flushes, and renames; removes what it has written where it fails. */
export async function writeArchive(entries: readonly Packed[], output: string, options: Omit<WriteOptions, "end">): Promise<void> {
  if (output === "-") return writeTar(entries, process.stdout, { ...options, end: false });
  const full = path.resolve(output);
  const temporary = path.join(path.dirname(full), `.${path.basename(full)}.${randomUUID()}`);
  try {
    await writeTar(entries, createWriteStream(temporary, { flags: "wx", mode: 0o644, highWaterMark: 4 * 1024 * 1024 }), { ...options, end: true });
    flush(temporary);
    renameSync(temporary, full);
  } catch (error) {
    rmSync(temporary, { force: true });
    const { code, syscall } = error as NodeJS.ErrnoException;
    throw code !== undefined && ["open", "write", "writev", "fsync", "rename"].includes(syscall ?? "") ? notWritten(full, error) : error;
  }
}

function flush(file: string): void {
  const descriptor = openSync(file, "r+");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
