import { expect, test } from "vitest";
import { byName } from "./names.js";

test.each([
  ["v8", "v8", true],
  ["v8", "v8_extra", false],
  ["v*", "v8_extra", true],
  ["*8*", "v8_extra", true],
  ["*a*a", "a", false],
  ["zlib@1.3.2", "zlib@1.3.2 overlay/BUILD", true],
  ["zlib@1.3.2 patches/*", "zlib@1.3.2 overlay/BUILD", false],
  ["a.c", "abc", false],
])("%j and %j: %j", (pattern, name, expected) => {
  expect(byName([pattern], name)).toBe(expected);
});

test("no patterns choose nothing", () => expect(byName(undefined, "a")).toBe(false));
