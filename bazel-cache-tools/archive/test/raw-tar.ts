// Tars built by hand, header by header, for tests: as nobody's tar writes them.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Algorithm, type Digest, digestOf } from "../../cache/digest.js";
import { CONTENT_ADDRESSABLE, entryDirectory, FILE } from "../../cache/layout.js";
import { markerName } from "../../cache/markers.js";

export interface RawHeader {
  name: string | Buffer;
  type?: string;
  size?: number | string | Buffer;
  prefix?: string;
  magic?: string;
  linkname?: string;
  checksum?: string;
}

/** A name of more than 100 bytes is split as ustar does, unless it is a GNU header. */
export function rawHeader({ name, type = "0", size = 0, prefix = "", magic = "ustar\x0000", linkname = "", checksum }: RawHeader): Buffer {
  const block = Buffer.alloc(512);
  if (typeof name === "string" && name.length > 100 && magic.startsWith("ustar\0") && prefix === "") {
    const slash = name.lastIndexOf("/", name.length - 2);
    [prefix, name] = [name.slice(0, slash), name.slice(slash + 1)];
  }
  block.set(Buffer.from(name as string).subarray(0, 100), 0);
  block.write("0000644\0", 100);
  block.write("0001750\0", 108);
  block.write("0001750\0", 116);
  block.set(typeof size === "number" ? Buffer.from(`${size.toString(8).padStart(11, "0")}\0`) : Buffer.from(size as string), 124);
  block.write("14000000000\0", 136);
  block.write("        ", 148);
  block.write(type, 156, "latin1");
  block.write(linkname, 157);
  block.write(magic, 257, "latin1");
  block.write("somebody", 265);
  block.write(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(checksum ?? `${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

export function member(header: RawHeader, body: string | Buffer = ""): Buffer {
  const bytes = Buffer.from(body as string);
  return Buffer.concat([rawHeader({ size: bytes.length, ...header }), padded(bytes)]);
}

export function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

export const END = Buffer.alloc(1024);

export function tarOf(...members: Buffer[]): Buffer {
  return Buffer.concat([...members, END]);
}

export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest);
  while (String(length).length + Buffer.byteLength(rest) !== length) length = String(length).length + Buffer.byteLength(rest);
  return `${length}${rest}`;
}

export function pathOf(digest: Digest, name = FILE): string {
  return `${CONTENT_ADDRESSABLE}/${digest.algorithm}/${digest.hex}/${name}`;
}

/** The file member of an entry with these bytes. */
export function entryMember(content: string | Buffer, algorithm: Algorithm = "sha256"): Buffer {
  return member({ name: pathOf(digestOf(content, algorithm)) }, content);
}

/** A directory of a test's own. */
export function makeScratch(): { directory: string; remove(): void } {
  const directory = mkdtempSync(path.join(tmpdir(), "bazel-cache-archive-"));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

export function putEntry(cache: string, content: string | Buffer, urls: readonly string[] = [], algorithm: Algorithm = "sha256"): Digest {
  const digest = digestOf(content, algorithm);
  const directory = entryDirectory(cache, digest);
  mkdirSync(directory, { recursive: true });
  writeFileSync(path.join(directory, FILE), content);
  for (const url of urls) writeFileSync(path.join(directory, markerName(url, algorithm)), "");
  return digest;
}

/** Every path below a directory; files with their bytes. A directory that is not there has none. */
export function treeOf(directory: string): Record<string, string> {
  if (!statSync(directory, { throwIfNoEntry: false })) return {};
  const tree: Record<string, string> = {};
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" }).sort()) {
    const full = path.join(directory, name);
    tree[name] = statSync(full).isDirectory() ? "directory" : readFileSync(full, "latin1");
  }
  return tree;
}

/** In pieces of `length` bytes, as a slow pipe gives them. */
export async function* inPieces(bytes: Buffer, length = 65536): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}
