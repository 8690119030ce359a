// Where things lie in a repository cache. The layout is the same from bazel 0.17 to 9 (facts measured on 0.17 to 7.7).
import path from "node:path";
import { ALGORITHMS, type Algorithm, DIGEST_BYTES, type Digest } from "./digest.js";

export const CONTENT_ADDRESSABLE = "content_addressable";

/** The fixed name of the bytes in an entry's directory. */
export const FILE = "file";

export const MARKER_PREFIX = "id-";

/** Bazel writes `tmp-<uuid>` and renames it; so do we. What a killed process leaves under such a name is nobody's. */
export const TEMPORARY_PREFIX = "tmp-";

/** Our own things (partial downloads, archives being unpacked) lie beside Bazel's and on the same file system, so that a rename puts them in place. */
export const OWN_DIRECTORY = ".bazel-cache";

export function algorithmDirectory(root: string, algorithm: Algorithm): string {
  return path.join(root, CONTENT_ADDRESSABLE, algorithm);
}

export function entryDirectory(root: string, digest: Digest): string {
  return path.join(algorithmDirectory(root, digest.algorithm), digest.hex);
}

export function entryFile(root: string, digest: Digest): string {
  return path.join(entryDirectory(root, digest), FILE);
}

export function partialDirectory(root: string): string {
  return path.join(root, OWN_DIRECTORY, "partial");
}

/** Whether a directory's name below `algorithm` is one that Bazel looks for: lower case and of the right length. */
export function isEntryName(name: string, algorithm: Algorithm): boolean {
  return name.length === 2 * DIGEST_BYTES[algorithm] && /^[0-9a-f]+$/.test(name);
}

export function isMarkerName(name: string, algorithm: Algorithm): boolean {
  return name.startsWith(MARKER_PREFIX) && isEntryName(name.slice(MARKER_PREFIX.length), algorithm);
}

/** The entry and the name in it, of a path below the cache's root with slashes: "content_addressable/sha256/…/file". Undefined for everything else. */
export function parseEntryPath(relative: string): { digest: Digest; name: string } | undefined {
  const [top, algorithm, hex, name, ...more] = relative.split("/");
  if (top !== CONTENT_ADDRESSABLE || more.length > 0 || name === undefined || hex === undefined) return undefined;
  const known = ALGORITHMS.find((a) => a === algorithm);
  if (!known || !isEntryName(hex, known)) return undefined;
  if (name !== FILE && !isMarkerName(name, known)) return undefined;
  return { digest: { algorithm: known, hex }, name };
}
