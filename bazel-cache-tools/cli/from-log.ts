// bazel-cache from-log: what a failed build was missing, seeded from what is on this machine.
import { once } from "node:events";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { Failure, usage } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { paint } from "../../host/cli/terminal.js";
import { describeCause, type FailedDownload, LONGEST_LINE, LogReader } from "../bazel/log.js";
import { filesIn, kindOfPath } from "../cache/candidates.js";
import { type Digest, formatIntegrity, keyOf } from "../cache/digest.js";
import { hashOne, reasonOf } from "../cache/hashing.js";
import { examine, type State, wouldMiss } from "../check/examine.js";
import { mend } from "../check/mend.js";
import type { Download } from "../declared/download.js";
import { baseName } from "../declared/repository-rules.js";
import { type Context, openContext, otherCaches, type PlaceFlags, sameOptions } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
import { explainMismatch, isNameOf } from "./mismatch.js";
import { openProgress } from "./progress.js";
import { quote } from "./quote.js";

export interface FromLogFlags extends PlaceFlags, DeclaredFlags {
  search?: string[];
  file?: string[];
  workspace?: string | false;
  fetch?: boolean;
  quiet?: boolean;
  json?: boolean;
}

interface Row {
  failed: FailedDownload;
  download: Download;
  state: State;
  did?: string;
  /** Files that were meant to be it, and why they are not. */
  refused: string[];
}

export async function runFromLog(log: string | undefined, flags: FromLogFlags): Promise<void> {
  const places = [...(flags.file ?? []), ...(flags.search ?? downloadFolders())];
  for (const place of flags.search ?? []) if (kindOfPath(place) !== "directory") throw usage(`--search ${place}: is no directory (a file is --file)`);
  for (const file of flags.file ?? []) if (kindOfPath(file) !== "file") throw usage(`--file ${file}: is no file (a directory is --search)`);
  const reader = await readLog(log, flags);
  const failed = reader.downloads();
  const context = contextOf(reader, flags);
  // Whoever pipes a build into this sees its output end here.
  const { signal } = interruption();
  const progress = await openProgress(flags.json);
  const bar = progress.bar("looking", 0);
  const hashing = { progress: bar.add, signal };
  let rows: Row[];
  let missingBesides = 0;
  try {
    const declared = flags.workspace === false ? [] : (await declaredDownloads(context, flags)).downloads;
    const known = new Declarations(declared);
    const downloads = failed.map((f) => toDownload(f, known));
    const input = { cache: context.cache, otherCaches: otherCaches(context.where), version: context.version, ids: context.ids, hashing };
    const before = await examine(downloads, input);
    const mended = await mend(before, { cache: context.cache, search: places, hashing });
    let after = await examine(downloads, input);
    if (flags.fetch) {
      const { fetchMissing } = await import("./fetch.js");
      await fetchMissing(
        after.filter((f) => wouldMiss(f.state) && f.download.digest).map((f) => f.download),
        context,
        { signal, progress },
      );
      after = await examine(downloads, input);
    }
    rows = failed.map((f, i) => {
      const did = mended.find((m) => m.name === downloads[i]!.name)?.did ?? (before[i]!.state !== after[i]!.state ? "fetched" : undefined);
      return { failed: f, download: downloads[i]!, state: after[i]!.state, ...(did === undefined ? {} : { did }), refused: [] };
    });
    const said = new Set(rows.map((row) => row.download.digest && keyOf(row.download.digest)));
    const others = declared.filter((d) => d.digest && !said.has(keyOf(d.digest)));
    const left = rows.filter((row) => wouldMiss(row.state));
    // A file that was named can only be meant for the one download that failed.
    const meant = failed.length === 1 ? (flags.file ?? []) : [];
    const candidates = left.length > 0 ? filesIn(places) : [];
    for (const row of left) row.refused = await nearMisses(row.download, candidates, meant);
    missingBesides = (await examine(others, { ...input, hashing: { signal } })).filter((f) => wouldMiss(f.state)).length;
  } catch (error) {
    if (signal.aborted) throw new Failure("interrupted; nothing is half done");
    throw error;
  } finally {
    bar.end();
    progress.close();
  }
  report({ rows, warnings: reader.warnings, places, context, flags, missingBesides });
  if (rows.some((row) => wouldMiss(row.state))) process.exitCode = 1;
}

