// Reads a tar from a stream, entry by entry, in bounded memory; refuses whatever it could understand in two ways.
import { type Extended, parsePax } from "./pax.js";
import { BLOCK, decode, type Header, parseHeader, Refusal } from "./tar-header.js";

export interface Member {
  /** As it stands in the archive. */
  name: string;
  kind: "file" | "directory";
  /** Bytes. */
  size: number;
  /** The bytes, to be read before the next member is asked for. */
  body: AsyncIterable<Buffer>;
}

/** Of an extended header or a long name: names are a few hundred bytes, attributes a few thousand. */
const LARGEST_EXTENSION = 1024 * 1024;

/** What people hand over in place of a tar. */
const COMPRESSED: [string, number[]][] = [
  ["gzip'ed: gunzip first", [0x1f, 0x8b]],
  ["compressed: unxz first", [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ["compressed: unzstd first", [0x28, 0xb5, 0x2f, 0xfd]],
  ["compressed: bunzip2 first", [0x42, 0x5a, 0x68]],
  ["a zip file", [0x50, 0x4b, 0x03, 0x04]],
];

/** Throws a Refusal, and whatever the source throws. */
export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<Member> {
  const bytes = new Bytes(source);
  let extended: Extended | undefined;
  let any = false;
  for (;;) {
    const block = await bytes.take(BLOCK);
    if (!any) checkStart(block);
    if (block.length < BLOCK) throw new Refusal(undefined, any ? "is truncated: its end is missing" : "is no tar: it is too short");
    const header = parseHeader(block, !any);
    any = true;
    if (!header) {
      if (extended) throw new Refusal(extended.path, "is announced, and then the archive ends");
      return await checkEnd(bytes);
    }
    if (header.kind === "file" || header.kind === "directory") {
      const member = { name: extended?.path ?? header.name, kind: header.kind, size: extended?.size ?? header.size };
      extended = undefined;
      if (member.kind === "directory" && member.size > 0) throw new Refusal(member.name, "is a directory with bytes in it");
      const body = bytes.pieces(member.size, member.name);
      yield { ...member, body };
      for await (const _ of body);
      await bytes.skipPadding(member.size, member.name);
      continue;
    }
    const said = await readExtension(header, bytes);
    if (header.kind === "pax global") continue;
    if (extended) throw new Refusal(said.path ?? extended.path, "has two extended headers");
    extended = said;
  }
}

function checkStart(block: Buffer): void {
  if (block.length === 0) throw new Refusal(undefined, "is empty");
  const found = COMPRESSED.find(([, magic]) => magic.every((byte, i) => block[i] === byte));
  if (found) throw new Refusal(undefined, `is no tar but ${found[0]}`);
}

async function readExtension({ kind, name, size }: Header, bytes: Bytes): Promise<Extended> {
  if (size > LARGEST_EXTENSION) throw new Refusal(name, `has an extended header of ${size} bytes`);
  const body = await bytes.take(size);
  if (body.length < size) throw new Refusal(undefined, "is truncated within an extended header");
  await bytes.skipPadding(size, name);
  if (kind !== "long name") return parsePax(body, kind === "pax global");
  // GNU tar ends the name with a NUL.
  return { path: decode(body.at(-1) === 0 ? body.subarray(0, -1) : body) };
}

/** Two blocks of zeros end an archive, and zeros may follow; anything else is a second one that only some would read. */
async function checkEnd(bytes: Bytes): Promise<void> {
  const second = await bytes.take(BLOCK);
  if (second.length < BLOCK) throw new Refusal(undefined, "is truncated: the second half of its end is missing");
  const isZero = (piece: Buffer) => piece.every((byte) => byte === 0);
  const more = () => new Refusal(undefined, "goes on behind its end");
  if (!isZero(second)) throw more();
  for await (const piece of bytes.rest()) if (!isZero(piece)) throw more();
}

/** A stream's bytes, as many at a time as are asked for. */
class Bytes {
  private readonly source: AsyncIterator<Buffer>;
  private pending: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.source = source[Symbol.asyncIterator]();
  }

  /** Whatever comes next, at most `most` bytes; undefined at the end. */
  private async some(most: number): Promise<Buffer | undefined> {
    while (this.pending.length === 0) {
      const next = await this.source.next();
      if (next.done) return undefined;
      this.pending = next.value;
    }
    const piece = this.pending.subarray(0, most);
    this.pending = this.pending.subarray(piece.length);
    return piece;
  }

  /** `length` bytes, or fewer where the stream ends. */
  async take(length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const piece = await this.some(left);
      if (!piece) break;
      pieces.push(piece);
      left -= piece.length;
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  async *pieces(length: number, name: string): AsyncGenerator<Buffer> {
    for (let left = length; left > 0; ) {
      const piece = await this.some(left);
      if (!piece) throw new Refusal(name, `is truncated: ${left} of its ${length} bytes are missing`);
      left -= piece.length;
      yield piece;
    }
  }

  async *rest(): AsyncGenerator<Buffer> {
    for (let piece = await this.some(Infinity); piece; piece = await this.some(Infinity)) yield piece;
  }

  async skipPadding(size: number, name: string): Promise<void> {
    const padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if ((await this.take(padding)).length < padding) throw new Refusal(name, "is truncated: the archive's end is missing");
  }
}
