// Where an archive lies while it is not yet verified: in the cache's own directory, so that renames put its files in place, and gone however the run ends.
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { makeDirectories } from "../cache/directories.js";
import { TEMPORARY_AGE } from "../cache/gc.js";
import { OWN_DIRECTORY } from "../cache/layout.js";
import { notWritten } from "../cache/store.js";
import { isAlive } from "../net/lock.js";

const PREFIX = "unpack-";

/** Says in a staging whose it is. */
const OWNER = "owner.json";

export interface Staging {
  directory: string;
  remove(): void;
}

/** Throws a Failure where the cache cannot be written. */
export function openStaging(cache: string): Staging {
  const directory = path.join(cache, OWN_DIRECTORY, PREFIX + randomUUID());
  let made: string | undefined;
  const remove = () => {
    rmSync(directory, { recursive: true, force: true });
    // Directories that were not there before go with it, unless something has come to lie in them.
    for (let above = path.dirname(directory); made !== undefined && above.length >= made.length; above = path.dirname(above)) {
      try {
        rmdirSync(above);
      } catch {
        return;
      }
    }
  };
  try {
    made = makeDirectories(directory);
    writeFileSync(path.join(directory, OWNER), JSON.stringify({ pid: process.pid, host: hostname() }));
  } catch (error) {
    remove();
    throw notWritten(path.dirname(directory), error);
  }
  return { directory, remove };
}

/** What killed runs have left. Those of other machines that share the cache count for dead after a day. */
export function staleStagings(cache: string): string[] {
  const above = path.join(cache, OWN_DIRECTORY);
  let names: string[];
  try {
    names = readdirSync(above);
  } catch {
    return []; // There is none, or it is not ours to read: then not to clean, either.
  }
  return names
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => path.join(above, name))
    .filter(isStale);
}

export function removeStaleStagings(cache: string): void {
  for (const directory of staleStagings(cache)) rmSync(directory, { recursive: true, force: true });
}

function isStale(directory: string): boolean {
  const owner = ownerOf(directory);
  if (owner && owner.host === hostname()) return !isAlive(owner.pid);
  const stat = statSync(directory, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > TEMPORARY_AGE;
}

function ownerOf(directory: string): { pid: number; host: string } | undefined {
  try {
    const { pid, host } = JSON.parse(readFileSync(path.join(directory, OWNER), "utf8")) as { pid?: unknown; host?: unknown };
    return Number.isInteger(pid) && typeof host === "string" ? { pid: pid as number, host } : undefined;
  } catch {
    return undefined;
  }
}
