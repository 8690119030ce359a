import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { parseDigest } from "../cache/digest.js";
import { type Cause, parseLog } from "./log.js";

const RECORDED = path.resolve(import.meta.dirname, "../test/recorded");

interface Expected {
  file: string;
  bazel: string;
  expected: { repository?: string; urls: string[]; wanted?: string; actual?: string; cause: Cause }[];
}

const index: Expected[] = JSON.parse(readFileSync(path.join(RECORDED, "logs.json"), "utf8"));

describe("what real Bazels printed", () => {
  test("every recorded log is in the index", () => {
    expect(index.map((e) => e.file.replace(/^logs\//, "")).sort()).toEqual(readdirSync(path.join(RECORDED, "logs")).sort());
  });

  test.each(index)("$file", ({ file, expected }) => {
    const full = [path.join(RECORDED, file), path.join(RECORDED, "logs", file)].find((f) => existsSync(f))!;
    const found = parseLog(readFileSync(full, "utf8"));
    expect(found.map((d) => d.urls.join(" ") || d.repository).sort()).toEqual(expected.map((d) => d.urls.join(" ") || d.repository).sort());
    for (const want of expected) {
      const got = found.find((d) => (d.urls.join(" ") || d.repository) === (want.urls.join(" ") || want.repository))!;
      if (want.wanted !== undefined) expect(got.wanted).toEqual(parseDigest(want.wanted));
      if (want.actual !== undefined) expect(got.actual).toEqual(parseDigest(want.actual));
      if (want.repository !== undefined) expect(got.repository).toBe(want.repository);
      expect(got.cause).toBe(want.cause);
    }
  });
});

const SHA = "a".repeat(64);

describe("lines", () => {
  test("are read through colours, redrawing and time stamps, and each failure once", () => {
    const line = `Error downloading [http://[::1]:80/a, https://x.invalid/b,c] to /o/external/v8/temp1/a: Checksum was ${"b".repeat(64)} but wanted ${SHA}`;
    const found = parseLog(`\u001b[31m\u001b[1mERROR: \u001b[0m${line}\n(12:00:00) ${line}\n\u001b[1A\u001b[KLoading: 1\r${line}\r\n`);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({
      repository: "v8",
      urls: ["http://[::1]:80/a", "https://x.invalid/b,c"],
      wanted: { algorithm: "sha256", hex: SHA },
      cause: "checksum",
    });
  });

  test("a digest that only an earlier warning names is taken over", () => {
    const [found] = parseLog(
      `WARNING: Download from https://x.invalid/a failed: class java.io.IOException Checksum was ${"b".repeat(64)} but wanted ${SHA}\nError downloading [https://x.invalid/a, https://y.invalid/a] to /o/external/v8/a: Unknown host: y.invalid`,
    );
    expect(found).toMatchObject({ cause: "unknown-host", wanted: { hex: SHA } });
  });

  test("hostile ones take no time", () => {
    expect(parseLog(`${"Error downloading [".repeat(100_000)}${"] to ".repeat(100_000)}`)).toEqual([]);
    expect(parseLog(`Error downloading [https://x.invalid/${"a".repeat(2_000_000)}] to /o/external/x/y: Premature EOF`)).toEqual([]);
  });

  test("Windows paths, and nothing at all", () => {
    expect(parseLog("Error downloading [https://x.invalid/a] to C:/u/external/v8/temp/a: Premature EOF")[0]).toMatchObject({
      repository: "v8",
      cause: "truncated",
    });
    expect(parseLog("INFO: Build completed successfully")).toEqual([]);
  });
});
