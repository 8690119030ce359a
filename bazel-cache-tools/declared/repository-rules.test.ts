import { describe, expect, test } from "vitest";
import { downloadsOfRule } from "./repository-rules.js";

const SHA256 = "a".repeat(64);
const one = (rule: string, attributes: Record<string, unknown>, builtIn = true) => downloadsOfRule(rule, builtIn, { name: "r", ...attributes }, "WORKSPACE:1");

describe("a rule of Bazel's own", () => {
  test("has `url` before `urls`, both as declared", () => {
    expect(one("http_archive", { url: "https://a", urls: ["https://b", "https://a"], sha256: SHA256.toUpperCase() }).downloads).toEqual([
      {
        name: "r",
        kind: "archive",
        urls: ["https://a", "https://b", "https://a"],
        digest: { algorithm: "sha256", hex: SHA256 },
        marker: "urls",
        at: "WORKSPACE:1",
      },
    ]);
  });

  test("with Maven coordinates has a URL on each server, and the coordinates for its canonical id", () => {
    const { downloads } = one("jvm_maven_import_external", {
      artifact: "com.google.guava:guava:33.0",
      server_urls: ["https://m.invalid/maven2", "https://n.invalid/"],
      artifact_sha256: SHA256,
    });
    expect(downloads).toMatchObject([
      {
        urls: ["https://m.invalid/maven2/com/google/guava/guava/33.0/guava-33.0.jar", "https://n.invalid/com/google/guava/guava/33.0/guava-33.0.jar"],
        canonicalId: "com.google.guava:guava:33.0",
      },
    ]);
    expect(
      one("jvm_maven_import_external", { artifact: "g:a:aar:tests:1", server_urls: ["https://m.invalid"], artifact_sha256: SHA256 }).downloads[0]!.urls,
    ).toEqual(["https://m.invalid/g/a/1/a-1-tests.aar"]);
  });

  test("fetches patches and overlays besides, each with its own checksum and without a marker of its own", () => {
    const integrity = `sha256-${Buffer.from(SHA256, "hex").toString("base64")}`;
    const { downloads } = one("http_archive", {
      urls: ["https://a"],
      sha256: SHA256,
      remote_patches: { "https://p/1.patch?x=1": integrity, "https://p/2.patch": "" },
      remote_file_urls: { "sub/BUILD": ["https://f/BUILD", "https://g/BUILD"] },
      remote_file_integrity: { "sub/BUILD": integrity },
    });
    expect(downloads.map((d) => [d.name, d.kind, d.marker, d.never === undefined])).toEqual([
      ["r", "archive", "urls", true],
      ["r 1.patch", "patch", "canonical id", true],
      ["r 2.patch", "patch", "canonical id", false],
      ["r sub/BUILD", "overlay", "canonical id", true],
    ]);
  });

  test.each([
    ["no url", {}, /has no url/],
    ["a checksum that is none", { url: "https://a", sha256: "12" }, /sha256 "12" is none/],
    ["an integrity that is none", { url: "https://a", integrity: "md5-x" }, /integrity "md5-x" is none/],
  ])("with %s is a problem", (_, attributes, pattern) => {
    expect(one("http_file", attributes).problems.map((p) => p.message)).toEqual([expect.stringMatching(pattern)]);
  });

  test("that is local declares nothing", () => {
    for (const rule of ["local_repository", "new_local_repository", "bind"]) expect(one(rule, { path: "x" })).toEqual({ downloads: [], problems: [] });
  });
});

describe("a rule of somebody else's", () => {
  test("with URLs and a checksum is taken for what it says; which marker it asks for is not known", () => {
    expect(one("tf_http_archive", { urls: ["https://a"], sha256: SHA256 }, false).downloads).toMatchObject([{ kind: "other", marker: "unknown" }]);
  });

  test("without a checksum, or named like one of Bazel's, is not judged", () => {
    expect(one("configure", { url: "https://a" }, false).downloads).toEqual([]);
    expect(one("git_repository", { remote: "https://a" }, false).downloads).toEqual([]);
  });
});
