// doctor --fix: brings about what can be had without the network, each step safe by itself.
import { existsSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { findByDigest } from "../cache/candidates.js";
import { type Digest, keyOf, sameDigest } from "../cache/digest.js";
import { type HashOptions, hashOne } from "../cache/hashing.js";
import { entryFile, MARKER_PREFIX } from "../cache/layout.js";
import { addMarkers, placeFile, type Source } from "../cache/store.js";
import { canonicalIdsOf, type Download } from "../declared/download.js";
import type { Finding } from "./examine.js";

export interface MendInput {
  cache: string;
  /** Where missing bytes may lie. */
  search: readonly string[];
  hashing?: HashOptions;
}

export interface Mended {
  name: string;
  did: string;
}

/** Mends what the findings say. What is not named in the result is as it was. Throws a Failure where the cache cannot be written. */
export async function mend(findings: readonly Finding[], input: MendInput): Promise<Mended[]> {
  const mended: Mended[] = [];
  const note = ({ name }: Download, did: string) => mended.push({ name, did });
  const missing = () => findings.filter((f) => f.state === "miss" || f.state === "wrong digest" || f.state === "wrong directory");
  const found = await findByDigest(
    input.search,
    missing().map((f) => f.download.digest!),
    input.hashing,
  );
  // The bytes under a wrong name are first of all somebody else's right ones.
  for (const finding of findings) if (finding.state === "wrong digest") await moveToOwner(finding, missing(), input, note);
  for (const finding of findings) {
    const { download, state } = finding;
    const digest = download.digest;
    if (!digest) continue;
    if (state === "marker missing") {
      const added = addMarkers(input.cache, digest, canonicalIdsOf(download));
      note(download, `added ${added.length} ${added.length === 1 ? "marker" : "markers"}`);
    } else if (state === "miss" || state === "wrong digest" || state === "wrong directory") {
      const source = found.get(keyOf(digest)) ?? (await sourceAt(placesOf(finding), digest, input.hashing));
      if (source) await take(source, download, input.cache, note);
      else if (state === "wrong digest" && existsSync(entryFile(input.cache, digest))) {
        rmSync(entryFile(input.cache, digest));
        note(download, "removed the wrong bytes; it has to be fetched");
      }
    }
  }
  return mended;
}

function placesOf({ elsewhere, download }: Finding): string[] {
  const local = download.urls.filter((url) => url.startsWith("file:")).map((url) => fileURLToPath(url));
  return elsewhere === undefined ? local : [elsewhere, ...local];
}

async function sourceAt(files: readonly string[], digest: Digest, hashing: HashOptions | undefined): Promise<Source | undefined> {
  for (const file of files) {
    const hashed = await hashOne(file, [digest.algorithm], hashing);
    if (hashed.ok && hashed.digests[digest.algorithm] === digest.hex) return { file, digest, identity: hashed.identity };
  }
  return undefined;
}

async function take(source: Source, download: Download, cache: string, note: (download: Download, did: string) => void): Promise<void> {
  const inside = !path.relative(cache, source.file).startsWith("..");
  // Files of a registry or a workspace are edited where they lie.
  const { how } = await placeFile(cache, source, canonicalIdsOf(download), { move: inside, copy: download.urls.some((url) => url.startsWith("file:")) });
  if (inside) removeIfEmpty(path.dirname(source.file), cache);
  note(download, how === "already there" ? "added its markers" : `took ${source.file} (${how})`);
}

async function moveToOwner(finding: Finding, missing: readonly Finding[], input: MendInput, note: (download: Download, did: string) => void): Promise<void> {
  const { actual } = finding;
  const wrong = entryFile(input.cache, finding.download.digest!);
  const owner = actual && missing.find((f) => sameDigest(f.download.digest!, actual));
  if (!owner || !existsSync(wrong) || existsSync(entryFile(input.cache, actual))) return;
  const source = await sourceAt([wrong], actual, input.hashing);
  if (source) await take(source, owner.download, input.cache, note);
}

/** Directories that lost their last file, up to the cache's own. An entry's markers go with it: they are nothing without the bytes. */
function removeIfEmpty(directory: string, cache: string): void {
  for (let current = directory; current !== cache && !path.relative(cache, current).startsWith(".."); current = path.dirname(current)) {
    if (readdirSync(current).some((name) => !name.startsWith(MARKER_PREFIX))) return;
    rmSync(current, { recursive: true });
  }
}
