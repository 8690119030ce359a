// doctor --fix: brings about what can be had without the network. Nothing is deleted: bytes are moved to where they belong, or taken from where they may stay.
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import path from "node:path";
import { Failure } from "../../host/cli/failure.js";
import { findByDigest } from "../cache/candidates.js";
import { type Digest, groupByDigest, keyOf, sameDigest } from "../cache/digest.js";
import type { HashOptions } from "../cache/hashing.js";
import { entryDirectory, entryFile, MARKER_PREFIX } from "../cache/layout.js";
import { addMarkers, placeFile, type Source, sourceOf } from "../cache/store.js";
import { canonicalIdsOf } from "../declared/download.js";
import { localPath } from "../declared/file-url.js";
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
  const groups = groupByDigest(findings, ({ download }) => download.digest);
  const missing = [...groups.values()].filter(([first]) => isMissing(first));
  const found = await findByDigest(
    input.search,
    missing.map(([first]) => first.download.digest!),
    input.hashing,
  );
  // The bytes under a wrong name are first of all somebody else's right ones.
  for (const [first] of groups.values()) if (first.state === "wrong digest") mended.push(...(await moveToOwner(first, missing, input)));
  for (const group of groups.values()) {
    const [first] = group;
    const digest = first.download.digest!;
    if (group.some((f) => f.state === "marker missing")) {
      const added = addMarkers(input.cache, digest, idsOf(group));
      for (const { download } of group) mended.push({ name: download.name, did: `added ${added.length} ${added.length === 1 ? "marker" : "markers"}` });
    } else if (isMissing(first)) {
      const source = found.get(keyOf(digest)) ?? (await sourceNear(group, digest, input.hashing));
      const did = source && (await take(source, first.elsewhere === source.file, group, input));
      if (did) for (const { download } of group) mended.push({ name: download.name, did });
    }
  }
  return mended;
}

/** One digest may be declared many times, with markers of its own each. */
type Group = readonly [Finding, ...Finding[]];

function isMissing({ state }: Finding): boolean {
  return state === "miss" || state === "wrong digest" || state === "wrong directory";
}

function idsOf(group: Group): string[] {
  return group.flatMap(({ download }) => canonicalIdsOf(download));
}

async function sourceNear(group: Group, digest: Digest, hashing: HashOptions | undefined): Promise<Source | undefined> {
  const files = group.flatMap(({ elsewhere, download }) => [
    ...(elsewhere === undefined ? [] : [elsewhere]),
    ...download.urls.map(localPath).filter((file) => file !== undefined),
  ]);
  for (const file of files) {
    const source = await sourceOf(file, digest, hashing);
    if (source) return source;
  }
  return undefined;
}

/** `misplaced`: the file lies where Bazel never looks; within the cache it is moved. Undefined where somebody else was faster. */
async function take(source: Source, misplaced: boolean, group: Group, { cache, hashing }: MendInput): Promise<string | undefined> {
  const move = misplaced && !path.relative(cache, source.file).startsWith("..");
  const directory = entryDirectory(cache, source.digest);
  let from = source;
  if (source.file === directory) {
    // The file has the name that its own directory should have.
    from = { ...source, file: `${directory}.${randomUUID()}` };
    renameSync(source.file, from.file);
  }
  try {
    // Files of a registry or a workspace are edited where they lie.
    const copy = group.some(({ download }) => download.urls.some((url) => url.startsWith("file:")));
    const { how } = await placeFile(cache, from, idsOf(group), { move, copy, ...(hashing?.signal ? { signal: hashing.signal } : {}) });
    if (move) removeIfEmpty(path.dirname(source.file), cache);
    return how === "already there" ? "added its markers" : `took ${source.file} (${how})`;
  } catch (error) {
    if (from !== source && existsSync(from.file)) renameSync(from.file, source.file);
    if (error instanceof Failure && !existsSync(source.file)) return undefined;
    throw error;
  }
}

async function moveToOwner(finding: Finding, missing: readonly Group[], input: MendInput): Promise<Mended[]> {
  const { actual, download } = finding;
  const owner = actual && missing.find(([first]) => sameDigest(first.download.digest!, actual));
  if (!owner || existsSync(entryFile(input.cache, actual))) return [];
  const wrong = entryFile(input.cache, download.digest!);
  const source = await sourceOf(wrong, actual, input.hashing);
  if (!source) return [];
  const { how } = await placeFile(input.cache, source, idsOf(owner), { move: true });
  return owner.map((f) => ({ name: f.download.name, did: `took ${wrong} (${how})` }));
}

/** Directories that lost their last file, up to the cache's own. An entry's markers go with it: they are nothing without the bytes. */
function removeIfEmpty(directory: string, cache: string): void {
  for (let current = directory; current !== cache && !path.relative(cache, current).startsWith(".."); current = path.dirname(current)) {
    try {
      const names = readdirSync(current);
      if (names.some((name) => !name.startsWith(MARKER_PREFIX))) return;
      for (const name of names) rmSync(path.join(current, name), { force: true });
      rmdirSync(current);
    } catch {
      return; // Somebody else is at it, too.
    }
  }
}
