// Files made to do harm: each ends with an error, in bounded time and memory. The timeout of the tests is the bound.
import { expect, test } from "vitest";
import { List, StarlarkError, stringOf, toJson } from "./index.js";
import { evaluated } from "./testing.js";

const body = (lines: string): string => `def f():\n${lines.replace(/^/gm, "  ")}\nf()\nok = 1`;

// The file goes on behind these: `ok` is bound.
const REFUSED: [string, string, RegExp][] = [
  ["open brackets", `x = ${"(".repeat(100_000)}\nok = 1`, /nested more than 200 deep/],
  ["brackets", `x = ${"[".repeat(100_000)}${"]".repeat(100_000)}\nok = 1`, /nested more than 200 deep/],
  ["not", `x = ${"not ".repeat(100_000)}1\nok = 1`, /nested more than 200 deep/],
  ["conditionals", `x = ${"1 if 1 else ".repeat(100_000)}1\nok = 1`, /nested more than 200 deep/],
  ["lambdas", `x = ${"lambda: ".repeat(100_000)}1\nok = 1`, /nested more than 200 deep/],
  ["calls of calls", `x = f${"()".repeat(100_000)}\nok = 1`, /more than 200 calls or indices in a row/],
  [
    "blocks",
    `${Array.from({ length: 1000 }, (_, depth) => `${" ".repeat(depth)}if 1:\n`).join("")}${" ".repeat(1000)}pass\nok = 1`,
    /nested more than 200 deep/,
  ],
  ["loops in a comprehension", `x = [1 ${"for a in [1] ".repeat(50_000)}]\nok = 1`, /nested too deeply/],
  ["endless recursion", "def f(n): return f(n + 1)\nx = f(0)\nok = 1", /calls nested more than 200 deep/],
  ["endless recursion within brackets", `def f(): return ${"[".repeat(150)}f()${"]".repeat(150)}\nx = f()\nok = 1`, /deep/],
  ["recursion through a host's callback", "def f(n): return sorted([1, 2], key = f)\nx = f(1)\nok = 1", /calls nested more than 200 deep/],
  ["a long string", 'x = "a" * 1000000000\nok = 1', /a string of more than 16777216 characters/],
  ["a string doubled", body('y = "ab"\nfor i in range(100): y += y'), /a string of more than/],
  ["a replacement that grows", 'x = ("a" * 4000000).replace("", "bbbbbbbb")\nok = 1', /more than/],
  ["a join that grows", 'x = ("a" * 1000000).join(["b"] * 1000000)\nok = 1', /a string of more than/],
  ["a format that grows", 'x = ("{0}" * 1000).format("a" * 1000000)\nok = 1', /a string of more than/],
  ["a % that grows", 'x = ("%s" * 100) % tuple(["a" * 1000000] * 100)\nok = 1', /a string of more than/],
  ["a long list", "x = [1] * 1000000000\nok = 1", /more than 1048576 elements/],
  ["a long range", "x = range(1000000000000)\nok = 1", /more than 1048576 elements/],
  ["a list doubled", body("y = [1]\nfor i in range(100): y = y + y"), /more than 1048576 elements/],
  ["a list cut up", 'x = ("a " * 8000000).split(" ")\nok = 1', /more than 1048576 elements/],
  ["an integer squared", body("y = 3\nfor i in range(1000): y = y * y"), /an integer of more than 4096 bits/],
  ["a wide shift", "x = 1 << 1000000000\nok = 1", /shift count too large/],
  ["many digits", `x = ${"9".repeat(1_000_000)}\nok = 1`, /too many digits/],
  ["a list in a list in a list", body("y = []\nfor i in range(100000): y = [y]\nstr(y)"), /nested more than 200 deep/],
];

test.each(REFUSED)("%s: refused, and evaluation goes on", (_, source, message) => {
  const { problems, globals } = evaluated(source);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(message);
  expect(globals.get("ok")).toBe(1);
});

// Work without end: nothing more is evaluated.
const SPENT: [string, string][] = [
  ["loops in loops", body("for i in range(10000):\n  for j in range(10000): pass")],
  ["a comprehension of loops", "x = [1 for a in range(1000) for b in range(1000) for c in range(1000)]"],
  ["equality of lists that share their elements", "def f():\n  y = [1]\n  for i in range(100): y = [y, y]\n  return y\nx = f() == f()"],
  ["the text of lists that share their elements", "def f():\n  y = [1]\n  for i in range(100): y = [y, y]\n  return y\nx = str(f())"],
  ["keys of tuples that share their elements", "def f():\n  y = (1,)\n  for i in range(100): y = (y, y)\n  return {y: 1}\nx = f()"],
  ["a search that compares each with each", 'x = ("a" * 16000000).find("b" + "a" * 8000000)'],
  ["taking from the front of a long list", body("l = list(range(1000000))\nfor i in range(1000000): l.pop(0)")],
  ["statements that fail", "$\n".repeat(1_000_000)],
  ["strings that do not close", "'\n".repeat(1_000_000)],
  ["brackets that do not close, line by line", "x(\n".repeat(5_000_000)],
  ["one list of everything", `x = [${"1,".repeat(8_000_000)}]`],
];

test.each(SPENT)("%s: leaves run() as an error", (_, source) => {
  expect(() => evaluated(source)).toThrow(new StarlarkError("evaluation takes more than 20000000 steps", { file: "", line: 1, column: 1 }).message);
});

test("a file that is too long is not read", () => {
  expect(() => evaluated("x = 1\n".repeat(17 * 1024 * 1024))).toThrow("a file of more than 16777216 characters");
  expect(() => evaluated("x = 1", { budget: { source: 4 } })).toThrow(StarlarkError);
});

test("bounds are the caller's to set", () => {
  expect(evaluated("x = [[1]]", { budget: { depth: 2 } }).problems).toEqual(["1: nested more than 2 deep"]);
  expect(evaluated("x = 'a' * 11", { budget: { characters: 10 } }).problems).toEqual(["1: a string of more than 10 characters"]);
  expect(evaluated("x = range(11)", { budget: { elements: 10 } }).problems).toEqual(["1: more than 10 elements"]);
  expect(() => evaluated("x = range(1000)", { budget: { steps: 500 } })).toThrow("evaluation takes more than 500 steps");
});

test("what is long but nests nothing is read: sums, texts, elifs, tables", () => {
  const { problems, json } = evaluated(`
a = ${"1 + ".repeat(10_000)}1
b = len(${'"a" + '.repeat(10_000)}"a")
if 0: c = 0
${"elif 0: c = 0\n".repeat(10_000)}else: c = 1
d = len({${Array.from({ length: 10_000 }, (_, key) => `"k${key}": ${key}`).join(",")}})
e = 1 ${"and 1 ".repeat(10_000)}
`);
  expect(problems).toEqual([]);
  expect([json("a"), json("b"), json("c"), json("d"), json("e")]).toEqual([10_001, 10_001, 1, 10_000, 1]);
});

test("lists and dicts that hold themselves are written, and end", () => {
  const { globals, json } = evaluated("x = []\nx.append(x)\nd = {}\nd['d'] = d\ns = [str(x), str(d)]");
  expect(json("s")).toEqual(["[[...]]", '{"d": {...}}']);
  expect(stringOf(globals.get("x")!)).toBe("[[...]]");
  expect(() => toJson(globals.get("x")!)).toThrow("nested more than 200 deep");
});

test("a host that writes a value after the run is bounded as well", () => {
  let shared = new List([1]);
  for (let depth = 0; depth < 100; depth++) shared = new List([shared, shared]);
  expect(() => stringOf(shared)).toThrow("evaluation takes more than");
});
