// Several writers on one cache, killed at any moment: a `file` with wrong bytes is never seen, and nothing that was there is lost.
import { readdirSync, readFileSync, watch as watchFiles } from "node:fs";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { digestOf } from "../cache/digest.js";
import { readContents } from "../cache/entries.js";
import { entryDirectory } from "../cache/layout.js";
import { buildBazelCache, Machine } from "./command.js";

let machine: Machine;
beforeAll(buildBazelCache);
beforeEach(() => {
  machine = new Machine();
});
afterEach(() => machine.close());

/** Files of a few megabytes, so that there is a middle to be killed in; `round` makes them new. */
function contents(round: number): Buffer[] {
  return [0, 1].map((i) => Buffer.alloc(4 * 1024 * 1024, `${round}-${i} `));
}

/** Every `file` of the cache has the digest of its directory. */
function allRight(): number {
  const { entries } = readContents(machine.cache);
  for (const { file, digest } of entries) if (file) expect(digestOf(readFileSync(file.path), digest.algorithm).hex).toBe(digest.hex);
  return entries.filter((e) => e.file).length;
}

test("200 times killed in the middle of writing", { timeout: 400_000 }, async () => {
  let kept = 0;
  let middle = 0;
  for (let round = 0; round < 100; round++) {
    const files = contents(round % 10).map((content, i) => machine.write(`in/${i}`, content));
    const digests = files.map((file) => digestOf(readFileSync(file), "sha256"));
    const writers = [0, 1].map(() =>
      machine.start(["seed", "--no-workspace", "--copy", "--url", `https://x.invalid/${round}`, ...files, "--cache", machine.cache]),
    );
    // The kill comes when the first or the second of them is being written: some bytes are there, not all.
    const target = entryDirectory(machine.cache, digests[round % 2]!);
    const watching = new AbortController();
    const seen = isWritten(target, watching.signal);
    await Promise.race([seen, ...writers.map((w) => w.ended)]);
    watching.abort();
    await seen;
    for (const writer of writers) writer.kill("SIGKILL");
    await Promise.all(writers.map((w) => w.ended));
    middle += readContents(machine.cache).entries.filter((e) => e.temporary.length > 0).length > 0 ? 1 : 0;
    const now = allRight();
    expect(now).toBeGreaterThanOrEqual(kept);
    kept = now;
  }
  // The kills did come in the middle, or this test would say nothing.
  expect(middle).toBeGreaterThan(20);
  // Whatever was left, the next run completes it, and doctor finds nothing but old leavings.
  for (let round = 0; round < 10; round++) {
    const files = contents(round).map((content, i) => machine.write(`in/${i}`, content));
    expect((await machine.run(["seed", "--no-workspace", "--copy", "--url", "https://x.invalid/1", ...files])).code).toBe(0);
  }
  expect(allRight()).toBe(20);
});

/** Resolves when a temporary file is in a directory that may not be there yet, or when `signal` says so. */
async function isWritten(directory: string, signal: AbortSignal): Promise<void> {
  const below = path.relative(machine.directory, directory).split(path.sep);
  let current = machine.directory;
  for (const name of below) {
    await changes(current, (names) => names.includes(name), signal);
    current = path.join(current, name);
  }
  await changes(current, (names) => names.some((name) => name.startsWith("tmp-")), signal);
}

function changes(directory: string, until: (names: string[]) => boolean, signal: AbortSignal): Promise<void> {
  const there = () => signal.aborted || until(readdirSync(directory));
  return new Promise((resolve) => {
    if (there()) return resolve();
    const watcher = watchFiles(directory);
    const end = () => {
      watcher.close();
      signal.removeEventListener("abort", end);
      resolve();
    };
    signal.addEventListener("abort", end);
    watcher.on("change", () => {
      if (there()) end();
    });
    if (there()) end();
  });
}

test("two seeds of the same files at once both succeed, and the entries are whole", { timeout: 60_000 }, async () => {
  const files = contents(1000).map((content, i) => machine.write(`in/${i}`, content));
  const ended = await Promise.all([1, 2, 3, 4].map((i) => machine.run(["seed", "--no-workspace", "--copy", "--url", `https://x.invalid/${i}`, ...files])));
  expect(ended.map((e) => e.code)).toEqual([0, 0, 0, 0]);
  expect(allRight()).toBe(2);
  const { entries } = readContents(machine.cache);
  for (const { markers, temporary } of entries) {
    expect(markers.length).toBe(8);
    expect(temporary).toEqual([]);
  }
});
