// Markers: the empty files `id-<hash of the canonical id>` beside an entry's bytes. From bazel 7.0 on http_archive, http_file and http_jar ask for one (the canonical id is the
// list of URLs, joined with single spaces), and an entry without it is a miss. Surplus markers do no harm: the bytes are verified all the same.
import { type Algorithm, digestOf } from "./digest.js";
import { MARKER_PREFIX } from "./layout.js";

/**
 * The marker of a canonical id, hashed with the algorithm of the entry's own directory.
 * Bazel hashes the UTF-8 of its own strings; a string of a Starlark file is that file's bytes read as Latin-1, so that what is not ASCII is encoded twice
 * (recorded on bazel 0.29 to 7.7: test/recorded/markers.json). Strings of MODULE.bazel and of a registry's source.json are encoded once.
 */
export function markerName(canonicalId: string, algorithm: Algorithm, from: "starlark" | "module" = "starlark"): string {
  const text = from === "starlark" ? Buffer.from(canonicalId, "utf8").toString("latin1") : canonicalId;
  return MARKER_PREFIX + digestOf(text, algorithm).hex;
}

/** What a request for `urls` carries from bazel 7.0 on. */
export function urlsCanonicalId(urls: readonly string[]): string {
  return urls.join(" ");
}

/** What it carries with `--experimental_repository_cache_urls_as_default_canonical_id` in bazel 5.1 to 6. */
export function urlsCanonicalId6(urls: readonly string[]): string {
  return digestOf(Buffer.from(urls.join(""), "utf8").toString("latin1"), "sha256").hex;
}

/** All canonical ids under which some Bazel may ask for a file with these lists of URLs, explicit ids first. */
export function canonicalIds(urlLists: readonly (readonly string[])[], explicit: readonly string[] = []): string[] {
  const ids = new Set(explicit.filter((id) => id !== ""));
  for (const urls of urlLists) {
    if (urls.length === 0) continue;
    ids.add(urlsCanonicalId(urls));
    for (const url of urls) ids.add(url);
    ids.add(urlsCanonicalId6(urls));
  }
  return [...ids];
}

/** The markers of canonical ids, wherever they were read; those of ASCII text are one and the same. */
export function markerNames(ids: readonly string[], algorithm: Algorithm): string[] {
  return [...new Set(ids.flatMap((id) => [markerName(id, algorithm), markerName(id, algorithm, "module")]))];
}
