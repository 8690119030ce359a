// Properties that hold for every text and every value.
import fc from "fast-check";
import { expect, test } from "vitest";
import { StarlarkError } from "./index.js";
import { evaluated, resultOf } from "./testing.js";

/** Python's repr of a text, which Starlark reads back. */
const literal = (text: string): string =>
  `"${Array.from(text, (one) => (/[A-Za-z0-9 ]/.test(one) ? one : `\\U${one.codePointAt(0)!.toString(16).padStart(8, "0")}`)).join("")}"`;

const text = fc.string({ unit: "binary" });
const scalar = fc.oneof(text.map(literal), fc.maxSafeInteger().map(String), fc.constantFrom("None", "True", "False", "1.5", "()"));
const value: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    scalar,
    fc.array(tie("value"), { maxLength: 4 }).map((items) => `[${items.join(", ")}]`),
    fc.array(tie("value"), { minLength: 1, maxLength: 4 }).map((items) => `(${items.join(", ")},)`),
    fc.array(fc.tuple(scalar, tie("value")), { maxLength: 4 }).map((entries) => `{${entries.map((entry) => entry.join(": ")).join(", ")}}`),
  ),
})).value;

/** Words of the language in any order: nearer to programs than random characters are. */
const WORDS = [
  "def",
  "f",
  "(",
  ")",
  ":",
  "\n",
  "\n  ",
  "\n    ",
  "if",
  "else",
  "elif",
  "for",
  "in",
  "x",
  "=",
  "+=",
  "[",
  "]",
  "{",
  "}",
  ",",
  '"',
  "'",
  '"""',
  "\\",
  "#",
  "1",
  "0x",
  ".",
  "*",
  "**",
  "not",
  "lambda",
  "return",
  "load",
  "-",
  "%",
  "|",
  "'s'",
  "and",
  "break",
  ";",
  "\t",
  "\r\n",
  "é",
  "UNSEEN",
  "declare",
  "dict",
  "range",
];
const program = fc.array(fc.constantFrom(...WORDS), { maxLength: 60 }).map((words) => words.join(" ").replace(/ ?\n ?/g, "\n"));

const BUDGET = { steps: 100_000 };

test("random text and random words end, and throw nothing but StarlarkError", () => {
  fc.assert(
    fc.property(fc.oneof(text, program, fc.string({ maxLength: 200 })), (source) => {
      try {
        evaluated(source, { budget: BUDGET });
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(StarlarkError);
      }
    }),
    { numRuns: 3000 },
  );
});

test("behind any line of garbage that opens no string, a statement at the left margin is evaluated", () => {
  const garbage = program.filter((source) => !/["'\\]/.test(source));
  fc.assert(
    fc.property(garbage, (source) => {
      expect(evaluated(`${source}\nlast_one = 42\n`).globals.get("last_one")).toBe(42);
    }),
    { numRuns: 1000 },
  );
});

test("every text comes back from its literal, its repr, % and format", () => {
  fc.assert(
    fc.property(text, (one) => {
      expect(resultOf(literal(one))).toBe(one);
      const { globals } = evaluated(`r = repr(${literal(one)})`);
      expect(resultOf(String(globals.get("r")))).toBe(one);
      expect(resultOf(`"<%s>" % ${literal(one)}`)).toBe(`<${one}>`);
      expect(resultOf(`"<{}{{{x}}}>".format(${literal(one)}, x = 1)`)).toBe(`<${one}{1}>`);
      expect(resultOf(`"|".join(${literal(one)}.split("|"))`)).toBe(one);
    }),
  );
});

test("every value equals what its repr reads as, and itself as a key", () => {
  fc.assert(
    fc.property(value, (source) => {
      const { globals, problems } = evaluated(`x = ${source}\nr = repr(x)`);
      expect(problems).toEqual([]);
      expect(resultOf(`${source} == ${globals.get("r")}`)).toBe(true);
      if (!/[[{]/.test(source)) expect(resultOf(`{${source}: 1}[${source}]`)).toBe(1);
    }),
  );
});

test("integers compute as integers do, of whatever size", () => {
  const integer = fc.bigInt(-(2n ** 70n), 2n ** 70n);
  const shown = (number: bigint): unknown => (Number.isSafeInteger(Number(number)) ? Number(number) : String(number));
  fc.assert(
    fc.property(fc.oneof(integer, fc.maxSafeInteger().map(BigInt)), fc.oneof(integer, fc.integer().map(BigInt)), (a, b) => {
      expect(resultOf(`${a} + ${b}`)).toBe(shown(a + b));
      expect(resultOf(`${a} - (${b})`)).toBe(shown(a - b));
      expect(resultOf(`${a} * (${b})`)).toBe(shown(a * b));
      expect(resultOf(`[${a} & (${b}), ${a} | (${b}), ${a} ^ (${b})]`)).toEqual([shown(a & b), shown(a | b), shown(a ^ b)]);
      expect(resultOf(`${a} < (${b})`)).toBe(a < b);
      if (b === 0n) return;
      expect(resultOf(`(${a}) // (${b}) * (${b}) + (${a}) % (${b})`)).toBe(shown(a));
      expect(resultOf(`(${a}) % (${b}) * (${b}) >= 0`)).toBe(true);
    }),
  );
});

test("slices are Python's: what start, end and step pick, one by one", () => {
  const bound = fc.option(fc.integer({ min: -8, max: 8 }), { nil: undefined });
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 6 }),
      bound,
      bound,
      fc.integer({ min: -3, max: 3 }).filter((step) => step !== 0),
      (length, start, end, step) => {
        const slice = `[${start ?? ""}:${end ?? ""}:${step}]`;
        const clamp = (index: number): number => Math.max(step > 0 ? 0 : -1, Math.min(step > 0 ? length : length - 1, index < 0 ? index + length : index));
        const expected: number[] = [];
        const to = end === undefined ? (step > 0 ? length : -1) : clamp(end);
        for (let at = start === undefined ? (step > 0 ? 0 : length - 1) : clamp(start); step > 0 ? at < to : at > to; at += step) expected.push(at);
        expect(resultOf(`range(${length})${slice}`)).toEqual(expected);
        expect(resultOf(`"012345"[:${length}]${slice}`)).toBe(expected.join(""));
      },
    ),
  );
});
