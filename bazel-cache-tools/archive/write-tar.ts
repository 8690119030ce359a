// Writes an archive: the same entries make the same bytes, wherever and whenever. Each file is verified on its way.
import { once } from "node:events";
import { createReadStream } from "node:fs";
import path from "node:path";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Pack, pack } from "tar-stream";
import { Failure } from "../../host/cli/failure.js";
import { createHasher } from "../cache/digest.js";
import { reasonOf } from "../cache/hashing.js";
import { CONTENT_ADDRESSABLE, FILE } from "../cache/layout.js";
import type { Packed } from "./contents.js";
import { formatManifest, MANIFEST } from "./manifest.js";

/** Bytes read at a time. */
const PIECE = 1024 * 1024;

export interface WriteOptions {
  signal: AbortSignal;
  /** Told of bytes that were packed since it was told before. */
  progress?(bytes: number): void;
  /** Whether the output is ended with the archive. */
  end: boolean;
}

/** Throws a Failure for an entry whose bytes are not those of its digest; rejects with the output's error, and when aborted. The output is then half written. */
export async function writeTar(entries: readonly Packed[], output: Writable, options: WriteOptions): Promise<void> {
  const tar = pack();
  const flowed = pipeline(Readable.from(tar), output, { signal: options.signal, end: options.end });
  // Everything below waits for it as well, so that an output that fails ends the rest.
  flowed.catch((error: Error) => tar.destroy(error));
  tar.on("error", toldElsewhere);
  const manifest = Buffer.from(formatManifest(entries));
  try {
    await addMember(tar, MANIFEST, manifest.length, [manifest], flowed);
    for (const entry of entries) {
      const directory = path.posix.join(CONTENT_ADDRESSABLE, entry.digest.algorithm, entry.digest.hex);
      await addMember(tar, `${directory}/${FILE}`, entry.size, verifiedPieces(entry, options), flowed);
      for (const marker of entry.markers) await addMember(tar, `${directory}/${marker}`, 0, [], flowed);
    }
    tar.finalize();
  } catch (error) {
    tar.destroy(error as Error);
    await flowed.catch(() => {});
    throw error;
  }
  await flowed;
}

/** Errors of the tar's own streams are those of the output or of an entry, which are thrown. */
function toldElsewhere(): void {}

/** Nothing of where and when: who unpacks gets files that are his own. */
async function addMember(tar: Pack, name: string, size: number, pieces: AsyncIterable<Buffer> | Iterable<Buffer>, flowed: Promise<void>): Promise<void> {
  const { promise: done, resolve, reject } = withResolvers();
  const sink = tar.entry({ name, size, type: "file", mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) }, (error) => (error ? reject(error) : resolve()));
  sink.on("error", toldElsewhere);
  for await (const piece of pieces) if (!sink.write(piece)) await Promise.race([once(sink, "drain"), flowed]);
  sink.end(undefined);
  await Promise.race([done, flowed]);
}

/** Promise.withResolvers of Node 22. A rejection that nobody waits for any more is no error: the first one was thrown. */
function withResolvers(): { promise: Promise<void>; resolve(): void; reject(error: Error): void } {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** A file's bytes, of the announced number and with the right digest. Throws a Failure at their end where they are not. */
async function* verifiedPieces({ file, digest, size }: Packed, { progress }: WriteOptions): AsyncGenerator<Buffer> {
  const hasher = createHasher(digest.algorithm);
  let read = 0;
  try {
    for await (const piece of createReadStream(file, { highWaterMark: PIECE }) as AsyncIterable<Buffer>) {
      read += piece.length;
      if (read > size) break;
      hasher.update(piece);
      progress?.(piece.length);
      yield piece;
    }
  } catch (error) {
    const { code, message, syscall } = error as NodeJS.ErrnoException;
    throw code !== undefined && (syscall === "open" || syscall === "read") ? new Failure(`${file}: ${reasonOf(code, message)}`) : error;
  }
  if (read !== size) throw new Failure(`${file} changed while it was read; run the same again`);
  const actual = hasher.digest("hex");
  if (actual !== digest.hex)
    throw new Failure(
      `${file}: has ${digest.algorithm} ${actual}, not that of its directory; bazel-cache doctor --deep --fix removes it, bazel-cache fetch gets it again`,
    );
}
