// file: URLs: a mirror on a disk or a mounted share.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { codeOf, TransferError } from "./failure.js";
import type { Job } from "./mirror.js";
import { throttle } from "./rate.js";
import { interrupted } from "./retry.js";

const REASONS: Record<string, string> = { ENOENT: "no such file", ENOTDIR: "no such file", EACCES: "permission denied", EPERM: "not permitted" };

function unreadable(error: unknown): TransferError {
  if (error instanceof TransferError) return error;
  return new TransferError("missing-file", REASONS[codeOf(error)] ?? (error instanceof Error ? error.message : String(error)));
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new TransferError("invalid-url", error instanceof Error ? error.message : "not a file URL");
  }
}

/** Copies the file into the partial file, from its first byte. */
export async function copyLocal(parsed: URL, url: string, { partial, network, limitRate, progress }: Job): Promise<void> {
  const { signal } = network;
  const path = pathOf(parsed);
  try {
    const stats = await stat(path);
    if (!stats.isFile()) throw new TransferError("missing-file", "not a file");
    await partial.begin({ url, total: stats.size });
    progress({ type: "started", total: stats.size });
    for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
      if (signal.aborted) throw interrupted();
      if (limitRate) await throttle(chunk.length, limitRate, signal);
      const writing = partial.append(chunk);
      if (writing) await writing;
      progress({ type: "bytes", received: partial.offset, total: stats.size });
    }
  } catch (error) {
    throw unreadable(error);
  }
}
