// bazel-cache fetch: everything that a workspace declares and that the cache does not have, over whatever network there is.
import { setMaxListeners } from "node:events";
import pLimit from "p-limit";
import { Failure } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { bytes, color, paint } from "../../host/cli/terminal.js";
import { type Digest, groupByDigest } from "../cache/digest.js";
import { partialDirectory } from "../cache/layout.js";
import { placeFile, sourceOf } from "../cache/store.js";
import { examine, type State, wouldMiss } from "../check/examine.js";
import { mend } from "../check/mend.js";
import { canonicalIdsOf, type Download, type Problem } from "../declared/download.js";
import { registryReader } from "../declared/registry.js";
import { type Connections, openConnections, type ProgressEvent, type TransferFailure, transfer } from "../net/index.js";
import { type Context, openContext, otherCaches, type PlaceFlags, requireWorkspace } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
import { fetchRegistryFile } from "./fetch-registry.js";
import { choose } from "./names.js";
import { openProgress, type Progress } from "./progress.js";

export interface FetchFlags extends PlaceFlags, DeclaredFlags {
  only?: string[];
  ignore?: string[];
  jobs?: number;
  attempts?: number;
  limitRate?: number;
  stallTimeout?: number;
  dryRun?: boolean;
  json?: boolean;
}

export interface FetchOptions {
  signal: AbortSignal;
  progress: Progress;
  jobs?: number;
  attempts?: number;
  limitRate?: number;
  /** ms */
  stallTimeout?: number;
}

export interface Fetched {
  download: Download;
  ok: boolean;
  bytes?: number;
  url?: string;
  resumedFrom?: number;
  failures?: TransferFailure[];
}

/** As many as Bazel has (--http_max_parallel_downloads). */
const JOBS = 8;

export async function runFetch(named: string | undefined, flags: FetchFlags): Promise<void> {
  const context = openContext(flags, named);
  if (!flags.fromJson) requireWorkspace(context);
  const { signal } = interruption();
  // Each transfer listens to it.
  setMaxListeners(0, signal);
  const progress = await openProgress(flags.json);
  const options: FetchOptions = { signal, progress, ...settings(flags) };
  let fetched: Fetched[] = [];
  let problems: Problem[] = [];
  let before = 0;
  let never: Download[] = [];
  let waiting: Download[] = [];
  try {
    const reader = registryReader(context.cache, (url, digest) => fetchRegistryFile(url, digest, context, options));
    const declared = await declaredDownloads(context, flags, flags.dryRun ? undefined : reader);
    problems = declared.problems;
    const chosen = choose(declared.downloads, flags);
    const input = { cache: context.cache, otherCaches: otherCaches(context.where), version: context.version, ids: context.ids, hashing: { signal } };
    const findings = await examine(chosen, input);
    never = findings.filter((f) => f.state === "never cacheable").map((f) => f.download);
    // What is there under a wrong name, without its marker or in another cache needs no network; what is on the disk is cached, for builds with downloads switched off.
    const nearby = findings.flatMap((f) =>
      f.state === "marker missing" || f.state === "wrong directory" ? [f] : f.state === "local" ? [{ ...f, state: "miss" as const }] : [],
    );
    const mending = !flags.dryRun && nearby.length > 0;
    if (mending) await mend(nearby, { cache: context.cache, search: [] });
    const now = mending ? await examine(chosen, input) : findings;
    // Without --dry-run these are mended by now.
    const needed = (state: State) =>
      wouldMiss(state) && state !== "never cacheable" && !(flags.dryRun && (state === "marker missing" || state === "wrong directory"));
    waiting = now.filter((f) => needed(f.state)).map((f) => f.download);
    before = now.length - waiting.length - never.length;
    if (!flags.dryRun) fetched = await fetchMissing(waiting, context, options);
  } catch (error) {
    if (signal.aborted) throw new Failure(INTERRUPTED);
    throw error;
  } finally {
    progress.close();
  }
  report({ context, flags, fetched, waiting, before, never, problems });
  const failed = fetched.filter((f) => !f.ok);
  if (signal.aborted) throw new Failure(INTERRUPTED);
  if (failed.length > 0) {
    const again = failed.some((f) => f.failures?.some(({ kind }) => TRANSIENT.has(kind)));
    const how = again
      ? "run the same again to go on where they stopped, or get them some other way and bazel-cache seed them"
      : "get them some other way and bazel-cache seed them";
    throw new Failure(`${failed.length} of ${fetched.length} could not be fetched; ${how}`);
  }
  if (problems.some((p) => !p.elsewhere)) throw new Failure("what could not be read (above) may declare more");
}

