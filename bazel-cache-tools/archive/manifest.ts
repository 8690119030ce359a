// bazel-cache.json, the first entry of an archive: what is in it, and what for. Whoever reads the archive holds it against its entries.
import { type Digest, isAlgorithm, keyOf, parseHex } from "../cache/digest.js";
import { isMarkerName } from "../cache/layout.js";
import { Refusal } from "./tar-header.js";

export const MANIFEST = "bazel-cache.json";

/** Bytes; a cache of 100,000 entries has some 50 MiB. */
export const LARGEST_MANIFEST = 256 * 1024 * 1024;

const VERSION = 1;

export interface ManifestEntry {
  digest: Digest;
  /** Bytes of `file`. */
  size: number;
  /** Names of the marker files, sorted. */
  markers: string[];
  /** Of the declared downloads that these bytes are, where they are known. */
  names: string[];
  urls: string[];
}

export function formatManifest(entries: readonly ManifestEntry[]): string {
  const plain = entries.map(({ digest, size, markers, names, urls }) => ({ [digest.algorithm]: digest.hex, size, names, urls, markers }));
  return `${JSON.stringify({ version: VERSION, entries: plain }, null, 1)}\n`;
}

/** By the digests' keys. Throws a Refusal. */
export function parseManifest(text: string): Map<string, ManifestEntry> {
  const wrong = (why: string) => new Refusal(MANIFEST, why);
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    throw wrong("is no JSON");
  }
  const { version, entries } = (read ?? {}) as { version?: unknown; entries?: unknown };
  if (typeof version === "number" && version > VERSION) throw wrong(`is of version ${version}, which this bazel-cache does not know yet; update it`);
  if (version !== VERSION || !Array.isArray(entries)) throw wrong("is no manifest of bazel-cache pack");
  const manifest = new Map<string, ManifestEntry>();
  for (const [i, raw] of entries.entries()) {
    const entry = parseEntry(raw);
    if (!entry) throw wrong(`its entry ${i} is malformed`);
    if (manifest.has(keyOf(entry.digest))) throw wrong(`names ${entry.digest.algorithm} ${entry.digest.hex} twice`);
    manifest.set(keyOf(entry.digest), entry);
  }
  return manifest;
}

function parseEntry(raw: unknown): ManifestEntry | undefined {
  if (typeof raw !== "object" || raw === null) return undefined;
  const { size, markers, names, urls, ...rest } = raw as Record<string, unknown>;
  const [[algorithm, hex] = [undefined, undefined], ...more] = Object.entries(rest);
  if (algorithm === undefined || more.length > 0 || !isAlgorithm(algorithm) || typeof hex !== "string") return undefined;
  const digest = parseHex(hex, algorithm);
  if (digest?.hex !== hex || !Number.isSafeInteger(size) || (size as number) < 0) return undefined;
  if (!isTexts(markers) || !isTexts(names) || !isTexts(urls)) return undefined;
  if (!markers.every((name) => isMarkerName(name, algorithm)) || new Set(markers).size < markers.length) return undefined;
  return { digest, size: size as number, markers, names, urls };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
