// For each declared download: whether Bazel would find it in the cache, and if not, why.
import { accessSync, constants, existsSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type BazelVersion, needsUrlMarkers } from "../bazel/version.js";
import { ALGORITHMS, type Algorithm, type Digest } from "../cache/digest.js";
import { childrenOf, type Entry, readEntry } from "../cache/entries.js";
import { type HashOptions, hashFiles, hashOne } from "../cache/hashing.js";
import { inspect } from "../cache/inspect.js";
import { algorithmDirectory, CONTENT_ADDRESSABLE, entryDirectory, FILE } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import { type Download, requestedIds } from "../declared/download.js";

/** "local": Bazel reads a `file:` URL from the disk unless downloads are disabled. */
export type State = "hit" | "local" | "miss" | "wrong digest" | "marker missing" | "wrong directory" | "unreadable" | "never cacheable";

export interface Finding {
  download: Download;
  state: State;
  /** Why, in one sentence. Empty for a plain hit. */
  reason: string;
  /** Bytes of what is in the cache. */
  size?: number;
  /** Names of the markers that Bazel asks for and does not find. */
  markers?: string[];
  /** Where the bytes (or what looks like them) lie instead. */
  elsewhere?: string;
  /** What the bytes are, where they are not what the directory says. */
  actual?: Digest;
}

export interface ExamineInput {
  cache: string;
  /** Other caches of this machine that Bazel would read under other settings. */
  otherCaches: readonly string[];
  version: BazelVersion | undefined;
  hashing?: HashOptions;
}

/** Whether Bazel would go to the network for it. */
export function wouldMiss(state: State): boolean {
  return state !== "hit" && state !== "local";
}

export async function examine(downloads: readonly Download[], input: ExamineInput): Promise<Finding[]> {
  const index = new Index(input.cache);
  const findings = downloads.map((download) => lookUp(download, index, input));
  await verify(findings, input);
  return findings;
}

interface Found extends Finding {
  entry?: Entry;
}

function lookUp(download: Download, index: Index, input: ExamineInput): Found {
  const { digest } = download;
  if (download.never !== undefined || !digest) return { download, state: "never cacheable", reason: download.never ?? "it declares no checksum" };
  if (!index.has(digest)) {
    if (isOnDisk(download)) return { download, state: "local", reason: "Bazel reads it from the disk, unless downloads are disabled" };
    return elsewhere(download, digest, index, input) ?? { download, state: "miss", reason: "it is not in the cache" };
  }
  let entry: Entry;
  try {
    entry = readEntry(entryDirectory(input.cache, digest), digest.algorithm, digest.hex);
  } catch {
    return { download, state: "unreadable", reason: `${entryDirectory(input.cache, digest)} cannot be read` };
  }
  if (!entry.file) {
    const other = entry.foreign[0];
    if (other === undefined) return { download, state: "miss", reason: "its directory is there, but has no file in it" };
    return {
      download,
      state: "wrong directory",
      reason: `the bytes lie in its directory as "${other}"; Bazel looks for "${FILE}" only`,
      elsewhere: path.join(entry.directory, other),
    };
  }
  const asked = requestedIds(download, needsUrlMarkers(input.version));
  const missing = (asked ?? []).map((id) => markerName(id, digest.algorithm, download.text)).filter((name) => !entry.markers.includes(name));
  const found: Found = { download, state: "hit", reason: "", size: entry.file.size, entry };
  if (missing.length === 0) return found;
  return { ...found, state: "marker missing", markers: missing, reason: markerReason(download, entry, input.version) };
}

function markerReason(download: Download, entry: Entry, version: BazelVersion | undefined): string {
  const why = download.canonicalId
    ? `its canonical_id is "${download.canonicalId}"`
    : `${version ? `Bazel ${version.text}` : "Bazel 7 and later"} keeps ${download.urls.length > 1 ? "the list of its URLs" : "its URL"} beside the bytes`;
  return `the bytes are there, but ${entry.markers.length === 0 ? "without a marker" : `with markers of other URLs (${entry.markers.length})`}: ${why}`;
}

function isOnDisk(download: Download): boolean {
  return download.urls.some((url) => url.startsWith("file:") && existsSync(fileURLToPath(url)));
}

/** The names below each algorithm's directory, read once. */
class Index {
  private readonly names = new Map<Algorithm, ReadonlySet<string>>();
  private readonly lowered = new Map<Algorithm, ReadonlyMap<string, string>>();

  constructor(readonly cache: string) {}

  has(digest: Digest): boolean {
    return this.of(digest.algorithm).has(digest.hex);
  }