/** What may be better in a while. */
const TRANSIENT: ReadonlySet<TransferFailure["kind"]> = new Set([
  "refused",
  "unreachable",
  "connect-timeout",
  "unknown-host",
  "proxy",
  "truncated",
  "stalled",
  "reset",
  "disk",
  "other",
]);

const INTERRUPTED = "interrupted; what came so far is kept, run the same again to go on";

function settings({ jobs, attempts, limitRate, stallTimeout }: FetchFlags): Partial<FetchOptions> {
  return {
    ...(jobs === undefined ? {} : { jobs }),
    ...(attempts === undefined ? {} : { attempts }),
    ...(limitRate === undefined ? {} : { limitRate }),
    ...(stallTimeout === undefined ? {} : { stallTimeout: stallTimeout * 1000 }),
  };
}

/** Fetches each digest once, several at a time, and puts it into the cache with the markers of all that declare it. Resolves early, with what there is, when aborted. */
export async function fetchMissing(downloads: readonly Download[], context: Pick<Context, "cache">, options: FetchOptions): Promise<Fetched[]> {
  if (downloads.length === 0) return [];
  const groups = groupByDigest(downloads, ({ digest }) => digest);
  const limit = pLimit(options.jobs ?? JOBS);
  const connections = await openConnections(process.env);
  const total = new Total(options.progress, groups.size);
  try {
    const results = await Promise.all([...groups.values()].map((group) => limit(() => fetchGroup(group, context.cache, connections, total, options))));
    return results.flat();
  } finally {
    total.end();
    connections.close();
  }
}

async function fetchGroup(
  group: readonly [Download, ...Download[]],
  cache: string,
  connections: Connections,
  total: Total,
  options: FetchOptions,
): Promise<Fetched[]> {
  const { signal, progress, jobs: _, ...rest } = options;
  if (signal.aborted) return [];
  const [first] = group;
  const digest = first.digest!;
  const urls = [...new Set(group.flatMap((d) => d.urls))];
  const meter = new Meter(first.name, total, progress);
  try {
    const result = await transfer(
      { name: first.name, urls, digest },
      { ...rest, directory: partialDirectory(cache), signal, connections, progress: (event) => meter.take(event) },
    );
    if (!result.ok) {
      const aborted = result.failures.some((f) => f.kind === "aborted");
      if (!aborted) progress.log(failure(first, result.failures));
      return group.map((download) => ({ download, ok: false, failures: result.failures }));
    }
    const refused = await store(result.file, digest, group, cache);
    if (refused) {
      progress.log(`${paint("red", "failed", color.err)} ${first.name}\n    ${refused.message}`);
      return group.map((download) => ({ download, ok: false, failures: [{ url: result.url, kind: "disk", message: refused.message }] }));
    }
    const resumed = result.resumedFrom ? `, resumed at ${bytes(result.resumedFrom)}` : "";
    progress.log(`${paint("green", "fetched", color.err)} ${first.name} (${bytes(result.bytes)}${resumed})`);
    return group.map((download) => ({
      download,
      ok: true,
      bytes: result.bytes,
      url: result.url,
      ...(result.resumedFrom ? { resumedFrom: result.resumedFrom } : {}),
    }));
  } finally {
    meter.end();
    total.finished();
  }
}

