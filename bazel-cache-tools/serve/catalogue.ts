// Which entry a URL stands for: by the markers in the cache, and by what workspaces declare.
import { statSync } from "node:fs";
import { ALGORITHMS, type Algorithm, type Digest, groupByDigest, keyOf } from "../cache/digest.js";
import { type Entry, readContents } from "../cache/entries.js";
import { algorithmDirectory } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import type { Download } from "../declared/download.js";
import { type Asked, spellingsOf, withoutScheme } from "./request-url.js";

/** The cache is read anew at most so often, ms. */
const REREAD = 1000;
/** And at most this part of the time is spent with it: 5000 entries take a third of a second. */
const PART = 1 / 10;

export interface Listed {
  digest: Digest;
  /** Bytes. */
  size: number;
  /** ms */
  lastUse: number;
  names: string[];
  urls: string[];
}

export interface Catalogue {
  /** Entries that may be meant, the likeliest first. */
  find(asked: Asked): Digest[];
  /** All that is there, by name. */
  list(): Listed[];
}

/** `now`: ms, for tests. Throws the file system's errors for a cache that cannot be listed. */
export function openCatalogue(cache: string, downloads: readonly Download[], now: () => number = Date.now): Catalogue {
  const declared = indexDeclared(downloads);
  const known = groupByDigest(downloads, ({ digest }) => digest);
  let index = readIndex(cache, now());

  const refresh = () => {
    const since = now() - index.read;
    if (since < 0 || since >= Math.max(REREAD, index.took / PART)) index = readIndex(cache, now());
  };
  const lookUp = (asked: Asked): Digest[] => {
    const found = new Map<string, Digest>();
    const add = (digest: Digest | undefined) => digest && index.entries.has(keyOf(digest)) && found.set(keyOf(digest), digest);
    add(asked.digest);
    for (const spelling of asked.spellings) for (const digest of declared.get(spelling) ?? []) add(digest);
    const marked = asked.spellings.flatMap((spelling) => [`https://${spelling}`, `http://${spelling}`]).flatMap((url) => index.marked(url));
    // Of a URL whose bytes were changed at their origin the newest ones are meant.
    for (const { digest } of marked.sort((a, b) => b.file!.mtime - a.file!.mtime)) add(digest);
    return [...found.values()];
  };
  return {
    find(asked) {
      if (stampOf(cache) !== index.stamp) refresh();
      const found = lookUp(asked);
      if (found.length > 0) return found;
      // A marker that was added to an entry shows in no directory above it.
      refresh();
      return lookUp(asked);
    },
    list() {
      refresh();
      return [...index.entries.values()]
        .map(({ digest, file }) => {
          const of = known.get(keyOf(digest)) ?? [];
          return {
            digest,
            size: file!.size,
            lastUse: file!.mtime,
            names: [...new Set(of.map((d) => d.name))],
            urls: [...new Set(of.flatMap((d) => d.urls))],
          };
        })
        .sort((a, b) => compare(a.names[0] ?? "\uffff", b.names[0] ?? "\uffff") || compare(keyOf(a.digest), keyOf(b.digest)));
    },
  };
}

interface Index {
  /** When it was read, ms. */
  read: number;
  /** ms */
  took: number;
  stamp: string;
  entries: Map<string, Entry>;
  marked(url: string): Entry[];
}

function readIndex(cache: string, read: number): Index {
  // Before the reading: what changes meanwhile is then read again.
  const stamp = stampOf(cache);
  const start = performance.now();
  const entries = new Map<string, Entry>();
  const byMarker = new Map<string, Entry[]>();
  const algorithms = new Set<Algorithm>();
  for (const entry of readContents(cache).entries) {
    if (!entry.file) continue;
    const { algorithm } = entry.digest;
    algorithms.add(algorithm);
    entries.set(keyOf(entry.digest), entry);
    for (const marker of entry.markers) byMarker.set(`${algorithm} ${marker}`, [...(byMarker.get(`${algorithm} ${marker}`) ?? []), entry]);
  }
  const marked = (url: string) => [...algorithms].flatMap((algorithm) => byMarker.get(`${algorithm} ${markerName(url, algorithm)}`) ?? []);
  return { read, took: performance.now() - start, stamp, entries, marked };
}

/** Changes when entries come or go. */
function stampOf(cache: string): string {
  return ALGORITHMS.map((algorithm) => statSync(algorithmDirectory(cache, algorithm), { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? "").join(" ");
}

/** Under every spelling of every URL. */
function indexDeclared(downloads: readonly Download[]): Map<string, Digest[]> {
  const index = new Map<string, Digest[]>();
  for (const { digest, urls, otherUrls = [] } of downloads) {
    if (!digest) continue;
    for (const url of new Set([...urls, ...otherUrls.flat()])) {
      const plain = withoutScheme(url);
      if (plain === undefined) continue;
      for (const spelling of spellingsOf(plain)) index.set(spelling, [...(index.get(spelling) ?? []), digest]);
    }
  }
  return index;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