  /** A directory that would be the right one if it were spelled in lower case. */
  otherCase(digest: Digest): string | undefined {
    let lowered = this.lowered.get(digest.algorithm);
    if (!lowered) {
      lowered = new Map([...this.of(digest.algorithm)].filter((name) => name !== name.toLowerCase()).map((name) => [name.toLowerCase(), name]));
      this.lowered.set(digest.algorithm, lowered);
    }
    const name = lowered.get(digest.hex);
    return name === undefined ? undefined : path.join(algorithmDirectory(this.cache, digest.algorithm), name);
  }

  private of(algorithm: Algorithm): ReadonlySet<string> {
    let names = this.names.get(algorithm);
    if (!names) {
      names = new Set(childrenOf(algorithmDirectory(this.cache, algorithm)).map(({ name }) => name));
      this.names.set(algorithm, names);
    }
    return names;
  }
}

/** Where people put things who have read how it works, almost. */
function elsewhere(download: Download, digest: Digest, index: Index, input: ExamineInput): Found | undefined {
  const { cache, otherCaches } = input;
  const spelled = index.otherCase(digest);
  const upper = spelled && isFile(path.join(spelled, FILE)) ? path.join(spelled, FILE) : undefined;
  if (upper) return wrongDirectory(download, upper, "its directory is spelled in upper case, Bazel looks for lower case");
  const { algorithm, hex } = digest;
  const below = path.join(cache, CONTENT_ADDRESSABLE);
  const near = [
    path.join(below, algorithm, hex),
    path.join(below, hex),
    path.join(cache, algorithm, hex),
    path.join(cache, hex),
    ...ALGORITHMS.filter((a) => a !== algorithm).map((a) => path.join(below, a, hex)),
  ];
  for (const place of near) {
    for (const file of [path.join(place, FILE), place]) {
      if (isFile(file))
        return wrongDirectory(download, file, `it lies in ${path.relative(cache, path.dirname(file)) || "the cache's top"}, where Bazel does not look`);
    }
  }
  for (const other of otherCaches) {
    const file = path.join(entryDirectory(other, digest), FILE);
    if (isFile(file)) return wrongDirectory(download, file, `it is in another cache (${other}), which these settings do not use`);
  }
  return undefined;
}

function wrongDirectory(download: Download, elsewhere: string, reason: string): Found {
  return { download, state: "wrong directory", reason, elsewhere };
}

function isFile(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isFile() === true;
}

/** Bazel hashes at every hit, and takes other bytes silently for a miss. */
async function verify(findings: Found[], { hashing }: ExamineInput): Promise<void> {
  const present = findings.filter((f) => f.entry?.file);
  // One digest may be declared many times.
  const jobs = new Map(
    present.map(({ entry, download }) => [entry!.file!.path, { file: entry!.file!.path, algorithms: [download.digest!.algorithm], size: entry!.file!.size }]),
  );
  const hashed = new Map((await hashFiles([...jobs.values()], hashing)).map((h) => [h.file, h]));
  for (const finding of present) {
    const { file } = finding.entry!;
    const { algorithm, hex } = finding.download.digest!;
    let result = hashed.get(file!.path)!;
    // Bazel sets the time of a file that it uses: that is no change of its bytes.
    if (!result.ok && result.code === "CHANGED") result = await hashOne(file!.path, [algorithm], hashing);
    if (!result.ok) {
      setWrong(finding, "unreadable", `${file!.path}: ${result.reason}`);
    } else if (result.digests[algorithm] !== hex) {
      const seems = await inspect(file!.path, finding.download.urls[0]);
      const shared = file!.links > 1 ? "; it is a hard link to a file that was changed since" : "";
      setWrong(
        finding,
        "wrong digest",
        `the file in the cache (${file!.size} bytes) has ${algorithm} ${result.digests[algorithm]}${seems ? `: ${seems}` : ""}${shared}`,
      );
      finding.actual = { algorithm, hex: result.digests[algorithm]! };
    }
  }
  for (const finding of findings) delete finding.entry;
}

function setWrong(finding: Found, state: State, reason: string): void {
  finding.state = state;
  finding.reason = reason;
  delete finding.markers;
}

/** Why nothing can be read or written there, or undefined. A cache that does not exist yet is a fine one. */
export function cacheProblem(cache: string): string | undefined {
  const stat = statSync(cache, { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (!stat.isDirectory()) return `${cache} is no directory`;
  try {
    accessSync(cache, constants.R_OK | constants.X_OK);
    return undefined;
  } catch {
    return `${cache} cannot be read: no permission`;
  }
}
