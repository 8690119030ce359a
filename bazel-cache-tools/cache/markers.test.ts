import { readFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Algorithm } from "./digest.js";
import { isMarkerName } from "./layout.js";
import { canonicalIds, markerName, markerNames, urlsCanonicalId } from "./markers.js";

interface Recorded {
  bazel: string;
  how: string;
  algorithm: Algorithm;
  urls: string[];
  canonicalId?: string;
  markers: string[];
}

const recorded: Recorded[] = JSON.parse(readFileSync(path.resolve(import.meta.dirname, "../test/recorded/markers.json"), "utf8"));

describe("what real Bazels wrote for random lists of URLs", () => {
  test("is among the markers that are seeded", () => {
    expect(recorded.length).toBeGreaterThan(150);
    for (const { algorithm, urls, canonicalId, markers, bazel } of recorded) {
      const seeded = markerNames(canonicalIds([urls], canonicalId === undefined ? [] : [canonicalId]), algorithm);
      for (const marker of markers) expect(seeded, `bazel ${bazel}: ${urls.join(" ")}`).toContain(marker);
    }
  });

  test("is the marker of exactly the joined list, or of the explicit id", () => {
    for (const { algorithm, urls, canonicalId, markers, bazel } of recorded) {
      const id = canonicalId ?? urlsCanonicalId(urls);
      for (const marker of markers) expect([markerName(id, algorithm), markerName(id, algorithm, "module")], `bazel ${bazel}: ${id}`).toContain(marker);
    }
  });
});

describe("worked examples", () => {
  test("one URL, two URLs, and an id of the rule's", () => {
    const [one, two] = ["https://example.com/a/hello.txt", "https://mirror.example.org/hello.txt"];
    expect(markerName("https://example.com/hello.txt", "sha256")).toBe("id-8a28cc7a33fbf68630394433ec51d7bc29656125dfd0ed7a78f867a818f1a0af");
    expect(markerName("https://example.com/hello.txt", "sha512")).toMatch(/^id-e65e980112a2708216793de4215769048c8caa9d/);
    expect(markerName(`${one} ${two}`, "sha256")).toBe("id-4dbb726aa59a8c3123cfba7478f5d35fc8e4bdf660a07c85c7ef7d4783089b98");
    expect(markerName("my id", "sha256")).toBe("id-f72cbc9b0e1d4a06b39c92f1ff6b0959b0f5855a014f0d1ced3ec2e3a5fa15c3");
  });

  test("the flag of Bazel 5.1 to 6 makes another id of the same list", () => {
    const list = [["https://example.com/a/hello.txt", "https://mirror.example.org/hello.txt"]];
    expect(markerNames(canonicalIds(list), "sha256")).toContain("id-0761119c2f21e83c7c6075d943586450d1e6f05a4bb1d10bfa2c1d6fbaf090c7");
    expect(markerNames(canonicalIds([["https://github.com/v8/v8/archive/refs/tags/14.6.202.10.tar.gz"]]), "sha256")).toEqual([
      "id-f5ff729e48e141906cc7f4e7b7290133baa2cabaac9dde60ed1b9a93ffb90e06",
      "id-27ca84e40edcc57cbac5f891837f86432b476cdd6ebb139a878f7945c11592cb",
    ]);
  });

  test("what is not ASCII is hashed as Bazel reads it: twice encoded from Starlark, once from JSON", () => {
    expect(markerName("https://x.invalid/é", "sha256")).not.toBe(markerName("https://x.invalid/é", "sha256", "module"));
    expect(markerNames(["https://x.invalid/é"], "sha256")).toHaveLength(2);
    expect(markerNames(["https://x.invalid/e"], "sha256")).toHaveLength(1);
  });
});

test("any list of URLs: one well-formed marker for each id, the same whatever the order of lists", () => {
  const url = fc.webUrl({ withQueryParameters: true, withFragments: true });
  fc.assert(
    fc.property(
      fc.array(url, { minLength: 1, maxLength: 5 }),
      fc.constantFrom<Algorithm>("sha1", "sha256", "sha384", "sha512", "blake3"),
      (urls, algorithm) => {
        const names = markerNames(canonicalIds([urls]), algorithm);
        expect(names.every((name) => isMarkerName(name, algorithm))).toBe(true);
        expect(new Set(names).size).toBe(names.length);
        expect(names).toContain(markerName(urls.join(" "), algorithm));
        for (const one of urls) expect(names).toContain(markerName(one, algorithm));
        expect([...names].sort()).toEqual(markerNames(canonicalIds([urls, urls]), algorithm).sort());
      },
    ),
  );
});
