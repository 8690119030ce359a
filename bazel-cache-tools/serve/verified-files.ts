// Opens entries for reading, each verified before its first byte goes out, and again when it is another file than was verified.
import { fstatSync, futimesSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type Digest, keyOf } from "../cache/digest.js";
import { hashOne } from "../cache/hashing.js";
import { entryFile } from "../cache/layout.js";

export interface VerifiedFile {
  handle: FileHandle;
  /** Bytes. */
  size: number;
  /** ms, whole seconds: of when the bytes were first seen, since every use changes the file's own time. */
  lastModified: number;
  /** Sets the time of the last use, by which caches are cleaned; as Bazel does at every hit. Where the cache is not ours it stays as it is. */
  touch(): void;
}

export interface VerifiedFiles {
  /** Undefined for what is not there, or not what it should be: `corrupt` is told of that. */
  open(digest: Digest): Promise<VerifiedFile | undefined>;
}

/** A file as it was when it had the right bytes. */
interface Seal {
  size: bigint;
  mtimeNs: bigint;
  ino: bigint;
  dev: bigint;
}

/** Bazel and others touch and replace files at any time: so often is an opened one looked at again. */
const ATTEMPTS = 4;

export function verifiedFiles(cache: string, corrupt: (file: string, reason: string) => void): VerifiedFiles {
  const seals = new Map<string, Seal>();
  const seen = new Map<string, number>();
  const hashing = new Map<string, Promise<"right" | "wrong" | "changing">>();

  const hash = async (digest: Digest): Promise<"right" | "wrong" | "changing"> => {
    const file = entryFile(cache, digest);
    seals.delete(keyOf(digest));
    const hashed = await hashOne(file, [digest.algorithm]);
    if (hashed.ok && hashed.digests[digest.algorithm] === digest.hex) {
      const { size, mtimeNs, ino, dev } = hashed.identity;
      seals.set(keyOf(digest), { size: BigInt(size), mtimeNs, ino, dev });
      return "right";
    }
    if (hashed.ok)
      corrupt(file, `has ${digest.algorithm} ${hashed.digests[digest.algorithm]}, not that of its directory; bazel-cache doctor --deep --fix removes it`);
    else if (hashed.code === "CHANGED") return "changing";
    else if (hashed.code !== "ENOENT") corrupt(file, hashed.reason);
    return "wrong";
  };
  /** Many ask for the same large file at once, and it is read once. */
  const verify = (digest: Digest): Promise<"right" | "wrong" | "changing"> => {
    const key = keyOf(digest);
    const running = hashing.get(key) ?? hash(digest).finally(() => hashing.delete(key));
    hashing.set(key, running);
    return running;
  };
  /** Looks and decides in one go: a touch by another transfer comes before or after, and takes the seal along. */
  const ifSealed = (digest: Digest, handle: FileHandle): VerifiedFile | undefined => {
    const key = keyOf(digest);
    const stat = fstatSync(handle.fd, { bigint: true });
    const seal = seals.get(key);
    if (!seal || !isSame(seal, stat)) return undefined;
    const lastModified = seen.get(key) ?? Math.floor(Number(stat.mtimeMs) / 1000) * 1000;
    seen.set(key, lastModified);
    return { handle, size: Number(stat.size), lastModified, touch: () => touch(handle, seals.get(key)) };
  };

  return {
    async open(digest) {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const handle = await open(entryFile(cache, digest), "r").catch(() => undefined);
        if (!handle) return undefined;
        let file: VerifiedFile | undefined;
        try {
          file = ifSealed(digest, handle);
          if (file) return file;
          if ((await verify(digest)) === "wrong") return undefined;
          file = ifSealed(digest, handle);
          if (file) return file;
        } finally {
          if (!file) await handle.close();
        }
      }
      return undefined;
    },
  };
}

function isSame(a: Seal, b: Seal): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ino === b.ino && a.dev === b.dev;
}

/** Our own touch breaks no seal, unless somebody else has changed the file. */
function touch({ fd }: FileHandle, seal: Seal | undefined): void {
  try {
    const intact = seal && isSame(seal, fstatSync(fd, { bigint: true }));
    const now = new Date();
    futimesSync(fd, now, now);
    if (intact) seal.mtimeNs = fstatSync(fd, { bigint: true }).mtimeNs;
  } catch {
    // A cache of others, or on a read-only file system.
  }
}
