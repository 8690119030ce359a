// Real projects' declarations (test/fixtures): what is found is what their facts say, no more and no less.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { digestOf } from "../cache/digest.js";
import { hashOne } from "../cache/hashing.js";
import { markerName } from "../cache/markers.js";
import { placeFile } from "../cache/store.js";
import { type Download, requestedIds, withoutRepeats } from "./download.js";
import { readWorkspace } from "./workspace.js";

interface Fact {
  name: string;
  urls: string[];
  sha256?: string;
  integrity?: string;
  sha256Hex?: string;
  canonicalMarkerUrls: string[];
  marker?: string;
  markerUnknown?: boolean;
}

interface Facts {
  downloads: Fact[];
  notDeclared: { name: string; urls?: string[] }[];
  neverCached: { name: string }[];
  unresolvedLoads: string[];
}

const FIXTURES = path.resolve(import.meta.dirname, "../test/fixtures");
const cache = mkdtempSync(path.join(tmpdir(), "bazel-cache-fixtures-"));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

const read = (folder: string) =>
  readWorkspace({ workspace: path.join(FIXTURES, folder), cache, version: undefined, registries: [], env: { HOME: cache }, platform: "linux" });

const key = (hex: string | undefined, urls: readonly string[]) => `${hex} ${urls.join(" ")}`;

describe.each(["envoy-1.39", "envoy-module", "grpc", "tensorflow", "bazel-2018", "bazel-2018/direct"])("%s", (folder) => {
  const facts = JSON.parse(readFileSync(path.join(FIXTURES, folder, "facts.json"), "utf8")) as Facts;
  let found: Download[];

  test("declares exactly what its facts say", async () => {
    if (folder === "envoy-module") await seedRegistries();
    const declared = await read(folder);
    found = withoutRepeats(declared.downloads);
    const expected = facts.downloads.map((f) => key(f.sha256Hex ?? f.sha256, f.urls));
    expect(
      found
        .filter((d) => d.digest)
        .map((d) => key(d.digest!.hex, d.urls))
        .sort(),
    ).toEqual([...new Set(expected)].sort());
    expect(
      found
        .filter((d) => !d.digest)
        .map((d) => d.name)
        .sort(),
    ).toEqual(facts.neverCached.map((f) => f.name).sort());
    for (const { name } of facts.notDeclared.filter((f) => !facts.downloads.some((d) => d.name === f.name)))
      expect(found.map((d) => d.name)).not.toContain(name);
  });

  test("each has the marker that Bazel 7 and later ask for", () => {
    for (const fact of facts.downloads) {
      const download = found.find((d) => key(d.digest?.hex, d.urls) === key(fact.sha256Hex ?? fact.sha256, fact.urls))!;
      const asked = requestedIds(download, "urls");
      // What a rule's own code asks for is not known; no marker at all is one of the possibilities.
      if (fact.marker === undefined) expect(asked ?? [], fact.name).toEqual([]);
      else
        expect(
          asked!.map((id) => markerName(id, "sha256", download.text)),
          fact.name,
        ).toEqual([fact.marker]);
    }
  });

  test("every declaration has a place", () => {
    for (const { at } of found) expect(at).toMatch(/^[\w./-]+(:\d+)?$/);
  });

  test("what could not be followed is named with its place, and nothing else is", async () => {
    const { problems } = await read(folder);
    for (const { at, message } of problems) {
      expect(at).toMatch(/^[\w./-]+(:\d+)?$/);
      expect(message).toMatch(/known to Bazel only|code decides what it downloads|there is no third_party\/py\/python_configure\.bzl|is known to Bazel only/);
    }
  });
});

/** Files of the fixture's registries, where Bazel keeps them: under their checksums. */
async function seedRegistries(): Promise<void> {
  const root = path.join(FIXTURES, "envoy-module/registry");
  for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    const hashed = await hashOne(path.join(root, name), ["sha256"]);
    if (!hashed.ok) continue;
    await placeFile(cache, { file: hashed.file, digest: digestOf(readFileSync(hashed.file), "sha256"), identity: hashed.identity }, [], { copy: true });
  }
}

test("without the registries' files their modules are problems that say what to do, not silence", async () => {
  const empty = mkdtempSync(path.join(tmpdir(), "bazel-cache-empty-"));
  const { problems } = await readWorkspace({
    workspace: path.join(FIXTURES, "envoy-module"),
    cache: empty,
    version: undefined,
    registries: [],
    env: { HOME: empty },
    platform: "linux",
  });
  rmSync(empty, { recursive: true });
  expect(problems.find((p) => p.message.startsWith("v8@"))?.message).toMatch(/source\.json: it is not in the cache: run bazel-cache fetch to get it/);
});
