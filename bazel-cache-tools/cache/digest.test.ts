import { describe, expect, test } from "vitest";
import { digestOf, formatIntegrity, parseDigest, parseHex, parseIntegrity } from "./digest.js";

const HELLO = {
  sha1: "f572d396fae9206628714fb2ce00f72e94f2258f",
  sha256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
  sha384: "1d0f284efe3edea4b9ca3bd514fa134b17eae361ccc7a1eefeff801b9bd6604e01f21f6bf249ef030599f0c218f2ba8c",
  sha512: "e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931f94aae41edda2c2b207a36e10f8bcb8d45223e54878f5b316e7ce3b6bc019629",
};

describe("digests of known bytes", () => {
  test.each(["sha1", "sha256", "sha384", "sha512"] as const)("%s", (algorithm) => {
    expect(digestOf("hello\n", algorithm).hex).toBe(HELLO[algorithm]);
  });

  // The first of the official test vectors: no bytes at all.
  test("blake3", () => {
    expect(digestOf("", "blake3").hex).toBe("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  });
});

describe("what is declared", () => {
  test("hexadecimal digits in either case are one digest", () => {
    expect(parseHex(HELLO.sha256.toUpperCase())).toEqual({ algorithm: "sha256", hex: HELLO.sha256 });
  });

  test.each(["", "5891", `${HELLO.sha256}0`, HELLO.sha256.replace("5", "g"), HELLO.sha1])("%j is no SHA-256", (text) => {
    expect(parseHex(text)).toBeUndefined();
  });

  test("integrity and back", () => {
    expect(parseIntegrity("sha256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM=")).toEqual({ algorithm: "sha256", hex: HELLO.sha256 });
    for (const algorithm of ["sha1", "sha256", "sha384", "sha512"] as const) {
      const digest = { algorithm, hex: HELLO[algorithm] };
      expect(parseIntegrity(formatIntegrity(digest))).toEqual(digest);
      expect(parseDigest(formatIntegrity(digest))).toEqual(digest);
    }
  });

  test.each([
    "",
    "sha256",
    "sha256-",
    "md5-WJG1tSLV3whtD/CxEPvZ0g==",
    "sha256-WJG1",
    "sha256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM= sha384-x",
    "SHA256-WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM=",
  ])("%j is no integrity", (text) => {
    expect(parseIntegrity(text)).toBeUndefined();
  });
});
