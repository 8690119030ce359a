// A download that a workspace declares: what Bazel will ask its cache for.

import type { CanonicalIds } from "../bazel/version.js";
import type { Digest } from "../cache/digest.js";
import { canonicalIds, urlsCanonicalId, urlsCanonicalId6 } from "../cache/markers.js";

export type Kind = "archive" | "file" | "jar" | "module" | "patch" | "overlay" | "registry file" | "git" | "other";

export interface Download {
  /** The repository's or module's name, with what it is of it where that is not the whole: "v8", "rules_go@0.50.1 patches/fix.patch". */
  name: string;
  kind: Kind;
  /** Exactly as declared, in Bazel's order: `url` before `urls`, mirrors of a registry before its own URL. */
  urls: string[];
  /** Other lists under which a Bazel may ask: without mirrors, for instance. */
  otherUrls?: string[][];
  digest?: Digest;
  /** The rule's attribute. */
  canonicalId?: string;
  /** What Bazel ≥ 7 has the entry's marker made of: the URLs, the canonical id alone ("" asks for none), or what only the rule's own code knows. */
  marker: "urls" | "canonical id" | "unknown";
  /** Where Bazel has the text of its canonical id from: it encodes the two differently. Default: Starlark. */
  text?: "starlark" | "module";
  /** "file:line" of the declaration. */
  at: string;
  /** Why no repository cache ever holds it. */
  never?: string;
}

/** Something that could not be read, with the place where it stands. It may declare downloads that nobody knows of. */
export interface Problem {
  at: string;
  message: string;
  /** Its reason lies in code that is not the workspace's own: another repository's, or a rule's or an extension's that decides what to download. */
  elsewhere?: true;
}

export interface Declared {
  downloads: Download[];
  problems: Problem[];
}

/** The superset of canonical ids: whichever Bazel asks, its marker is there. */
export function canonicalIdsOf(download: Download): string[] {
  return canonicalIds([download.urls, ...(download.otherUrls ?? [])], download.canonicalId === undefined ? [] : [download.canonicalId]);
}

/** The id that the request itself carries: none where the list is empty, undefined where it is not known. */
export function requestedIds(download: Download, ids: CanonicalIds): string[] | undefined {
  if (download.canonicalId) return [download.canonicalId];
  if (download.marker === "unknown") return undefined;
  if (download.marker === "canonical id" || ids === "none") return [];
  return [ids === "urls" ? urlsCanonicalId(download.urls) : urlsCanonicalId6(download.urls)];
}

/** One download for each digest and list of URLs: a table and the macro that reads it declare the same. */
export function withoutRepeats(downloads: readonly Download[]): Download[] {
  const seen = new Map<string, Download>();
  for (const download of downloads) {
    const key = JSON.stringify([download.digest?.algorithm, download.digest?.hex, download.urls, download.canonicalId ?? ""]);
    const before = seen.get(key);
    if (!before) seen.set(key, download);
    else if (before.marker === "unknown" && download.marker !== "unknown") seen.set(key, download);
  }
  return [...seen.values()];
}
