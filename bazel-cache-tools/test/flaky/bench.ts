// What tests of the downloader share: a flaky server, an empty directory, and transfers with pauses too short to notice.
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Digest } from "../../cache/digest.js";
import { type ProgressEvent, type TransferOptions, type TransferResult, transfer, type Wanted } from "../../net/index.js";
import { type Flaky, type FlakyOptions, startFlaky } from "./server.js";

export interface Bench {
  server: Flaky;
  directory: string;
  /** Events of all transfers so far. */
  events: ProgressEvent[];
  /** Transfers from `urls`; the environment is empty unless given. */
  get(urls: string | string[], digest?: Digest, options?: Partial<TransferOptions>): Promise<TransferResult>;
  /** Resolves at the next event that fits. */
  next(fits: (event: ProgressEvent) => boolean): Promise<void>;
  /** Names of the files in the directory. */
  files(): Promise<string[]>;
  close(): Promise<void>;
}

export function sha256(data: Uint8Array): Digest {
  return { algorithm: "sha256", hex: createHash("sha256").update(data).digest("hex") };
}

/** Random bytes, so that no part of the file looks like another. */
export function randomFile(bytes: number): Buffer {
  return randomBytes(bytes);
}

export async function openBench(options: FlakyOptions = {}): Promise<Bench> {
  const server = await startFlaky(options);
  const directory = await mkdtemp(join(tmpdir(), "flaky-"));
  const events: ProgressEvent[] = [];
  const waiting = new Set<(event: ProgressEvent) => void>();
  return {
    server,
    directory,
    events,
    get(urls, digest, more = {}) {
      const wanted: Wanted = { name: "file", urls: typeof urls === "string" ? [urls] : urls, ...(digest ? { digest } : {}) };
      return transfer(wanted, {
        directory,
        signal: new AbortController().signal,
        attempts: 3,
        stallTimeout: 5000,
        connectTimeout: 5000,
        backoff: { first: 1, most: 2 },
        env: {},
        progress: (event) => {
          events.push(event);
          for (const tell of waiting) tell(event);
        },
        ...more,
      });
    },
    next: (fits) =>
      new Promise((resolve) => {
        const tell = (event: ProgressEvent) => {
          if (!fits(event)) return;
          waiting.delete(tell);
          resolve();
        };
        waiting.add(tell);
      }),
    files: async () => (await readdir(directory)).sort(),
    async close() {
      await server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Whether the result is this very file, on disk. Throws the failures where it is none; comparing megabytes by `toEqual` takes seconds. */
export async function isFile(result: TransferResult, file: Buffer): Promise<boolean> {
  if (!result.ok) throw new Error(result.failures.map((failure) => failure.message).join("\n"));
  return file.equals(await readFile(result.file));
}

/** The failures of a result that has to have some. */
export function failuresOf(result: TransferResult): Extract<TransferResult, { ok: false }>["failures"] {
  if (result.ok) throw new Error(`unexpected success from ${result.url}`);
  return result.failures;
}
