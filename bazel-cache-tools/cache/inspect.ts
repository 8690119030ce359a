// What a file with the wrong digest seems to be: the first thing its owner wants to know.
import { closeSync, createReadStream, fstatSync, openSync, readSync } from "node:fs";
import { createGunzip } from "node:zlib";
import { printable } from "../../host/cli/terminal.js";

const PEEK = 4096;

type Kind = "gzip" | "xz" | "zip" | "bzip2" | "zstd" | "tar" | "html" | "xml" | "json" | "git-lfs" | "text" | "other";

const MAGIC: [Kind, number, number[]][] = [
  ["gzip", 0, [0x1f, 0x8b]],
  ["xz", 0, [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ["zip", 0, [0x50, 0x4b, 0x03, 0x04]],
  ["zip", 0, [0x50, 0x4b, 0x05, 0x06]],
  ["bzip2", 0, [0x42, 0x5a, 0x68]],
  ["zstd", 0, [0x28, 0xb5, 0x2f, 0xfd]],
  ["tar", 257, [0x75, 0x73, 0x74, 0x61, 0x72]],
];

/** By the names of downloads: which kind of file their URL promises. */
const PROMISED: [RegExp, Kind][] = [
  [/\.(tar\.gz|tgz|gz)$|\/tar\.gz(\/|$)/i, "gzip"],
  [/\.(tar\.xz|txz|xz)$/i, "xz"],
  [/\.(zip|jar|whl|aar|nupkg)$|\/zip(\/|$)/i, "zip"],
  [/\.(tar\.bz2|tbz2?|bz2)$/i, "bzip2"],
  [/\.(tar\.zst|tzst|zst)$/i, "zstd"],
  [/\.tar$/i, "tar"],
];

/** One sentence without a full stop, or undefined where the file looks as it should and only its digest differs. `url` says what it ought to be. */
export async function inspect(file: string, url: string | undefined): Promise<string | undefined> {
  const { head, tail, size } = ends(file);
  if (size === 0) return "it is empty";
  const kind = kindOf(head);
  if (kind === "html") return `it is an HTML page${titleOf(head)}: a login, a proxy or an error answered instead of the server`;
  if (kind === "git-lfs") return "it is a Git LFS pointer, not the file itself";
  if (kind === "xml" || kind === "json") return `it is ${kind === "xml" ? "XML" : "JSON"}, which looks like an error message: ${oneLine(head)}`;
  const promised = promisedBy(url);
  if (promised && promised !== kind && kind !== "other") {
    const unpacked = kind === "tar" && promised !== "zip" ? "; a browser has unpacked it on the way: download it with curl, or turn that off" : "";
    return `it is ${kind}, where ${promised} was promised${unpacked}`;
  }
  if (promised && kind === "other") return `it is not ${promised}`;
  return (await isTruncated(file, kind, tail)) ? `it looks truncated (its end is missing after ${size} bytes)` : undefined;
}

export function promisedBy(url: string | undefined): Kind | undefined {
  const path = url?.replace(/[?#].*$/, "");
  return path === undefined ? undefined : PROMISED.find(([pattern]) => pattern.test(path))?.[1];
}

function ends(file: string): { head: Buffer; tail: Buffer; size: number } {
  const descriptor = openSync(file, "r");
  try {
    const { size } = fstatSync(descriptor);
    const read = (position: number) => {
      const piece = Buffer.alloc(Math.min(PEEK, size));
      return piece.subarray(0, readSync(descriptor, piece, 0, piece.length, position));
    };
    return { head: read(0), tail: read(Math.max(0, size - PEEK)), size };
  } finally {
    closeSync(descriptor);
  }
}

function kindOf(head: Buffer): Kind {
  for (const [kind, at, bytes] of MAGIC) if (bytes.every((byte, i) => head[at + i] === byte)) return kind;
  if (head.includes(0)) return "other";
  const text = head
    .toString("utf8")
    .replace(/^\ufeff/, "")
    .trimStart()
    .slice(0, 500)
    .toLowerCase();
  if (text.startsWith("<!doctype html") || text.startsWith("<html") || text.includes("<head>")) return "html";
  if (text.startsWith("version https://git-lfs")) return "git-lfs";
  if (text.startsWith("<?xml") || text.startsWith("<error")) return "xml";
  if (text.startsWith("{") && /"(message|error|errors|code|status)"/.test(text)) return "json";
  return "text";
}

function titleOf(head: Buffer): string {
  const title = /<title[^>]*>([^<]{1,80})/i.exec(head.toString("utf8"))?.[1]?.replace(/\s+/g, " ").trim();
  return title ? ` ("${printable(title)}")` : "";
}

function oneLine(head: Buffer): string {
  return printable(head.toString("utf8").replace(/\s+/g, " ").trim()).slice(0, 80);
}

async function isTruncated(file: string, kind: Kind, tail: Buffer): Promise<boolean> {
  if (kind === "gzip") return gzipEndsEarly(file);
  if (kind === "xz") return !tail.subarray(-2).equals(Buffer.from("YZ"));
  if (kind === "zip") return tail.indexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06])) < 0;
  if (kind === "tar") return tail.length >= 1024 && !tail.subarray(-1024).every((byte) => byte === 0);
  return false;
}

/** A gzip file has its length and checksum behind its last block only: it has to be read whole. */
function gzipEndsEarly(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const reader = createReadStream(file);
    const gunzip = createGunzip();
    const end = (early: boolean) => {
      reader.destroy();
      gunzip.destroy();
      resolve(early);
    };
    reader.on("error", () => end(false));
    gunzip.on("error", (error: NodeJS.ErrnoException) => end(error.code === "Z_BUF_ERROR"));
    gunzip.on("end", () => end(false));
    gunzip.resume();
    reader.pipe(gunzip);
  });
}
