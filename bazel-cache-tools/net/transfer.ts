// A transfer: one wanted file from the first of its URLs that has it, resumed where an earlier run stopped.
import { type Digest, sameDigest } from "../cache/digest.js";
import { type Connections, openConnections } from "./connections.js";
import { report, TransferError, type TransferFailure, withoutSecrets } from "./failure.js";
import { download, type Job, type ProgressEvent } from "./mirror.js";
import { readNetrc } from "./netrc.js";
import { openPartial, type PartialFile, partialName } from "./partial.js";
import { isResumable } from "./range.js";
import { type Backoff, interrupted } from "./retry.js";

export interface Wanted {
  /** For messages. */
  name: string;
  /** Mirrors of the same bytes, in order of preference. */
  urls: string[];
  digest?: Digest;
}

export interface TransferOptions {
  /** Where partial files are kept between runs; created if missing. On the file system of the cache, so that the result can be renamed into it. */
  directory: string;
  /** Ends the transfer soon. The partial file stays, and the next run resumes it. */
  signal: AbortSignal;
  /** Tries of a URL that get no further, one after another. Default 5. */
  attempts?: number;
  /** ms without a byte after which a connection is given up. Default 30,000. */
  stallTimeout?: number;
  /** ms until a connection stands. Default 15,000. */
  connectTimeout?: number;
  /** Pauses between tries, ms. They double, with full jitter. Default 500 up to 30,000. */
  backoff?: Backoff;
  /** Bytes per second, over all transfers of the process that name the same limit. */
  limitRate?: number;
  /** Keep files with a wrong digest beside the partial ones, and say where. */
  keepBad?: boolean;
  /** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY in either case, NETRC, HOME, SSL_CERT_FILE. Default `process.env`. */
  env?: Record<string, string | undefined>;
  /** Connections to share with other transfers, which the caller closes. */
  connections?: Connections;
  progress?(event: ProgressEvent): void;
}

export type TransferResult =
  | {
      ok: true;
      /** The complete and verified file, in `directory` under a name of its own: the caller renames it away. */
      file: string;
      digest: Digest;
      bytes: number;
      /** The URL as it was wanted. */
      url: string;
      /** Bytes that an earlier connection or run had brought. */
      resumedFrom?: number;
      /** The content coding that had to be undone ("gzip", "deflate", "br"). */
      decoded?: string;
    }
  /** One failure for each URL that was tried, in order. After "disk" and "aborted" no other is tried. */
  | { ok: false; failures: TransferFailure[] };

const DEFAULTS = { attempts: 5, stallTimeout: 30_000, connectTimeout: 15_000, backoff: { first: 500, most: 30_000 } };

/**
 * Downloads a file. Without a digest its SHA-256 is computed and given, and only the order of HTTP vouches for the bytes: of a body that has neither length nor chunks, no more than the end of its connection.
 * @returns the verified file, or a failure for each URL; nothing about a network, a server or a disk is thrown.
 * @example
 * const result = await transfer({ name: "v8", urls: ["https://example.org/v8.tar.gz"], digest }, { directory: "/cache/partial", signal });
 * if (result.ok) await rename(result.file, place);
 */
export async function transfer(wanted: Wanted, options: TransferOptions): Promise<TransferResult> {
  const [first] = wanted.urls;
  if (first === undefined) return failed("", new TransferError("invalid-url", `${wanted.name} has no URL`));
  if (options.signal.aborted) return failed(first, interrupted());
  let partial: PartialFile;
  try {
    partial = await openPartial(options.directory, partialName(first, wanted.digest), wanted.digest?.algorithm ?? "sha256", options.signal);
  } catch (error) {
    if (error instanceof TransferError) return failed(first, error);
    throw error;
  }
  const env = options.env ?? process.env;
  const connectTimeout = options.connectTimeout ?? DEFAULTS.connectTimeout;
  // Two for a tunnel: that to the proxy and that behind it.
  const connections = options.connections ?? (await openConnections(env, 2 * connectTimeout));
  try {
    const job: Job = {
      digest: wanted.digest,
      partial,
      network: {
        connections,
        env,
        netrc: await readNetrc(env),
        signal: options.signal,
        stallTimeout: options.stallTimeout ?? DEFAULTS.stallTimeout,
        connectTimeout,
      },
      attempts: Math.max(1, options.attempts ?? DEFAULTS.attempts),
      backoff: options.backoff ?? DEFAULTS.backoff,
      limitRate: options.limitRate,
      keepBad: options.keepBad ?? false,
      progress: (event) => options.progress?.(event),
    };
    return (await completed(wanted, job)) ?? (await fromMirrors(wanted, job));
  } catch (error) {
    if (error instanceof TransferError) return failed(first, error);
    throw error;
  } finally {
    if (!options.connections) connections.close();
    await partial.close(isResumable(partial, wanted.digest !== undefined));
  }
}

function failed(url: string, failure: TransferError): TransferResult {
  return { ok: false, failures: [report(url, failure, 1)] };
}

/** An earlier run may have been killed between the last byte and the hand-over. */
async function completed(wanted: Wanted, { partial, progress }: Job): Promise<TransferResult | undefined> {
  const bytes = partial.offset;
  if (bytes === 0 || bytes < (partial.meta.total ?? Number.POSITIVE_INFINITY)) return undefined;
  const url = wanted.urls.find((one) => one === partial.meta.url) ?? wanted.urls[0]!;
  const digest = wanted.digest && (await partial.digest());
  // Without a digest nothing but the end of the answer would have told that it was complete, and that is unknown now.
  if (!digest || !sameDigest(digest, wanted.digest!)) {
    await partial.restart();
    return undefined;
  }
  const file = await partial.finish();
  progress({ type: "done", bytes });
  return { ok: true, file, digest, bytes, url, resumedFrom: bytes };
}

async function fromMirrors(wanted: Wanted, job: Job): Promise<TransferResult> {
  const failures: TransferFailure[] = [];
  for (const url of wanted.urls) {
    const before = failures.at(-1);
    if (before) job.progress({ type: "mirror", url: withoutSecrets(url), reason: before.message });
    const outcome = await download(url, job);
    if (outcome.ok) {
      const { verified, resumedFrom } = outcome;
      job.progress({ type: "done", bytes: verified.bytes });
      return { ok: true, ...verified, url, ...(resumedFrom === undefined ? {} : { resumedFrom }) };
    }
    failures.push(report(url, outcome.failure, outcome.tries));
    if (outcome.failure.kind === "disk" || outcome.failure.kind === "aborted") break;
  }
  return { ok: false, failures };
}
