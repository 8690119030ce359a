import { describe, expect, test } from "vitest";
import { loadGuest } from "../../test/harness/guest.js";

const guest = loadGuest(`
  import { bytesOf, decimal, lowerCase, textOf } from "~lib/envoyscript-sdk/runtime/memory";
  export function decode(bytes: ArrayBuffer): string { return textOf(changetype<usize>(bytes), bytes.byteLength); }
  export function encode(text: string): ArrayBuffer { return bytesOf(text); }
  export function size(bytes: ArrayBuffer): i32 { return bytes.byteLength; }
  export function byte(bytes: ArrayBuffer, at: i32): i32 { return load<u8>(changetype<usize>(bytes) + at); }
  export function lower(text: string): string { return lowerCase(text); }
  export function dec(value: u32): string { return decimal(value); }
`);
const f = guest.exports as Record<string, (...args: unknown[]) => number>;
const decode = (bytes: Uint8Array) => guest.take(f.decode!(guest.giveBytes(bytes)));
const encode = (text: string) => {
  const pointer = f.encode!(guest.give(text));
  return Uint8Array.from({ length: f.size!(pointer) }, (_, i) => f.byte!(pointer, i));
};

describe("text across the border", () => {
  test.each(["", "plain", "äöü", "日本語", "😀 mixed é 漢 \u0000 end"])("%j is encoded and decoded as the platform does", (text) => {
    expect(encode(text)).toEqual(new TextEncoder().encode(text));
    expect(decode(new TextEncoder().encode(text))).toBe(text);
  });

  test("unpaired surrogates become U+FFFD", () => {
    expect(new TextDecoder().decode(encode("a\ud800b\udc00"))).toBe("a\ufffdb\ufffd");
  });

  test("malformed bytes become U+FFFD and never read past the end", () => {
    expect(decode(Uint8Array.of(0x61, 0xff, 0x62))).toBe("a\ufffdb");
    expect(decode(Uint8Array.of(0xc3))).toBe("\ufffd");
    expect(decode(Uint8Array.of(0xe2, 0x82))).toBe("\ufffd\ufffd");
    expect(decode(Uint8Array.of(0xf0, 0x9f, 0x98))).toBe("\ufffd\ufffd\ufffd");
    expect(decode(Uint8Array.of(0xc0, 0xaf))).toBe("\ufffd\ufffd");
    expect(decode(Uint8Array.of(0xed, 0xa0, 0x80))).toBe("\ufffd\ufffd\ufffd");
    expect(decode(Uint8Array.of(0xf4, 0x90, 0x80, 0x80))).toBe("\ufffd\ufffd\ufffd\ufffd");
  });

  test("random bytes decode without a trap, to text that has no unpaired surrogate", () => {
    for (let i = 0; i < 500; i++) {
      const bytes = Uint8Array.from({ length: i % 40 }, () => Math.floor(Math.random() * 256));
      const text = decode(bytes);
      expect(text.isWellFormed?.() ?? true, String(bytes)).toBe(true);
    }
  });

  test("lower case is ASCII only, decimals are plain", () => {
    expect(guest.take(f.lower!(guest.give("X-Foo-Ä")))).toBe("x-foo-Ä");
    for (const n of [0, 7, 10, 4294967295]) expect(guest.take(f.dec!(n))).toBe(String(n));
  });
});
