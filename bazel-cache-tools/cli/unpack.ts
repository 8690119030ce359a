// bazel-cache unpack: an archive of bazel-cache pack, or a plain tar of a cache, put into the cache; from whomever it comes.
import { createReadStream } from "node:fs";
import { addAbortSignal, type Readable } from "node:stream";
import { Failure, usage } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { bytes, paint } from "../../host/cli/terminal.js";
import { printableName, Refusal } from "../archive/tar-header.js";
import { type Unpacked, unpack } from "../archive/unpack.js";
import { kindOfPath } from "../cache/candidates.js";
import { reasonOf } from "../cache/hashing.js";
import { openContext, type PlaceFlags } from "./context.js";
import { openProgress } from "./progress.js";

export interface UnpackFlags extends PlaceFlags {
  dryRun?: boolean;
  json?: boolean;
}

export async function runUnpack(file: string, flags: UnpackFlags): Promise<void> {
  if (file === "-" && process.stdin.isTTY) throw usage("-: standard input is a terminal; redirect it, or name a file");
  if (file !== "-" && kindOfPath(file) === "directory") throw usage(`${file}: is a directory; bazel-cache seed takes files from directories`);
  const { cache } = openContext(flags);
  const { signal } = interruption();
  const progress = await openProgress(flags.json);
  const source: Readable = addAbortSignal(signal, file === "-" ? process.stdin : createReadStream(file, { highWaterMark: 1024 * 1024 }));
  const bar = progress.bar("verifying", 0);
  let unpacked: Unpacked[];
  try {
    unpacked = await unpack(source, cache, { ...(flags.dryRun ? { dryRun: true } : {}), progress: bar.add });
  } catch (error) {
    if (signal.aborted) throw new Failure(`interrupted; ${cache} is as it was`);
    const name = file === "-" ? "standard input" : file;
    if (error instanceof Refusal)
      throw new Failure(error.entry === undefined ? `${name} ${error.why}; nothing was unpacked` : `${name}: ${error.message}; nothing was unpacked`);
    const { code, message, syscall } = error as NodeJS.ErrnoException;
    throw code !== undefined && syscall === "read" ? new Failure(`${name}: ${reasonOf(code, message)}; nothing was unpacked`) : error;
  } finally {
    source.destroy();
    bar.end();
    progress.close();
  }
  report(unpacked, cache, flags);
}

function report(unpacked: readonly Unpacked[], cache: string, flags: UnpackFlags): void {
  if (flags.json) {
    console.log(JSON.stringify({ cache, dryRun: flags.dryRun === true, entries: unpacked }, null, 2));
    return;
  }
  const fresh = unpacked.filter((e) => e.status === "unpacked");
  for (const { digest, size, names, replaced } of fresh)
    console.log(
      `${paint("green", flags.dryRun ? "would unpack" : "unpacked")} ${names.length > 0 ? printableName(names.join(", ")) : `${digest.algorithm} ${digest.hex}`} (${bytes(size)}${replaced ? `, in place of a file with another digest` : ""})`,
    );
  const marked = unpacked.filter((e) => e.status === "already there" && e.added.length > 0).length;
  const size = fresh.reduce((sum, e) => sum + e.size, 0);
  const rest = unpacked.length - fresh.length;
  console.log(
    `${fresh.length} ${flags.dryRun ? "to unpack" : "unpacked"} (${bytes(size)}), ${rest} already there${marked > 0 ? ` (${marked} of them marked)` : ""}; ${cache}`,
  );
}
