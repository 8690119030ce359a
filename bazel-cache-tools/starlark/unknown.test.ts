// Values that could not be computed: they spread, they are never guessed, and what they decide is told.
import { describe, expect, test } from "vitest";
import { listOf, stringOf, Unknown } from "./index.js";
import { evaluated } from "./testing.js";

const SPREADS = [
  "UNSEEN + 1",
  "1 + UNSEEN",
  "-UNSEEN",
  "not UNSEEN",
  "UNSEEN and 1",
  "0 or UNSEEN",
  "UNSEEN == 1",
  "1 in UNSEEN",
  "1 in [UNSEEN]",
  "UNSEEN.a.b",
  "UNSEEN[0]",
  "UNSEEN[1:]",
  "[1, 2][UNSEEN:]",
  "{'a': 1}[UNSEEN]",
  "{'a': 1}.get(UNSEEN)",
  "{UNSEEN: 1}",
  "'%s' % UNSEEN",
  "'%s-%s' % (1, UNSEEN)",
  "'{}'.format(UNSEEN)",
  "'{}'.format([UNSEEN])",
  "'-'.join(['a', UNSEEN])",
  "'a'.replace('a', UNSEEN)",
  "len(UNSEEN)",
  "str([UNSEEN])",
  "sorted([2, UNSEEN])",
  "dict(UNSEEN)",
  "any([UNSEEN])",
  "[1] + UNSEEN",
  "(lambda x: x + 1)(UNSEEN)",
  "b'bytes' + UNSEEN",
];

test.each(SPREADS)("%s is unknown, for the reason it came with", (expression) => {
  const { globals, problems } = evaluated(`x = ${expression}`);
  expect(problems).toEqual([]);
  const value = globals.get("x");
  expect(value).toBeInstanceOf(Unknown);
  if (!expression.startsWith("b'")) expect(value).toMatchObject({ reason: "offline", at: { file: "elsewhere.bzl", line: 7 } });
});

test("a list, dict, struct or call keeps an unknown element, and the rest stays known", () => {
  const { globals, calls, problems } = evaluated(`
l = [1, UNSEEN]
d = dict(a = UNSEEN, b = 2)
l.append(UNSEEN)
b = [d["b"], struct(u = UNSEEN, v = 3).v, l[0], len(l), "{0}".format("x", UNSEEN), d.get("c", 4), 1 in [1, UNSEEN]]
declare("x", sha256 = UNSEEN)
p, q = UNSEEN
`);
  expect(problems).toEqual([]);
  expect(listOf(globals.get("b")!)).toEqual([2, 3, 1, 3, "x", 4, true]);
  expect(stringOf(globals.get("l")!)).toBe("[1, <unknown: offline>, <unknown: offline>]");
  expect(calls[0]?.named.get("sha256")).toBeInstanceOf(Unknown);
  expect(globals.get("q")).toBeInstanceOf(Unknown);
});

describe("what depends on something unknown and may declare downloads is told", () => {
  const told: [string, string][] = [
    ["if UNSEEN: declare()", "cannot tell which branch is taken: offline"],
    ["x = 1 if UNSEEN else 2", "cannot tell which branch is taken: offline"],
    ["for u in UNSEEN: declare(u)", "cannot tell what the loop runs over: offline"],
    ["x = [declare(u) for u in UNSEEN]", "cannot tell what the loop runs over: offline"],
    ["x = [u for u in [1] if UNSEEN]", "cannot tell which branch is taken: offline"],
    ["declare(**UNSEEN)", "cannot tell which arguments ** gives: offline"],
    ["declare(*UNSEEN)", "cannot tell which arguments * gives: offline"],
    ["UNSEEN()", "UNSEEN() cannot be evaluated: offline"],
    ["UNSEEN.rule(name = 'x')", "UNSEEN.rule() cannot be evaluated: offline"],
    ["UNSEEN['x'] = 1", "cannot tell what is assigned to: offline"],
    ["D = {}; D.update(UNSEEN)", "cannot tell what update() changes: offline"],
    ["D = []; D.extend(UNSEEN)", "cannot tell what extend() changes: offline"],
    ["D = {}; D[UNSEEN] = 1", "cannot tell what this does: offline"],
  ];
  test.each(told)("%s", (source, message) => {
    const { problems, calls, globals } = evaluated(`${source}\nafter = 1`);
    expect(problems).toEqual([`1: ${message}`]);
    expect(calls).toEqual([]);
    expect(globals.get("after")).toBe(1);
    if (globals.has("x")) expect(globals.get("x")).toMatchObject({ reason: "offline" });
  });

  test("the arguments of an unknown function are evaluated: they may declare downloads too", () => {
    const { calls, problems } = evaluated("UNSEEN(declare('x'))");
    expect([calls.length, problems.length]).toEqual([1, 1]);
  });

  test("a reason does not grow on its way through failing statements", () => {
    const { globals } = evaluated(`x = UNSEEN\n${"if x: x = 1\n".repeat(50)}`);
    expect(globals.get("x")).toMatchObject({ reason: "offline" });
  });
});
