// Digests as Bazel writes them: `sha256 = "…hex…"` and Subresource Integrity (`integrity = "sha256-…base64…"`).
import { createHash, type Hash } from "node:crypto";
import { blake3 } from "@noble/hashes/blake3.js";

/** The directories of a repository cache, and the number of bytes of each digest (bazel 7.7: `RepositoryCache.KeyType`). */
export const DIGEST_BYTES = { sha1: 20, sha256: 32, sha384: 48, sha512: 64, blake3: 32 } as const;

export type Algorithm = keyof typeof DIGEST_BYTES;

export const ALGORITHMS = Object.keys(DIGEST_BYTES) as Algorithm[];

export interface Digest {
  algorithm: Algorithm;
  /** Lower case, as the cache's directories are. */
  hex: string;
}

export function isAlgorithm(text: string): text is Algorithm {
  return Object.hasOwn(DIGEST_BYTES, text);
}

/** A digest of hexadecimal digits, in either case. Undefined where the text is none. */
export function parseHex(text: string, algorithm: Algorithm = "sha256"): Digest | undefined {
  if (text.length !== 2 * DIGEST_BYTES[algorithm] || !/^[0-9a-f]+$/i.test(text)) return undefined;
  return { algorithm, hex: text.toLowerCase() };
}

/** Bazel takes exactly one digest, and everything behind the dash is base64 (bazel 7.7: `Checksum.fromSubresourceIntegrity`). Undefined where the text is none. */
export function parseIntegrity(text: string): Digest | undefined {
  const dash = text.indexOf("-");
  const algorithm = text.slice(0, dash);
  if (dash < 0 || !isAlgorithm(algorithm)) return undefined;
  const base64 = text.slice(dash + 1);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const bytes = Buffer.from(base64, "base64");
  return bytes.length === DIGEST_BYTES[algorithm] ? { algorithm, hex: bytes.toString("hex") } : undefined;
}

/** Either spelling, as it stands in logs and JSON. */
export function parseDigest(text: string): Digest | undefined {
  return parseHex(text) ?? parseIntegrity(text);
}

export function formatIntegrity(digest: Digest): string {
  return `${digest.algorithm}-${Buffer.from(digest.hex, "hex").toString("base64")}`;
}

/** "sha256:…hex…", the key under which digests are compared and looked up. */
export function keyOf(digest: Digest): string {
  return `${digest.algorithm}:${digest.hex}`;
}

export function sameDigest(a: Digest, b: Digest): boolean {
  return a.algorithm === b.algorithm && a.hex === b.hex;
}

/** Things of one digest together, under its key and in their order; those without a digest are left out. */
export function groupByDigest<T>(items: readonly T[], digestOf: (item: T) => Digest | undefined): Map<string, [T, ...T[]]> {
  const groups = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const digest = digestOf(item);
    if (!digest) continue;
    const group = groups.get(keyOf(digest));
    if (group) group.push(item);
    else groups.set(keyOf(digest), [item]);
  }
  return groups;
}

/** What a running digest looks like, whoever computes it. */
export interface Hasher {
  update(data: Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

/** Node's OpenSSL has all of them but BLAKE3. */
export function createHasher(algorithm: Algorithm): Hasher {
  if (algorithm !== "blake3") return createHash(algorithm) as Hash;
  const running = blake3.create();
  return { update: (data) => running.update(data), digest: () => Buffer.from(running.digest()).toString("hex") };
}

export function digestOf(data: Uint8Array | string, algorithm: Algorithm): Digest {
  const hasher = createHasher(algorithm);
  hasher.update(typeof data === "string" ? Buffer.from(data, "utf8") : data);
  return { algorithm, hex: hasher.digest("hex") };
}
