// A lock file that names its process, so that two runs never write the same partial file.
import { readFileSync } from "node:fs";
import { constants, copyFile, type FileHandle, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { codeOf } from "./failure.js";

/** A lock of another machine (or container, whose pids mean nothing here) counts for dead when neither it nor its file moved for this long, ms. */
const FOREIGN_IDLE = 10 * 60_000;

/** A lock file without its text, or one being taken over, belongs to a process that died in between when it is this old, ms. */
const HALF_WRITTEN = 10_000;

interface Holder {
  pid: number;
  host: string;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    // EPERM: it is there, but somebody else's.
    return codeOf(error) === "EPERM";
  }
}

/** Dead, but not collected by its parent: in a container without an init that stays so. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
  } catch {
    return false; // No /proc: not Linux.
  }
}

/** ms since the file was last written. Undefined where there is none. */
async function age(path: string): Promise<number | undefined> {
  const stats = await stat(path).catch(() => undefined);
  return stats && Date.now() - stats.mtimeMs;
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, host } = JSON.parse(text) as Partial<Holder>;
    return Number.isInteger(pid) && typeof host === "string" ? { pid: pid!, host } : undefined;
  } catch {
    return undefined;
  }
}

/** What is known of whoever wrote the lock: at work, gone for certain, or somewhere else and silent for long. */
async function holderOf(lock: string, guarded: string): Promise<"live" | "dead" | "silent"> {
  const text = await readFile(lock, "utf8").catch(() => undefined);
  if (text === undefined) return "dead";
  const holder = parseHolder(text);
  if (!holder) return ((await age(lock)) ?? HALF_WRITTEN) < HALF_WRITTEN ? "live" : "dead";
  if (holder.host === hostname()) return isAlive(holder.pid) ? "live" : "dead";
  const idle = Math.min((await age(lock)) ?? FOREIGN_IDLE, (await age(guarded)) ?? FOREIGN_IDLE);
  return idle < FOREIGN_IDLE ? "live" : "silent";
}

async function create(path: string): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(path, "wx");
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
  try {
    await handle.writeFile(JSON.stringify({ pid: process.pid, host: hostname() } satisfies Holder));
  } finally {
    await handle.close();
  }
  return true;
}

/**
 * Takes the lock `path` that guards the file `guarded`, or says that a live process has it.
 * @returns what gives it back, or undefined where it is held.
 * @throws the file system's error where no lock can be written.
 */
export async function acquire(path: string, guarded: string): Promise<(() => Promise<void>) | undefined> {
  const release = async () => unlink(path).catch(() => undefined);
  if (await create(path)) return release;
  if ((await holderOf(path, guarded)) === "live") return undefined;
  // Of several that find the same dead lock only one may remove it: the second would remove the first one's new lock.
  const takeover = `${path}.takeover`;
  if (((await age(takeover)) ?? 0) > HALF_WRITTEN) await unlink(takeover).catch(() => undefined);
  if (!(await create(takeover))) return undefined;
  try {
    const holder = await holderOf(path, guarded);
    if (holder === "live") return undefined;
    if (holder === "silent") await detach(guarded);
    await unlink(path).catch(() => undefined);
    return (await create(path)) ? release : undefined;
  } finally {
    await unlink(takeover).catch(() => undefined);
  }
}

/** Should a silent holder wake up after all, it writes into a file that nobody reads any more. */
async function detach(guarded: string): Promise<void> {
  const copy = `${guarded}.copy`;
  try {
    await copyFile(guarded, copy, constants.COPYFILE_FICLONE);
    await rename(copy, guarded);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}
