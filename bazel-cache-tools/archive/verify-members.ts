// Goes through an archive from anywhere and takes of it what a cache may hold: entries whose bytes have their digests, their markers, and the manifest that lists them.
import { createHasher, type Digest, keyOf } from "../cache/digest.js";
import { CONTENT_ADDRESSABLE, FILE, parseEntryPath } from "../cache/layout.js";
import { LARGEST_MANIFEST, MANIFEST, type ManifestEntry, parseManifest } from "./manifest.js";
import { type Member, readTar } from "./read-tar.js";
import { decode, Refusal } from "./tar-header.js";

/** Where an entry's bytes go while they are verified. */
export interface Sink {
  write(piece: Buffer): Promise<void>;
  /** All bytes came, and they are the right ones. */
  end(): Promise<void>;
  /** Called in place of `end`. */
  discard(): Promise<void>;
}

export interface Verified {
  digest: Digest;
  /** Bytes. */
  size: number;
  markers: string[];
  names: string[];
  urls: string[];
}

export interface VerifyOptions {
  /** Undefined: the bytes are verified and kept nowhere. */
  open(digest: Digest): Promise<Sink | undefined>;
  /** Told of bytes that were verified since it was told before. */
  progress?(bytes: number): void;
  /** Of files and directories. */
  most?: number;
}

/** A hundred times the largest caches that are known. */
const MOST = 1_000_000;

interface Gathered {
  digest: Digest;
  /** Undefined: only markers came so far. */
  size?: number;
  markers: Set<string>;
}

/** In the archive's order. Throws a Refusal for an archive that is not exactly what it should be. */
export async function verifyMembers(source: AsyncIterable<Buffer>, options: VerifyOptions): Promise<Verified[]> {
  const { most = MOST } = options;
  const gathered = new Map<string, Gathered>();
  let manifest: Map<string, ManifestEntry> | undefined;
  let count = 0;
  for await (const member of readTar(source)) {
    if (++count > most) throw new Refusal(undefined, `has more than ${most} entries`);
    const name = plainName(member.name);
    if (member.kind === "directory") {
      if (!isDirectoryOfEntries(name)) throw foreign(member.name);
    } else if (name === MANIFEST) {
      if (manifest) throw new Refusal(member.name, "is there twice");
      manifest = parseManifest(await readText(member));
    } else await takeFile(member, name, gathered, options);
  }
  if (manifest) compare(manifest, gathered);
  // Markers without bytes are nothing to Bazel.
  return [...gathered.values()]
    .filter((g) => g.size !== undefined)
    .map(({ digest, size, markers }) => {
      const { names = [], urls = [] } = manifest?.get(keyOf(digest)) ?? {};
      return { digest, size: size!, markers: [...markers].sort(), names, urls };
    });
}

/** `tar -C cache .` and the like put "./" before every name; directories end in a slash. */
function plainName(name: string): string {
  return name.replace(/^\.\//, "").replace(/\/$/, "");
}

function isDirectoryOfEntries(name: string): boolean {
  if (name === "" || name === "." || name === CONTENT_ADDRESSABLE) return true;
  const [top, algorithm, hex, ...more] = name.split("/");
  if (more.length > 0) return false;
  if (hex !== undefined) return parseEntryPath(`${name}/${FILE}`) !== undefined;
  return top === CONTENT_ADDRESSABLE && algorithm !== undefined && /^[a-z0-9]+$/.test(algorithm);
}

function foreign(name: string): Refusal {
  if (/(^|\/)\._/.test(name)) return new Refusal(name, "was added by macOS; make the tar with COPYFILE_DISABLE=1 tar …, or with bazel-cache pack");
  if (/\/tmp-[^/]*$/.test(name)) return new Refusal(name, "was left by an interrupted writer; make the tar with --exclude='tmp-*', or with bazel-cache pack");
  return new Refusal(name, `is not of a repository cache; bazel-cache pack makes such archives, and so does tar -cf x.tar -C CACHE ${CONTENT_ADDRESSABLE}`);
}

async function readText(member: Member): Promise<string> {
  if (member.size > LARGEST_MANIFEST) throw new Refusal(member.name, `has ${member.size} bytes; no manifest is as large`);
  const pieces: Buffer[] = [];
  for await (const piece of member.body) pieces.push(piece);
  return decode(Buffer.concat(pieces));
}

async function takeFile(member: Member, name: string, gathered: Map<string, Gathered>, options: VerifyOptions): Promise<void> {
  const parsed = parseEntryPath(name);
  // A file's name that ends in a slash is a directory to some.
  if (!parsed || member.name.endsWith("/")) throw foreign(member.name);
  const { digest } = parsed;
  const key = keyOf(digest);
  const entry: Gathered = gathered.get(key) ?? { digest, markers: new Set() };
  gathered.set(key, entry);
  if (parsed.name !== FILE) {
    if (member.size > 0) throw new Refusal(member.name, `is a marker, and has ${member.size} bytes in it`);
    if (entry.markers.has(parsed.name)) throw new Refusal(member.name, "is there twice");
    entry.markers.add(parsed.name);
    return;
  }
  if (entry.size !== undefined) throw new Refusal(member.name, "is there twice");
  entry.size = member.size;
  await takeBytes(member, digest, options);
}

async function takeBytes(member: Member, digest: Digest, { open, progress }: VerifyOptions): Promise<void> {
  const hasher = createHasher(digest.algorithm);
  const sink = await open(digest);
  try {
    for await (const piece of member.body) {
      hasher.update(piece);
      await sink?.write(piece);
      progress?.(piece.length);
    }
    const actual = hasher.digest("hex");
    if (actual !== digest.hex) throw new Refusal(member.name, `its bytes have ${digest.algorithm} ${actual}, not that of its directory`);
  } catch (error) {
    await sink?.discard();
    throw error;
  }
  await sink?.end();
}

/** What the manifest lists is there, and nothing else. */
function compare(manifest: Map<string, ManifestEntry>, gathered: Map<string, Gathered>): void {
  for (const [key, { size, markers }] of manifest) {
    const there = gathered.get(key);
    if (there?.size === undefined) throw new Refusal(MANIFEST, `lists ${key}, which is not in the archive`);
    if (there.size !== size || markers.length !== there.markers.size || !markers.every((marker) => there.markers.has(marker)))
      throw new Refusal(MANIFEST, `says something else of ${key} than is in the archive`);
  }
  for (const key of gathered.keys()) if (!manifest.has(key)) throw new Refusal(MANIFEST, `does not list ${key}, which is in the archive`);
}
