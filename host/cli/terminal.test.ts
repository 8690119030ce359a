// Colours only where a person sees them.
import { expect, test } from "vitest";
import { bytes, harmless, paint, printable, wantsColor } from "./terminal.js";

test("colours are for terminals, unless somebody said no", () => {
  expect(wantsColor({ isTTY: true }, {})).toBe(true);
  expect(wantsColor({ isTTY: true }, { NO_COLOR: "" })).toBe(true);
  expect(wantsColor({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
  expect(wantsColor({ isTTY: true }, { TERM: "dumb" })).toBe(false);
  expect(wantsColor({}, {})).toBe(false);
  expect(paint("red", "x", false)).toBe("x");
  expect(paint("red", "x", true)).toBe("\u001b[31mx\u001b[0m");
});

test("text of unknown origin steers no terminal; our colours and lines stay", () => {
  expect(printable("a\u001b[31mb\nc\u202e")).toBe("a?[31mb?c?");
  expect(harmless(`${paint("red", "x\u0007", true)}\n\u001b]0;title\u0007\u009b`)).toBe("\u001b[31mx?\u001b[0m\n?]0;title??");
});

test("sizes are shown in the unit that fits", () => {
  expect([0, 1023, 1024, 20345, 1024 ** 2 - 1, 1024 ** 2 * 1.5].map(bytes)).toEqual(["0 B", "1023 B", "1.0 KiB", "19.9 KiB", "1024.0 KiB", "1.5 MiB"]);
});
