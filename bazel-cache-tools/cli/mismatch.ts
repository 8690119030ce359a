// Files that were meant to be a download and are not: which one, and what they are instead.
import path from "node:path";
import { type Digest, sameDigest } from "../cache/digest.js";
import type { Hashed } from "../cache/hashing.js";
import { inspect, promisedBy } from "../cache/inspect.js";
import type { Download } from "../declared/download.js";
import { baseName } from "../declared/repository-rules.js";

/** Browsers number what they download twice ("v8 (1).tar.gz"), and some unpack it ("v8.tar"). */
function plainName(name: string): string {
  return name
    .replace(/ ?\(\d+\)(?=\.|$)/, "")
    .replace(/\.(gz|xz|bz2|zst)$/i, "")
    .replace(/\.t([gx]z|bz2?|zst)$/i, ".tar");
}

/** Whether a file has the name that a download's URL, or the download itself, would give it. */
export function isNameOf(file: string, { name, urls }: Download): boolean {
  const plain = plainName(path.basename(file));
  return urls.some((url) => plainName(baseName(url)) === plain) || plain.replace(/\.(tar|zip|jar)$/, "") === name;
}

/** The declaration that a file was probably meant for. */
export function nearest(file: string, declared: readonly Download[]): Download | undefined {
  return declared.find((d) => d.digest && isNameOf(file, d));
}

/** Both digests, the size, and what the file seems to be, in one line. `url`: what it ought to be. */
export async function explainMismatch(file: string, hashed: Hashed & { ok: true }, wanted: Digest, url: string | undefined, of = ""): Promise<string> {
  const actual = { algorithm: wanted.algorithm, hex: hashed.digests[wanted.algorithm]! };
  if (sameDigest(actual, wanted)) return `${file}: has the right digest`;
  // A local name promises as much as a URL where there is none.
  const seems = await inspect(file, url !== undefined && promisedBy(url) ? url : file);
  return `${file}: has ${actual.algorithm} ${actual.hex} (${hashed.identity.size} bytes), not the declared ${wanted.hex}${of}: ${seems ?? "other bytes: another version, or changed at its origin"}`;
}
