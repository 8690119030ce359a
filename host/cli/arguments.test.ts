// Option values: what is taken, and what a wrong one is told.
import { describe, expect, test } from "vitest";
import { parseBudget, parseCluster, parseMemory, parseSize, parseUpstream, portOf, readConfig } from "./arguments.js";
import { Failure } from "./failure.js";

function refusal(call: () => unknown): Failure {
  try {
    call();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("it was taken");
}

describe("sizes", () => {
  test.each([
    ["64MiB", 64 * 1024 * 1024],
    ["1GiB", 1024 ** 3],
    ["512KiB", 512 * 1024],
    ["7B", 7],
    ["4194304", 4194304],
  ])("%s is %d bytes", (text, size) => expect(parseSize(text)).toBe(size));

  test.each(["", "MiB", "64MB", "64mib", "64 MiB", "6.5MiB", "-1", "0x10", "64MiB ", "1e6", "64M"])("%j is none", (text) =>
    expect(parseSize(text)).toBeUndefined(),
  );

  test("--memory keeps to what Envoy allows", () => {
    expect(parseMemory("4MiB")).toBe(4 * 1024 * 1024);
    expect(refusal(() => parseMemory("4095KiB")).message).toBe("--memory 4095KiB: from 4MiB to 1GiB (Envoy's own limit)");
    expect(refusal(() => parseMemory("2GiB")).message).toContain("from 4MiB to 1GiB");
    expect(refusal(() => parseMemory("64MB"))).toMatchObject({ message: "--memory 64MB: no size; write 64MiB, 65536KiB or a number of bytes", exitCode: 2 });
  });
});

test("counts and ports are whole numbers within their limits", () => {
  expect(parseBudget("0")).toBe(0);
  expect(parseBudget("2147483647")).toBe(2147483647);
  for (const text of ["-1", "1.5", "2147483648", "many", ""]) expect(refusal(() => parseBudget(text)).message).toContain(`--budget ${text}: no count`);
  expect(portOf("--port")("65535")).toBe(65535);
  for (const text of ["65536", "-1", "http", ""]) expect(refusal(() => portOf("--admin-port")(text)).message).toContain(`--admin-port ${text}: no port`);
});

describe("targets", () => {
  test("clusters are collected by name", () => {
    expect(parseCluster("b=https://b", parseCluster("a=http://a:1"))).toEqual([
      { name: "a", url: "http://a:1" },
      { name: "b", url: "https://b" },
    ]);
  });

  test.each([
    ["auth", "--cluster auth: write name=http://host:port"],
    ["=http://a", "--cluster =http://a: write name=http://host:port"],
    ["a=ftp://a", '--cluster: "ftp://a": only http and https are possible'],
    ["a=http://:80", '--cluster: "http://:80" is no URL: write http://host:port'],
  ])("--cluster %s is refused", (text, message) => expect(refusal(() => parseCluster(text)).message).toBe(message));

  test("a name given twice is refused", () =>
    expect(refusal(() => parseCluster("a=http://b", [{ name: "a", url: "http://a" }])).message).toBe("--cluster a is given twice"));

  test("--upstream is a URL", () => {
    expect(parseUpstream("http://[::1]:80")).toBe("http://[::1]:80");
    expect(refusal(() => parseUpstream("http://a:99999")).message).toContain("--upstream:");
  });
});

test("a configuration is JSON, or a file of it", () => {
  expect(readConfig(undefined)).toBeUndefined();
  expect(readConfig(' {"a": 1}')).toEqual({ a: 1 });
  expect(readConfig("package.json")).toMatchObject({ private: true });
  expect(refusal(() => readConfig("{a}")).message).toMatch(/^--config not JSON: /);
  expect(refusal(() => readConfig("LICENSE")).message).toMatch(/^--config LICENSE: not JSON: /);
  expect(refusal(() => readConfig("nowhere.json")).message).toBe("--config nowhere.json: there is no such file (JSON itself begins with a brace)");
});
