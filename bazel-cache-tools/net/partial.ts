// The file a download grows in: kept between runs, hashed while it is written, owned by one process at a time.
import { createHash } from "node:crypto";
import { constants, type FileHandle, open, readdir, readFile, rename, stat, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { type Algorithm, createHasher, type Digest, type Hasher } from "../cache/digest.js";
import { makeDirectories } from "../cache/directories.js";
import { diskFailure } from "./failure.js";
import { acquire, isAlive } from "./lock.js";
import type { Meta } from "./range.js";
import { interrupted } from "./retry.js";

/** Bytes gathered before they are written and hashed at once: many small chunks cost more than one large one. */
const GATHERED = 256 * 1024;
/** Chunks gathered at most; an operating system takes 1024 in one call. */
const GATHERED_CHUNKS = 512;

export interface PartialFile {
  readonly path: string;
  /** Bytes that are there. */
  readonly offset: number;
  readonly meta: Meta;
  /** More than one answer contributed to the bytes. */
  readonly spliced: boolean;
  /** Hashes what an earlier run left, before a rest is asked for. */
  prepare(): Promise<void>;
  /** The bytes of a new answer follow, from the first one of the file. */
  begin(meta: Meta): Promise<void>;
  /** The bytes of a new answer follow those that are there. */
  resume(meta: Meta): void;
  /** Takes bytes; the promise, where there is one, has to be awaited before the next. */
  append(chunk: Buffer): Promise<void> | undefined;
  /** Writes what is gathered. */
  flush(): Promise<void>;
  /** The digest of all bytes. Nothing can be appended afterwards but after a `begin`. */
  digest(): Promise<Digest>;
  /** Throws the bytes away, or keeps them as the file `as`. */
  restart(as?: string): Promise<void>;
  /** Hands the finished file over under a name of its own. `from`: another file that takes this one's place. */
  finish(from?: string): Promise<string>;
  /** Lets go. What is there stays for the next run where `keep` says so. */
  close(keep: boolean): Promise<void>;
}

/** Names of files in use by nobody but one process: "<host>-<pid>-<number>". */
const HOST = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
let used = 0;
const ownName = () => `${HOST}-${process.pid}-${++used}`;

/** The name under which the next run finds the file again. */
export function partialName(url: string, digest: Digest | undefined): string {
  return digest ? `${digest.algorithm}-${digest.hex}` : `url-${createHash("sha256").update(url).digest("hex").slice(0, 32)}`;
}

/**
 * Opens the partial file of a download. Where a live process works on it, this one gets a file of its own, which `close` removes.
 * @throws TransferError "disk".
 */
export async function openPartial(directory: string, base: string, algorithm: Algorithm, signal: AbortSignal): Promise<PartialFile> {
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw diskFailure(error, directory);
    }
  };
  const shared = join(directory, `${base}.part`);
  const release = await guarded(async () => {
    makeDirectories(directory);
    return acquire(join(directory, `${base}.lock`), shared);
  });
  const stem = join(directory, release ? base : `${base}.${ownName()}`);
  const path = `${stem}.part`;
  const metaPath = `${stem}.json`;

  let handle: FileHandle | undefined;
  let meta: Meta = {};
  let metaWritten = false;
  let written = 0;
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  let hasher: Hasher | undefined;
  let answers = 0;
  let broken = false;

  async function openFile(): Promise<FileHandle> {
    return open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
  }

  async function writeMeta(): Promise<void> {
    const temporary = `${metaPath}.new`;
    await writeFile(temporary, JSON.stringify(meta));
    await rename(temporary, metaPath);
    metaWritten = true;
  }

  async function write(chunks: Buffer[]): Promise<void> {
    // The meta stands before the bytes it describes. A file small enough to be written at once at its end never needs one.
    if (!metaWritten) await writeMeta();
    const writing = handle!.writev(chunks, written);
    for (const chunk of chunks) hasher!.update(chunk);
    const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    let done = (await writing).bytesWritten;
    // A full disk shows as a short write first.
    const rest = done < size ? Buffer.concat(chunks) : undefined;
    while (rest && done < size) done += (await handle!.write(rest, done, size - done, written + done)).bytesWritten;
    written += size;
  }

  async function flush(): Promise<void> {
    if (gatheredBytes === 0) return;
    const chunks = gathered;
    gathered = [];
    gatheredBytes = 0;
    try {
      await guarded(() => write(chunks));
    } catch (error) {
      broken = true;
      throw error;
    }
  }

  async function end(): Promise<void> {
    await handle?.close();
    handle = undefined;
    await release?.();
  }

  const partial: PartialFile = {
    path,
    get offset() {
      return written + gatheredBytes;
    },
    get meta() {
      return meta;
    },
    get spliced() {
      return answers > 1;
    },
    async prepare() {
      if (hasher || written === 0) return;
      const running = createHasher(algorithm);
      const buffer = Buffer.allocUnsafe(1024 * 1024);
      await guarded(async () => {
        for (let at = 0; at < written; ) {
          if (signal.aborted) throw interrupted();
          const { bytesRead } = await handle!.read(buffer, 0, Math.min(buffer.length, written - at), at);
          if (bytesRead === 0) throw new Error("the partial file was shortened by somebody else");
          running.update(buffer.subarray(0, bytesRead));
          at += bytesRead;
        }
      });
      hasher = running;
    },
    async begin(next) {
      await partial.restart();
      meta = next;
      answers = 1;
    },
    resume(next) {
      meta = next;
      metaWritten = false;
      answers++;
    },
    append(chunk) {
      gathered.push(chunk);
      gatheredBytes += chunk.length;
      return gatheredBytes >= GATHERED || gathered.length >= GATHERED_CHUNKS ? flush() : undefined;
    },
    flush,
    async digest() {
      await flush();
      await partial.prepare();
      const hex = (hasher ?? createHasher(algorithm)).digest("hex");
      hasher = undefined;
      return { algorithm, hex };
    },
    async restart(as) {
      await guarded(async () => {
        if (as !== undefined) {
          // Windows renames no open file.
          await handle!.close();
          await rename(path, as);
          handle = await openFile();
        } else if (written > 0) await handle!.truncate(0);
      });
      [written, gathered, gatheredBytes, answers, meta, metaWritten] = [0, [], 0, 0, {}, false];
      hasher = createHasher(algorithm);
    },
    async finish(from = path) {
      return guarded(async () => {
        const { size } = await stat(from);
        if (from === path && size !== written) throw new Error("the partial file was changed by somebody else");
        await handle!.close();
        const done = join(directory, `${base}.${ownName()}.done`);
        await rename(from, done);
        if (from !== path) await unlink(path);
        await unlink(metaPath).catch(() => undefined);
        handle = undefined;
        await end();
        return done;
      });
    },
    async close(keep) {
      // After finish() there is nothing to keep.
      if (!handle) return end();
      try {
        if (!broken) await flush();
      } finally {
        const kept = keep && release !== undefined && written > 0;
        // Windows removes no open file.
        await handle.close();
        if (!kept) await Promise.all([path, metaPath].map((file) => unlink(file).catch(() => undefined)));
        await end();
      }
    },
  };

  try {
    if (release) await guarded(() => adopt(directory, base, path, metaPath));
    handle = await guarded(openFile);
    written = (await guarded(() => handle!.stat())).size;
    if (written > 0) meta = await readMeta(metaPath);
    answers = written > 0 ? 1 : 0;
    metaWritten = written > 0;
    if (written === 0) hasher = createHasher(algorithm);
    return partial;
  } catch (error) {
    await end();
    throw error;
  }
}

async function readMeta(path: string): Promise<Meta> {
  try {
    const meta: unknown = JSON.parse(await readFile(path, "utf8"));
    return typeof meta === "object" && meta !== null ? meta : {};
  } catch {
    return {};
  }
}

/** Files that a killed run left under names of its own: a finished one takes the place of the partial file, the others go. */
async function adopt(directory: string, base: string, path: string, metaPath: string): Promise<void> {
  for (const file of await readdir(directory)) {
    if (!file.startsWith(`${base}.${HOST}-`)) continue;
    const [, pid, kind] = /^\.[0-9a-f]+-(\d+)-\d+\.(.+)$/.exec(file.slice(base.length)) ?? [];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const leftover = join(directory, file);
    if (kind !== "done" || base.startsWith("url-")) {
      await unlink(leftover).catch(() => undefined);
      continue;
    }
    const { size } = await stat(leftover);
    await writeFile(metaPath, JSON.stringify({ total: size } satisfies Meta));
    await rename(leftover, path);
  }
}