/** The build says in its paths where it was run; that counts where nothing else but the default says where the cache is. */
function contextOf(reader: LogReader, flags: FromLogFlags): Context {
  const named = flags.workspace === false ? undefined : flags.workspace;
  const context = openContext(flags, named);
  const root = reader.outputUserRoot;
  const byDefault = context.where.decided >= context.where.rules.findIndex((rule) => rule.rule === "TEST_TMPDIR");
  if (root === undefined || !byDefault || !existsSync(root)) return context;
  return openContext({ ...flags, outputUserRoot: root }, named);
}

async function readLog(log: string | undefined, flags: FromLogFlags): Promise<LogReader> {
  const piped = log === undefined || log === "-";
  if (piped && process.stdin.isTTY) throw usage("name a log, or pipe the build's output in: bazel build //… 2>&1 | bazel-cache from-log");
  const reader = new LogReader();
  const input = piped ? process.stdin : createReadStream(log);
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      // The build's output goes on to whoever watches it, as it is.
      if (piped && !flags.quiet && !flags.json && !process.stderr.write(chunk)) await once(process.stderr, "drain");
      rest = readLines(reader, rest, chunk);
    }
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw new Failure(`${log ?? "standard input"}: ${reasonOf(code, message)}`);
  }
  reader.line(rest.toString("utf8"));
  return reader;
}

/** Reads the whole lines of `rest` and `chunk`, and gives what is left of the last. Of a line without an end only the beginning is kept. */
function readLines(reader: LogReader, rest: Buffer, chunk: Buffer): Buffer {
  let begin = 0;
  for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, begin)) {
    const part = chunk.subarray(begin, end);
    reader.line((begin === 0 && rest.length > 0 ? Buffer.concat([rest, part]) : part).toString("utf8"));
    begin = end + 1;
  }
  const left = chunk.subarray(begin);
  if (begin > 0) return Buffer.from(left);
  return rest.length >= LONGEST_LINE ? rest : Buffer.concat([rest, left]);
}

/** Where browsers put things, on this machine. */
export function downloadFolders(env: NodeJS.ProcessEnv = process.env): string[] {
  const home = env.HOME || homedir();
  const folders = [path.join(home, "Downloads")];
  const userDirs = path.join(env.XDG_CONFIG_HOME || path.join(home, ".config"), "user-dirs.dirs");
  if (existsSync(userDirs)) {
    const named = /^XDG_DOWNLOAD_DIR="(.*)"$/m.exec(readFileSync(userDirs, "utf8"))?.[1]?.replace("$HOME", home);
    if (named) folders.unshift(named);
  }
  return [...new Set(folders)].filter((folder) => existsSync(folder));
}

/** The declarations, to be asked by whatever a failure tells of them. */
class Declarations {
  private readonly digests = new Map<string, Download>();
  private readonly lists = new Map<string, Download[]>();
  private readonly urls = new Map<string, Download>();

  constructor(private readonly all: readonly Download[]) {
    for (const download of all) {
      if (download.digest && !this.digests.has(keyOf(download.digest))) this.digests.set(keyOf(download.digest), download);
      const list = download.urls.join(" ");
      this.lists.set(list, [...(this.lists.get(list) ?? []), download]);
      for (const url of download.urls) if (!this.urls.has(url)) this.urls.set(url, download);
    }
  }

  /** The surest sign decides: one list of URLs may be declared with several digests, and one name in several places. */
  find(urls: readonly string[], wanted: Digest | undefined, repository: string | undefined): Download | undefined {
    const named = (download: Download) => repository !== undefined && isNamed(download, repository);
    const listed = this.lists.get(urls.join(" ")) ?? [];
    const known =
      (wanted && this.digests.get(keyOf(wanted))) ?? listed.find(named) ?? listed[0] ?? urls.map((url) => this.urls.get(url)).find((d) => d !== undefined);
    return known ?? this.all.find(named);
  }
}

