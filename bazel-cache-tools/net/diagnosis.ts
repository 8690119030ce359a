// Why bytes that arrived in good order are not the wanted ones, or look as if they were not.
import { createReadStream, createWriteStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { type Algorithm, createHasher, type Digest } from "../cache/digest.js";
import { codeOf, TransferError } from "./failure.js";

interface Format {
  name: string;
  magic: number[];
  /** Whether the file goes to its end. Files damaged otherwise count as complete: they are wrong, not short. */
  complete(path: string, size: number): Promise<boolean>;
}

/** Formats that say where they end, after which a truncated file can be told from another file. */
const FORMATS: Format[] = [
  { name: "gzip", magic: [0x1f, 0x8b], complete: inflatesToTheEnd },
  // "End of central directory", at most 65,535 bytes of comment behind it (APPNOTE.TXT 4.3.16).
  {
    name: "zip",
    magic: [0x50, 0x4b, 0x03, 0x04],
    complete: async (path, size) => (await tail(path, size, 65_557)).includes(Buffer.from("PK\x05\x06", "latin1")),
  },
  // The footer ends with "YZ", padded with zeros (xz-file-format.txt 2.1.2.4).
  { name: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], complete: async (path, size) => /YZ\0*$/.test((await tail(path, size, 1024)).toString("latin1")) },
];

const ARCHIVE = /\.(t?gz|tgz|zip|jar|war|aar|whl|xz|txz|bz2|tbz|zst|tzst|tar|7z|deb|rpm|exe|wasm)$/i;

async function read(path: string, work: (file: FileHandle) => Promise<Buffer>): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

function head(path: string): Promise<Buffer> {
  return read(path, async (file) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(1024), 0, 1024, 0);
    return buffer.subarray(0, bytesRead);
  });
}

function tail(path: string, size: number, bytes: number): Promise<Buffer> {
  return read(path, async (file) => {
    const length = Math.min(size, bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.subarray(0, bytesRead);
  });
}

async function inflatesToTheEnd(path: string): Promise<boolean> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    await pipeline(createReadStream(path), createGunzip(), nowhere);
    return true;
  } catch (error) {
    // zlib's word for input that ends too early.
    return codeOf(error) !== "Z_BUF_ERROR";
  }
}

function isHtml(start: Buffer, headers: IncomingHttpHeaders): boolean {
  const text = start
    .toString("latin1")
    .replace(/^\xef\xbb\xbf/, "")
    .trimStart();
  if (/^(<!--[\s\S]*?-->\s*)*<(!doctype\s+html|html)/i.test(text)) return true;
  return /^\s*(text\/html|application\/xhtml)/i.test(headers["content-type"] ?? "") && text.startsWith("<");
}

async function unfinished(path: string, size: number, start: Buffer): Promise<string | undefined> {
  const format = FORMATS.find(({ magic }) => magic.every((byte, i) => start[i] === byte));
  return format && !(await format.complete(path, size)) ? format.name : undefined;
}

/** The failure that a file with another digest than the wanted one is. */
export async function diagnose(path: string, size: number, headers: IncomingHttpHeaders, wanted: Digest, actual: Digest): Promise<TransferError> {
  const details = { received: size, actual };
  if (size === 0) return new TransferError("empty", "the server sent an empty file", details);
  const start = await head(path);
  if (isHtml(start, headers)) return new TransferError("html", `the server sent a web page (${size} bytes) in place of the file`, details);
  const format = await unfinished(path, size, start);
  if (format) return new TransferError("truncated", `the file stops after ${size} bytes, in the middle of its ${format} data`, details);
  return new TransferError("wrong-digest", `${size} bytes with ${actual.algorithm} ${actual.hex}, wanted ${wanted.hex}`, details);
}

/**
 * What speaks against a file that no digest judges: a web page in place of an archive, or an archive that stops where HTTP cannot tell
 * (neither Content-Length nor chunks). Undefined where nothing does.
 */
export async function doubt(path: string, size: number, headers: IncomingHttpHeaders, url: URL): Promise<TransferError | undefined> {
  const start = await head(path);
  if (ARCHIVE.test(url.pathname) && isHtml(start, headers)) {
    return new TransferError("html", `the server sent a web page (${size} bytes) in place of the file`, { received: size });
  }
  if (headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined) return undefined;
  const format = await unfinished(path, size, start);
  return format ? new TransferError("truncated", `the file stops after ${size} bytes, in the middle of its ${format} data`, { received: size }) : undefined;
}

const DECODERS: Record<string, () => Transform> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

/** The one content coding of an answer, where it can be undone. */
export function codingOf(headers: IncomingHttpHeaders): string | undefined {
  const coding = headers["content-encoding"]?.trim().toLowerCase();
  return coding !== undefined && Object.hasOwn(DECODERS, coding) ? coding : undefined;
}

/** Writes the decoded file to `to`. Undefined where the bytes are not of that coding. */
export async function decodeTo(path: string, to: string, coding: string, algorithm: Algorithm): Promise<{ digest: Digest; bytes: number } | undefined> {
  const hasher = createHasher(algorithm);
  let bytes = 0;
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hasher.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  try {
    await pipeline(createReadStream(path), DECODERS[coding]!(), hashing, createWriteStream(to));
    return { digest: { algorithm, hex: hasher.digest("hex") }, bytes };
  } catch (error) {
    if (codeOf(error).startsWith("Z_") || codeOf(error).startsWith("ERR_")) return undefined;
    throw error;
  }
}
