import { describe, expect, test } from "vitest";
import { loadGuest } from "../test/harness/guest.js";

const guest = loadGuest(`
  import { Json } from "~lib/envoyscript-sdk/json";
  export function roundTrip(text: string): string { const json = Json.parse(text); return json.ok ? json.toString() : "error: " + json.error; }
  export function member(text: string, name: string): string { return Json.parse(text).get(name).toString(); }
  export function replaced(text: string, name: string): string { return Json.parse(text).set(name, Json.of("***")).toString(); }
  export function removed(text: string, name: string): string { const json = Json.parse(text); json.delete(name); return json.toString(); }
  export function num(value: f64): string { return Json.number(value).toString(); }
`);
const { roundTrip, member, replaced, removed, num } = guest.exports as Record<string, (...args: unknown[]) => unknown>;
const parse = (text: string) => guest.take(roundTrip!(guest.give(text)));

describe("Json", () => {
  test.each([
    '{"a":1,"b":[true,false,null],"c":{"d":"e"}}',
    "[]",
    "{}",
    '"\\u00e4\\ud83d\\ude00\\n\\t\\"\\\\"',
    "-0.5e+10",
    '{"ü":"日本","":""}',
    "123456789012345678901234567890",
  ])("writes what it read: %s", (text) => {
    expect(JSON.parse(parse(text))).toEqual(JSON.parse(text));
  });

  test("random documents survive the round trip", () => {
    let seed = 1 + Math.floor(Math.random() * 1e9);
    const start = seed;
    const random = (n: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % n;
    };
    const value = (depth: number): unknown => {
      switch (random(depth > 4 ? 5 : 7)) {
        case 0:
          return null;
        case 1:
          return random(2) === 1;
        case 2:
          return (random(2_000_000) - 1_000_000) / 1000;
        case 3:
        case 4:
          return Array.from({ length: random(12) }, () => String.fromCodePoint([random(128), 0x80 + random(0x700), 0x1f600 + random(64)][random(3)]!)).join("");
        case 5:
          return Array.from({ length: random(6) }, () => value(depth + 1));
        default:
          return Object.fromEntries(Array.from({ length: random(6) }, (_, i) => [`k${i}`, value(depth + 1)]));
      }
    };
    for (let i = 0; i < 300; i++) {
      const document = value(0);
      const text = JSON.stringify(document);
      expect(JSON.parse(parse(text)), `seed ${start}: ${text}`).toEqual(document);
    }
  });

  test.each(["", " ", "{", "[1,]", '{"a"}', '{"a":1,}', "01", "1.", "-", "nul", '"a', '"\\x"', '"\\u12g4"', "1 2", "\u0001", '"a\nb"', "{a:1}"])(
    "refuses %j and says where",
    (text) => {
      expect(parse(text)).toMatch(/^error: .+ at byte \d+$/);
    },
  );

  test("refuses nesting that would exhaust the stack", () => {
    expect(parse("[".repeat(100_000))).toMatch(/nested too deeply/);
    expect(parse(`${"[".repeat(100)}${"]".repeat(100)}`)).toBe(`${"[".repeat(100)}${"]".repeat(100)}`);
  });

  test("of members with the same name the last counts", () => {
    expect(guest.take(member!(guest.give('{"a":1,"a":2}'), guest.give("a")))).toBe("2");
  });

  test("members can be replaced and removed", () => {
    expect(guest.take(replaced!(guest.give('{"password":"x","b":1}'), guest.give("password")))).toBe('{"password":"***","b":1}');
    expect(guest.take(removed!(guest.give('{"a":1,"b":2}'), guest.give("a")))).toBe('{"b":2}');
  });

  test("numbers that JSON lacks become null", () => {
    expect(guest.take(num!(Number.NaN))).toBe("null");
    expect(guest.take(num!(42))).toBe("42");
    expect(guest.take(num!(0.5))).toBe("0.5");
  });
});
