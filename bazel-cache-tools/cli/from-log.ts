// bazel-cache from-log: what a failed build was missing, seeded from what is on this machine.
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { Failure, usage } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { paint } from "../../host/cli/terminal.js";
import { describeCause, type FailedDownload, LogReader } from "../bazel/log.js";
import { kindOfPath } from "../cache/candidates.js";
import { formatIntegrity, sameDigest } from "../cache/digest.js";
import { examine, wouldMiss } from "../check/examine.js";
import { mend } from "../check/mend.js";
import type { Download } from "../declared/download.js";
import { baseName } from "../declared/repository-rules.js";
import { type Context, openContext, otherCaches, type PlaceFlags } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
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
  state: string;
  did?: string;
}

export async function runFromLog(log: string | undefined, flags: FromLogFlags): Promise<void> {
  const context = openContext(flags, flags.workspace === false ? undefined : flags.workspace);
  const places = [...(flags.file ?? []), ...(flags.search ?? downloadFolders())];
  for (const place of flags.search ?? []) if (kindOfPath(place) !== "directory") throw usage(`--search ${place}: is no directory (a file is --file)`);
  for (const file of flags.file ?? []) if (kindOfPath(file) !== "file") throw usage(`--file ${file}: is no file (a directory is --search)`);
  const reader = await readLog(log, flags);
  const failed = reader.downloads();
  // Whoever pipes a build into this sees its output end here.
  const { signal } = interruption();
  const progress = await openProgress(flags.json);
  const bar = progress.bar("looking", 0);
  const hashing = { progress: bar.add, signal };
  let rows: Row[];
  try {
    const declared = flags.workspace === false ? [] : (await declaredDownloads(context, flags)).downloads;
    const downloads = failed.map((f) => toDownload(f, declared));
    const input = { cache: context.cache, otherCaches: otherCaches(context.where), version: context.version, hashing };
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
      return { failed: f, download: downloads[i]!, state: after[i]!.state, ...(did === undefined ? {} : { did }) };
    });
  } catch (error) {
    if (signal.aborted) throw new Failure("interrupted; nothing is half done");
    throw error;
  } finally {
    bar.end();
    progress.close();
  }
  report(rows, reader.warnings, places, context, flags);
  if (rows.some((row) => wouldMiss(row.state as never))) process.exitCode = 1;
}

async function readLog(log: string | undefined, flags: FromLogFlags): Promise<LogReader> {
  const piped = log === undefined || log === "-";
  if (piped && process.stdin.isTTY) throw usage("name a log, or pipe the build's output in: bazel build //… 2>&1 | bazel-cache from-log");
  if (!piped && kindOfPath(log) !== "file") throw usage(`${log}: is no file`);
  const reader = new LogReader();
  const input = piped ? process.stdin : createReadStream(log);
  const failure = new Promise<never>((_, reject) => input.on("error", (error: Error) => reject(new Failure(`${log ?? "standard input"}: ${error.message}`))));
  const reading = (async () => {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      // The build's output goes on to whoever watches it.
      if (piped && !flags.quiet && !flags.json) process.stderr.write(`${line}\n`);
      reader.line(line);
    }
  })();
  await Promise.race([reading, failure]);
  return reader;
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

/** A failure has what the marker is made of; the workspace has the digest where the message does not say it, and every other id. */
function toDownload(failed: FailedDownload, declared: readonly Download[]): Download {
  const { wanted, repository } = failed;
  // What is not ASCII may be printed as no UTF-8 at all (bazel 7.7): such URLs say nothing.
  const urls = failed.urls.some((url) => url.includes("\ufffd")) ? [] : failed.urls;
  const sameUrls = (d: Download) => urls.length > 0 && d.urls.join(" ") === urls.join(" ");
  const sameName = (d: Download) => repository !== undefined && isNamed(d, repository);
  // The surest sign first: one list of URLs may be declared with several digests, and one name in several places.
  const signs: ((d: Download) => boolean)[] = [
    (d) => d.digest !== undefined && wanted !== undefined && sameDigest(d.digest, wanted),
    (d) => sameUrls(d) && sameName(d),
    sameUrls,
    (d) => d.urls.some((url) => urls.includes(url)),
    sameName,
  ];
  const known = signs.map((sign) => declared.find(sign)).find((d) => d !== undefined);
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

function report(rows: readonly Row[], warnings: number, places: readonly string[], context: Context, flags: FromLogFlags): void {
  if (flags.json) {
    const list = rows.map(({ failed, download, state, did }) => ({
      ...failed,
      name: download.name,
      digest: download.digest,
      state,
      did,
      command: advice(download),
    }));
    console.log(JSON.stringify({ cache: context.cache, searched: places, downloads: list }, null, 2));
    return;
  }
  if (rows.length === 0) console.log(`no failed downloads in this log${warnings > 0 ? ` (${warnings} URLs failed, but others took their place)` : ""}`);
  for (const { failed, download, state, did } of rows) {
    const good = !wouldMiss(state as never);
    console.log(`${good ? paint("green", "✓ in the cache now") : paint("red", `✗ ${state}`)}  ${paint("bold", download.name)}`);
    console.log(`    ${describeCause(failed)}`);
    for (const url of failed.urls) console.log(`    ${paint("dim", url)}`);
    if (download.digest) console.log(`    ${paint("dim", `${download.digest.algorithm} ${download.digest.hex}`)}`);
    if (did) console.log(`    ${did}`);
    if (!good) console.log(`    ${download.digest ? `get it some other way, then: ${paint("bold", advice(download))}` : download.never}`);
  }
  const left = rows.filter((row) => wouldMiss(row.state as never)).length;
  if (rows.length > 0)
    console.log(
      left === 0
        ? "build again: Bazel finds all of them"
        : `${rows.length - left} of ${rows.length} are in the cache; looked in ${places.join(", ") || "no folder (say --search DIR)"}`,
    );
}

/** To be copied as it stands, but for the file's name. */
function advice({ digest, urls }: Download): string {
  if (!digest) return "";
  const how = digest.algorithm === "sha256" ? `--sha256 ${digest.hex}` : `--integrity ${formatIntegrity(digest)}`;
  return `bazel-cache seed FILE ${how} ${urls.map((url) => `--url ${quote(url)}`).join(" ")}`;
}
