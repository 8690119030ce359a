import path from "node:path";
import { Writable } from "node:stream";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Algorithm } from "../cache/digest.js";
import { selectAll } from "./contents.js";
import { Refusal } from "./tar-header.js";
import { inPieces, makeScratch, putEntry, treeOf } from "./test/raw-tar.js";
import { unpack } from "./unpack.js";
import { writeTar } from "./write-tar.js";

let scratch: ReturnType<typeof makeScratch>;
let count = 0;
beforeEach(() => {
  scratch = makeScratch();
});
afterEach(() => scratch.remove());
const fresh = () => path.join(scratch.directory, String(count++));

const entry = fc.record({
  content: fc.uint8Array({ maxLength: 2000 }),
  urls: fc.uniqueArray(fc.webUrl(), { maxLength: 3 }),
  algorithm: fc.constantFrom<Algorithm>("sha1", "sha256", "sha384", "sha512", "blake3"),
});
const entries = fc.array(entry, { maxLength: 8 });

function makeCache(list: { content: Uint8Array; urls: string[]; algorithm: Algorithm }[]): string {
  const cache = fresh();
  for (const { content, urls, algorithm } of list) putEntry(cache, Buffer.from(content), urls, algorithm);
  return cache;
}

async function tarOfCache(cache: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const output = new Writable({
    write(piece: Buffer, _, done) {
      pieces.push(piece);
      done();
    },
  });
  await writeTar(selectAll(cache, []), output, { signal: new AbortController().signal, end: true });
  return Buffer.concat(pieces);
}

test("what is packed is what is unpacked, in pieces of any length", async () => {
  await fc.assert(
    fc.asyncProperty(entries, fc.integer({ min: 1, max: 3000 }), async (list, length) => {
      const cache = makeCache(list);
      const tar = await tarOfCache(cache);
      const copy = fresh();
      await unpack(inPieces(tar, length), copy);
      expect(treeOf(copy)).toEqual(treeOf(cache));
      expect(await tarOfCache(copy)).toEqual(tar);
    }),
    { numRuns: 60 },
  );
});

test("a damaged archive changes nothing, unless what comes of it is right all the same", async () => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(entry, { minLength: 1, maxLength: 4 }),
      fc.array(fc.record({ at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), bits: fc.integer({ min: 1, max: 255 }) }), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
      async (list, flips, cut) => {
        const cache = makeCache(list);
        let tar = await tarOfCache(cache);
        for (const { at, bits } of flips) tar[Math.floor(at * tar.length)]! ^= bits;
        if (cut !== null) tar = tar.subarray(0, Math.floor(cut * tar.length));
        const copy = makeCache([]);
        try {
          await unpack(inPieces(tar), copy);
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
          refused++;
          expect(treeOf(copy)).toEqual({});
          return;
        }
        expect(treeOf(copy)).toEqual(treeOf(cache));
      },
    ),
    { numRuns: 400 },
  );
  expect(refused).toBeGreaterThan(50);
});