/** A failure has what the marker is made of; the workspace has the digest where the message does not say it, and every other id. */
function toDownload(failed: FailedDownload, declared: Declarations): Download {
  const { wanted, repository } = failed;
  // What is not ASCII may be printed as no UTF-8 at all (bazel 7.7): such URLs say nothing.
  const urls = failed.urls.some((url) => url.includes("\ufffd")) ? [] : failed.urls;
  const known = declared.find(urls, wanted, repository);
  const digest = wanted ?? known?.digest;
  const download: Download = {
    ...(known ?? { kind: "other", marker: "urls", at: "log" }),
    name: known?.name ?? repository ?? baseName(urls[0] ?? "?"),
    urls: urls.length > 0 ? urls : (known?.urls ?? []),
    otherUrls: [...(known?.otherUrls ?? []), ...(known ? [known.urls] : [])],
  };
  if (digest) download.digest = digest;
  else download.never ??= "the log does not say its checksum, and the workspace does not declare it";
  return download;
}

/** Bazel's canonical names ("rules_go~", "+http_archive+v8") against declared ones ("rules_go@0.50.1", "v8"). */
function isNamed({ name, kind }: Download, repository: string): boolean {
  const [parts, declared] = [repository.split(/[~+]/), kind === "module" ? name.replace(/@.*$/, "") : name];
  return repository === declared || parts.at(parts.at(-1) === "" ? -2 : -1) === declared;
}

/** Files under the download's own name, or meant for it: what they are instead. */
async function nearMisses(download: Download, candidates: readonly string[], meant: readonly string[]): Promise<string[]> {
  if (!download.digest) return [];
  const near = candidates.filter((file) => isNameOf(file, download) || meant.includes(file));
  const lines: string[] = [];
  for (const file of near.slice(0, 3)) {
    const hashed = await hashOne(file, [download.digest.algorithm]);
    lines.push(hashed.ok ? await explainMismatch(file, hashed, download.digest, download.urls[0]) : `${file}: ${hashed.reason}`);
  }
  return lines;
}

interface Report {
  rows: readonly Row[];
  warnings: number;
  places: readonly string[];
  context: Context;
  flags: FromLogFlags;
  /** Other declared downloads that the next build would die of. */
  missingBesides: number;
}

function report({ rows, warnings, places, context, flags, missingBesides }: Report): void {
  const again = sameOptions(flags);
  if (flags.json) {
    const list = rows.map(({ failed, download, state, did, refused }) => ({
      ...failed,
      name: download.name,
      digest: download.digest,
      state,
      did,
      refused,
      command: advice(download, again),
    }));
    console.log(JSON.stringify({ cache: context.cache, searched: places, downloads: list, missingBesides }, null, 2));
    return;
  }
  if (rows.length === 0) {
    console.log(`no failed downloads in this log${warnings > 0 ? ` (${warnings} URLs failed, but others took their place)` : ""}`);
    return;
  }
  for (const row of rows) printRow(row, again);
  const left = rows.filter((row) => wouldMiss(row.state)).length;
  const looked = left === 0 ? "" : `; looked in ${places.join(", ") || "no folder (say --search DIR)"}`;
  console.log(`${rows.length - left} of ${rows.length} ${rows.length - left === 1 ? "is" : "are"} in ${context.cache}${looked}`);
  if (missingBesides > 0)
    console.log(
      `${missingBesides} more of what is declared ${missingBesides === 1 ? "is" : "are"} not there, which the next build may die of: bazel-cache doctor${again}`,
    );
  else if (left === 0) console.log("build again");
}

function printRow({ failed, download, state, did, refused }: Row, again: string): void {
  const good = !wouldMiss(state);
  console.log(`${good ? paint("green", "✓ in the cache now") : paint("red", `✗ ${state}`)}  ${paint("bold", download.name)}`);
  console.log(`    ${describeCause(failed)}`);
  for (const url of failed.urls) console.log(`    ${paint("dim", url)}`);
  if (download.digest) console.log(`    ${paint("dim", `${download.digest.algorithm} ${download.digest.hex}`)}`);
  if (did) console.log(`    ${did}`);
  for (const line of refused) console.log(`    ${paint("yellow", "not it")} ${line}`);
  if (!good) console.log(`    ${download.digest ? `get it some other way, then: ${paint("bold", advice(download, again))}` : download.never}`);
}

/** To be copied as it stands, but for the file's name. */
function advice({ digest, urls }: Download, again: string): string {
  if (!digest) return "";
  const how = digest.algorithm === "sha256" ? `--sha256 ${digest.hex}` : `--integrity ${formatIntegrity(digest)}`;
  return `bazel-cache seed FILE${again} ${how} ${urls.map((url) => `--url ${quote(url)}`).join(" ")}`;
}
