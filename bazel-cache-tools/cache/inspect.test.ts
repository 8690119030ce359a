import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { deflateRawSync, gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { inspect } from "./inspect.js";

const directory = mkdtempSync(path.join(tmpdir(), "bazel-cache-inspect-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function seems(content: string | Uint8Array, url: string): Promise<string | undefined> {
  const file = path.join(directory, "file");
  writeFileSync(file, content);
  return inspect(file, url);
}

const tarGz = "https://x.invalid/v8-1.0.tar.gz?raw=1#md5=0";
const random = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * 2654435761) >>> 13));
const gzip = gzipSync(random);

/** One file in a tar: a header of 512 bytes, a block of content, and the two blocks of zeros at the end. */
const tar = Buffer.alloc(2048).fill("x", 512, 1024);
tar.write("name", 0);
tar.write("ustar", 257);

const zip = Buffer.concat([Buffer.from([0x50, 0x4b, 3, 4]), deflateRawSync(random), Buffer.from([0x50, 0x4b, 5, 6]), Buffer.alloc(18)]);

describe("a file with the wrong digest", () => {
  test("that ends early looks truncated", async () => {
    expect(await seems(gzip.subarray(0, -5), tarGz)).toMatch(/truncated.*after \d+ bytes/);
    expect(await seems(gzip.subarray(0, 2000), tarGz)).toMatch(/truncated/);
    expect(await seems(zip.subarray(0, -100), "https://x.invalid/a.jar")).toMatch(/truncated/);
    expect(await seems(tar.subarray(0, 1300), "https://x.invalid/a.tar")).toMatch(/truncated/);
    expect(await seems(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1, 2, 3]), "https://x.invalid/a.tar.xz")).toMatch(/truncated/);
  });

  test("that is whole is not called truncated", async () => {
    expect(await seems(gzip, tarGz)).toBeUndefined();
    expect(await seems(zip, "https://x.invalid/a.zip")).toBeUndefined();
    expect(await seems(tar, "https://x.invalid/a.tar")).toBeUndefined();
  });

  test("that is a page of a login or an error says so, with its title and without its control characters", async () => {
    expect(await seems("<!DOCTYPE html><title>Sign in\u001b[31m to proxy</title>", tarGz)).toMatch(/HTML page \("Sign in\?\[31m to proxy"\)/);
    expect(await seems("\ufeff\n <html><body>", tarGz)).toMatch(/HTML page/);
  });

  test("that is another error message is quoted", async () => {
    expect(await seems('{"message": "Not Found",\n "status": "404"}', tarGz)).toMatch(/JSON.*Not Found/);
    expect(await seems("<?xml version='1.0'?><Error><Code>AccessDenied</Code>", tarGz)).toMatch(/XML.*AccessDenied/);
    expect(await seems("version https://git-lfs.github.com/spec/v1\noid sha256:1", tarGz)).toMatch(/Git LFS pointer/);
  });

  test("that was unpacked on the way says what does that", async () => {
    expect(await seems(tar, tarGz)).toMatch(/it is tar, where gzip was promised; a browser has unpacked it/);
  });

  test("that is packed otherwise says how", async () => {
    expect(await seems(zip, tarGz)).toBe("it is zip, where gzip was promised");
    expect(await seems("plain words", "https://codeload.github.com/v8/v8/tar.gz/refs/tags/1")).toBe("it is text, where gzip was promised");
    expect(await seems(Buffer.from([0, 1, 2]), tarGz)).toBe("it is not gzip");
  });

  test("that is empty says so", async () => {
    expect(await seems("", tarGz)).toBe("it is empty");
  });

  test("of a kind that promises nothing is just other bytes", async () => {
    expect(await seems("#!/bin/sh\n", "https://x.invalid/install.sh")).toBeUndefined();
  });
});
