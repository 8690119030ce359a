// For each declared download: whether Bazel would find it in the cache, and if not, why.
import path from "node:path";
import type { BazelVersion, CanonicalIds } from "../bazel/version.js";
import { ALGORITHMS, type Algorithm, type Digest, keyOf } from "../cache/digest.js";
import { childrenOf, type Entry, readEntry, statOf } from "../cache/entries.js";
import { type HashOptions, hashFiles, hashOne } from "../cache/hashing.js";
import { inspect } from "../cache/inspect.js";
import { algorithmDirectory, CONTENT_ADDRESSABLE, entryDirectory, FILE } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import { type Download, requestedIds } from "../declared/download.js";
import { localPath } from "../declared/file-url.js";

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
  /** What this Bazel makes canonical ids of. */
  ids: CanonicalIds;
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
  /** Files that may be it: where people put things who have read how it works, almost; and those of its file: URLs. */
  candidates: Candidate[];
}

interface Candidate {
  file: string;
  state: "wrong directory" | "local";
  reason: string;
}

function lookUp(download: Download, index: Index, input: ExamineInput): Found {
  const { digest } = download;
  if (download.never !== undefined || !digest)
    return { download, state: "never cacheable", reason: download.never ?? "it declares no checksum", candidates: [] };
  const candidates = localCandidates(download);
  const miss = (reason: string, more: Candidate[] = []): Found => ({ download, state: "miss", reason, candidates: [...candidates, ...more] });
  const entry = index.entry(digest);
  if (entry === undefined) return miss("it is not in the cache", elsewhere(digest, index, input));
  if (entry === "unreadable") return { download, state: "unreadable", reason: `${entryDirectory(input.cache, digest)} cannot be read`, candidates };
  if (!entry.file) {
    const foreign = entry.foreign.map(
      (name): Candidate => ({
        file: path.join(entry.directory, name),
        state: "wrong directory",
        reason: `the bytes lie in its directory as "${name}"; Bazel looks for "${FILE}" only`,
      }),
    );
    return miss(
      entry.foreign.length === 0 ? "its directory is there, but has no file in it" : `its directory is there, but has only ${entry.foreign[0]} in it`,
      foreign,
    );
  }
  const asked = requestedIds(download, input.ids);
  const missing = (asked ?? []).map((id) => markerName(id, digest.algorithm, download.text)).filter((name) => !entry.markers.includes(name));
  const found: Found = { download, state: "hit", reason: "", size: entry.file.size, entry, candidates };
  if (missing.length === 0) return found;
  return { ...found, state: "marker missing", markers: missing, reason: markerReason(download, entry, input.version) };
}

function localCandidates({ urls }: Download): Candidate[] {
  return urls.flatMap((url): Candidate[] => {
    const file = localPath(url);
    return file !== undefined && isFile(file) ? [{ file, state: "local", reason: "Bazel reads it from the disk, unless downloads are disabled" }] : [];
  });
}

function markerReason(download: Download, entry: Entry, version: BazelVersion | undefined): string {
  const why = download.canonicalId
    ? `its canonical_id is "${download.canonicalId}"`
    : `${version ? `Bazel ${version.text} keeps` : "Bazel 7 and later keep"} ${download.urls.length > 1 ? "the list of its URLs" : "its URL"} beside the bytes`;
  return `the bytes are there, but ${entry.markers.length === 0 ? "without a marker" : `with markers of other URLs (${entry.markers.length})`}: ${why}`;
}

/** The names below each algorithm's directory, read once. */
class Index {
  private readonly names = new Map<Algorithm, ReadonlySet<string>>();
  private readonly entries = new Map<string, Entry | "unreadable">();
  private readonly lowered = new Map<Algorithm, ReadonlyMap<string, string>>();

  constructor(readonly cache: string) {}

  /** Undefined where there is no directory of that name. One digest may be declared many times. */
  entry(digest: Digest): Entry | "unreadable" | undefined {
    if (!this.of(digest.algorithm).has(digest.hex)) return undefined;
    const key = keyOf(digest);
    let entry = this.entries.get(key);
    if (!entry) {
      try {
        entry = readEntry(entryDirectory(this.cache, digest), digest.algorithm, digest.hex);
      } catch {
        entry = "unreadable";
      }
      this.entries.set(key, entry);
    }
    return entry;
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
      names = new Set(
        childrenOf(algorithmDirectory(this.cache, algorithm))
          .filter((child) => !child.isFile())
          .map(({ name }) => name),
      );
      this.names.set(algorithm, names);
    }
    return names;
  }
}

/** Where people put things who have read how it works, almost. */
function elsewhere(digest: Digest, index: Index, { cache, otherCaches }: ExamineInput): Candidate[] {
  const found: Candidate[] = [];
  const add = (file: string, reason: string) => {
    if (isFile(file)) found.push({ file, state: "wrong directory", reason });
  };
  const spelled = index.otherCase(digest);
  if (spelled) add(path.join(spelled, FILE), "its directory is spelled in upper case, Bazel looks for lower case");
  const { algorithm, hex } = digest;
  const below = path.join(cache, CONTENT_ADDRESSABLE);
  const near = [
    path.join(below, algorithm, hex),
    path.join(below, hex),
    path.join(cache, algorithm, hex),
    path.join(cache, hex),
    ...ALGORITHMS.filter((a) => a !== algorithm).map((a) => path.join(below, a, hex)),
  ];
  for (const place of near)
    for (const file of [path.join(place, FILE), place])
      add(
        file,
        `it lies in ${path.relative(cache, path.dirname(file)) || "the cache's top"}${file === place ? ` as ${path.basename(file)}` : ""}, where Bazel does not look`,
      );
  for (const other of otherCaches) add(path.join(entryDirectory(other, digest), FILE), `it is in another cache (${other}), which these settings do not use`);
  return found;
}

function isFile(file: string): boolean {
  return statOf(file)?.isFile() === true;
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
  await tryCandidates(findings, hashing);
  for (const finding of findings as (Finding & Partial<Found>)[]) {
    delete finding.entry;
    delete finding.candidates;
  }
}

/** What is not in its place may be in another; only its digest says so. */
async function tryCandidates(findings: readonly Found[], hashing: HashOptions | undefined): Promise<void> {
  const looking = findings.filter((f) => f.candidates.length > 0 && (f.state === "miss" || f.state === "wrong digest"));
  const jobs = looking.flatMap(({ candidates, download }) => candidates.map(({ file }) => ({ file, algorithms: [download.digest!.algorithm] })));
  const hashed = await hashFiles(jobs, hashing);
  let next = 0;
  for (const finding of looking) {
    const { algorithm, hex } = finding.download.digest!;
    const results = finding.candidates.map((candidate) => ({ candidate, result: hashed[next++]! }));
    const right = results.find(({ result }) => result.ok && result.digests[algorithm] === hex)?.candidate;
    if (right) {
      finding.state = right.state;
      finding.reason = right.reason;
      if (right.state === "wrong directory") finding.elsewhere = right.file;
    } else if (finding.state === "miss") finding.reason += `; ${results[0]!.candidate.file} has other bytes`;
  }
}

function setWrong(finding: Found, state: State, reason: string): void {
  finding.state = state;
  finding.reason = reason;
  delete finding.markers;
}
