// Where redirects lead, in isolation; misbehaviour.test.ts follows them.
import { describe, expect, test } from "vitest";
import { isRedirect, nextHop } from "./redirects.js";

const from = (url: string) => [new URL(url)];

describe("the next hop", () => {
  test.each([
    ["/b?c", "https://a.org/b?c"],
    ["b", "https://a.org/x/b"],
    ["//b.org", "https://b.org/"],
    ["https://b.org/#fragment", "https://b.org/"],
  ])("%s", (location, expected) => expect(nextHop(from("https://a.org/x/y"), location, false).href).toBe(expected));

  test.each([undefined, "http://", "ftp://a.org/", "file:///etc/passwd", "https://a.org/x/y"])("%s leads nowhere", (location) => {
    expect(() => nextHop(from("https://a.org/x/y"), location, true)).toThrow();
  });

  test("steps down from https to http only where a digest judges the bytes", () => {
    expect(() => nextHop(from("https://a.org/"), "http://b.org/?signature=secret", false)).toThrow(/^(?!.*secret).*declare one/);
    expect(nextHop(from("https://a.org/"), "http://b.org/", true).href).toBe("http://b.org/");
    expect(nextHop(from("http://a.org/"), "http://b.org/", false).href).toBe("http://b.org/");
  });

  test("statuses", () => expect([200, 300, 301, 302, 303, 304, 307, 308].filter(isRedirect)).toEqual([301, 302, 303, 307, 308]));
});