/** Puts a file that came into the cache, with the markers of all that declare it. The error of one entry does not end the others. */
async function store(file: string, digest: Digest, group: readonly Download[], cache: string): Promise<Failure | undefined> {
  try {
    const source = await sourceOf(file, digest);
    if (!source) throw new Failure(`${file}: was changed after it was downloaded`);
    await placeFile(cache, source, group.flatMap(canonicalIdsOf), { move: true });
    return undefined;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

function failure({ name, digest }: Download, failures: readonly TransferFailure[]): string {
  const lines = failures.map((f) => `    ${withDigests(f, digest)}`);
  return [`${paint("red", "failed", color.err)} ${name}`, ...lines].join("\n");
}

/** A failure's line, with both digests where it has not said them. */
export function withDigests({ message, actual }: TransferFailure, declared: Digest | undefined): string {
  return actual && declared && !message.includes(actual.hex) ? `${message} (${actual.algorithm} ${actual.hex}, declared ${declared.hex})` : message;
}

/** The bar over all files; its bytes are those that were announced so far. */
class Total {
  private done = 0;
  private expected = 0;
  private readonly bar;

  constructor(
    progress: Progress,
    private readonly count: number,
  ) {
    this.bar = progress.bar("total", 0);
    this.bar.text(`0/${count} files`);
  }

  announced(more: number): void {
    this.expected += more;
    this.bar.total(this.expected);
  }

  received(more: number): void {
    this.bar.add(more);
  }

  finished(): void {
    this.bar.text(`${++this.done}/${this.count} files`);
  }

  end(): void {
    this.bar.end();
  }
}

/** One file's bar. */
class Meter {
  private received = 0;
  private total = 0;
  private readonly bar;

  constructor(
    name: string,
    private readonly all: Total,
    progress: Progress,
  ) {
    this.bar = progress.bar(name, 0);
  }

  take(event: ProgressEvent): void {
    if ("total" in event && event.total !== undefined && event.total !== this.total) {
      this.all.announced(event.total - this.total);
      this.total = event.total;
      this.bar.total(event.total);
    }
    if (event.type === "bytes" || event.type === "resumed") {
      const now = event.type === "bytes" ? event.received : event.from;
      this.bar.add(now - this.received);
      this.all.received(now - this.received);
      this.received = now;
      this.bar.text("");
    } else if (event.type === "retry") this.bar.text(`again in ${Math.ceil(event.wait / 1000)} s: ${event.reason}`);
    else if (event.type === "mirror") this.bar.text(`next: ${event.url}`);
  }

  end(): void {
    this.bar.end();
  }
}

interface Report {
  context: Context;
  flags: FetchFlags;
  fetched: Fetched[];
  waiting: Download[];
  before: number;
  never: Download[];
  problems: Problem[];
}

function report({ context, flags, fetched, waiting, before, never, problems }: Report): void {
  if (flags.json) {
    const files = fetched.map(({ download, ...rest }) => ({ name: download.name, digest: download.digest, ...rest }));
    const missing = flags.dryRun ? waiting.map(({ name, urls, digest }) => ({ name, urls, digest })) : undefined;
    console.log(JSON.stringify({ cache: context.cache, alreadyCached: before, files, missing, neverCacheable: never.map((d) => d.name), problems }, null, 2));
    return;
  }
  for (const { name, never: why, at } of never) console.log(`${paint("yellow", "never cacheable")} ${name} (${at}): ${why}`);
  for (const { at, message } of problems) console.log(`${paint("yellow", "not read")} ${at}: ${message}`);
  if (flags.dryRun) for (const { name, urls } of waiting) console.log(`would fetch ${name} ${urls[0] ?? ""}`);
  const good = fetched.filter((f) => f.ok);
  const size = good.reduce((sum, f) => sum + (f.bytes ?? 0), 0);
  const what = flags.dryRun ? `${waiting.length} to fetch` : `${good.length} fetched${size > 0 ? ` (${bytes(size)})` : ""}`;
  console.log(`${what}, ${before} in the cache before${never.length > 0 ? `, ${never.length} never cacheable` : ""}; ${context.cache}`);
}
