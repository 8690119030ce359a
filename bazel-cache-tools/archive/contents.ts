// What goes into an archive: the entries that a workspace declares, or all that a cache has.

import { Failure } from "../../host/cli/failure.js";
import { type Digest, groupByDigest, keyOf } from "../cache/digest.js";
import { readContents, readEntry } from "../cache/entries.js";
import { entryDirectory, entryFile } from "../cache/layout.js";
import { markerNames } from "../cache/markers.js";
import { canonicalIdsOf, type Download } from "../declared/download.js";
import type { ManifestEntry } from "./manifest.js";

export interface Packed extends ManifestEntry {
  /** Where the bytes lie. */
  file: string;
}

export interface Selection {
  entries: Packed[];
  /** Declared with a digest, and not in the cache. */
  missing: Download[];
}

/** In the order of their paths. Markers of declarations that the cache does not have yet are added: they cost nothing, and Bazel 7 asks for them. */
export function selectDeclared(cache: string, downloads: readonly Download[]): Selection {
  const missing: Download[] = [];
  const entries: Packed[] = [];
  for (const group of byDigest(downloads).values()) {
    const entry = pack(cache, group[0].digest!, group);
    if (entry) entries.push(entry);
    else missing.push(...group);
  }
  return { entries: entries.sort(byPath), missing };
}

/** Everything. `downloads`: where names and URLs come from. */
export function selectAll(cache: string, downloads: readonly Download[]): Packed[] {
  const declared = byDigest(downloads);
  const entries: Packed[] = [];
  const { entries: there, unreadable } = readContents(cache);
  if (unreadable[0]) throw new Failure(`${unreadable[0].reason}; nothing was written`);
  for (const { digest, file } of there) {
    const entry = file && pack(cache, digest, declared.get(keyOf(digest)) ?? []);
    if (entry) entries.push(entry);
  }
  return entries.sort(byPath);
}

/** What no cache ever holds is no matter of an archive. */
function byDigest(downloads: readonly Download[]): Map<string, readonly [Download, ...Download[]]> {
  return groupByDigest(downloads, ({ digest, never }) => (never === undefined ? digest : undefined));
}

function pack(cache: string, digest: Digest, declared: readonly Download[]): Packed | undefined {
  const { file, markers } = readEntry(entryDirectory(cache, digest), digest.algorithm, digest.hex);
  if (!file) return undefined;
  const wanted = markerNames(declared.flatMap(canonicalIdsOf), digest.algorithm);
  return {
    digest,
    size: file.size,
    markers: [...new Set([...markers, ...wanted])].sort(),
    names: [...new Set(declared.map((d) => d.name))].sort(),
    urls: [...new Set(declared.flatMap((d) => d.urls))],
    file: entryFile(cache, digest),
  };
}

function byPath(a: Packed, b: Packed): number {
  const [left, right] = [keyOf(a.digest), keyOf(b.digest)];
  return left < right ? -1 : left > right ? 1 : 0;
}
