// Whole files: statements, loads, errors and what goes on behind them.
import { describe, expect, test } from "vitest";
import { Builtin, type Site, StarlarkError, Unknown, type Value } from "./index.js";
import { evaluated } from "./testing.js";

test("Envoy's table of locations, filled by a function, gives its entries", () => {
  const { json, problems } = evaluated(`
# comment with "quotes" and https://example.com/%3F
PROTOC_VERSIONS = dict(linux_x86_64 = "aa", osx_universal = "bb")  # trailing
SPEC = dict(
    v8 = dict(
        # NOTE: (unbalanced
        version = "14.6",
        urls = ["https://a/{version}.tar.gz#md5=x",],
    ),

)
def _add(locations, versions):
    """Docs with (brackets"""
    for platform, sha in versions.items():
        locations["protoc_%s" % platform] = dict(version = "35", sha256 = sha, urls = [
            "https://p/{version}-%s.zip" % platform.replace("_", "-", 1),
        ])
_add(SPEC, PROTOC_VERSIONS)
`);
  expect(problems).toEqual([]);
  expect(json("SPEC")).toEqual({
    v8: { version: "14.6", urls: ["https://a/{version}.tar.gz#md5=x"] },
    protoc_linux_x86_64: { version: "35", sha256: "aa", urls: ["https://p/{version}-linux-x86_64.zip"] },
    protoc_osx_universal: { version: "35", sha256: "bb", urls: ["https://p/{version}-osx-universal.zip"] },
  });
});

test("line ends, tabs, a byte order mark, semicolons, backslashes and one-line suites are read", () => {
  const source =
    "\ufeffa = 1; b = 2;\r\nc = a + \\\r\n  b\r\ndef f(x):\r\n\tif x: return 'yes'\r\n\telse: pass\r\n\r\n\treturn 'no'\r\nd = [f(1), f(0)]\r\ne = '''x\r\ny'''";
  const { json, problems } = evaluated(source);
  expect(problems).toEqual([]);
  expect([json("a"), json("b"), json("c"), json("d"), json("e")]).toEqual([1, 2, 3, ["yes", "no"], "x\ny"]);
});

test("loops, branches and functions control what runs", () => {
  const { json, problems } = evaluated(`
def f(a, b = 2, *rest, c, d = 4, **named):
    return [a, b, rest, c, d, named]
def only(*, key): return key
def search(items):
    found = []
    for n, (x, y) in enumerate(items):
        if x == 0:
            continue
        elif x > 3:
            break
        for z in range(x):
            if z == y: return found + ["returned"]
            found.append((n, x, z))
    return found
def counter():
    count = [0]
    def up():
        count[0] += 1
        return count[0]
    return up
up = counter()
r = [f(1, c = 3), f(1, 5, 6, 7, c = 8, e = 9), f(*[1], **{"c": 2}), only(key = 1)]
s = [search([(0, 0), (2, 9), (4, 0), (1, 1)]), search([(2, 1)]), search([])]
t = [up(), up()]
`);
  expect(problems).toEqual([]);
  expect(json("r")).toEqual([[1, 2, [], 3, 4, {}], [1, 5, [6, 7], 8, 4, { e: 9 }], [1, 2, [], 2, 4, {}], 1]);
  expect(json("s")).toEqual([
    [
      [1, 2, 0],
      [1, 2, 1],
    ],
    [[0, 2, 0], "returned"],
    [],
  ]);
  expect(json("t")).toEqual([1, 2]);
});

test("assignments reach elements, slices and several names; += changes a list in place", () => {
  const { json, problems } = evaluated(`
a, (b, [c]) = 1, (2, [3])
l = [1, 2, 3, 4]
same = l
l += [5]
l[0] = 9
l[1:3] = ["x"]
l[-1] *= 2
d = {"k": [1]}
d["k"] += [2]
d |= {"m": 1}
n = 7
n -= 2; n //= 2
methods = [1, 2]
methods.append(3); methods.extend([4]); methods.insert(0, 0); methods.remove(2)
popped = [methods.pop(), methods.pop(0), d.pop("m"), d.pop("z", None), d.setdefault("s", 5)]
d.update([("u", 1)], v = 2)
`);
  expect(problems).toEqual([]);
  expect([json("a"), json("b"), json("c"), json("n")]).toEqual([1, 2, 3, 2]);
  expect(json("same")).toEqual([9, "x", 4, 10]);
  expect(json("d")).toEqual({ k: [1, 2], s: 5, u: 1, v: 2 });
  expect([json("methods"), json("popped")]).toEqual([
    [1, 3],
    [4, 0, 1, null, 5],
  ]);
});

describe("calls of the host's functions", () => {
  test("know where they are and by which calls they came about", () => {
    const { calls } = evaluated("def inner(n):\n    declare(name = n)\ndef outer():\n    inner('x')\n\nouter()\ndeclare('y', 1)\n");
    expect(calls.map(({ at, stack }) => [at.line, stack.map((site) => site.line)])).toEqual([
      [2, [6, 4, 2]],
      [7, [7]],
    ]);
    expect([calls[0]?.named.get("name"), calls[1]?.positional]).toEqual(["x", ["y", 1]]);
    expect(calls[0]?.at).toEqual({ file: "test.bzl", line: 2, column: 5 });
  });

  test("may call on what they are given, with the stack kept", () => {
    const maybe = new Builtin("maybe", ({ positional: [rule, ...positional], ...call }) => (rule as Builtin).invoke({ ...call, positional }));
    const lines: number[][] = [];
    const declare = new Builtin("declare", ({ stack }) => {
      lines.push(stack.map((site) => site.line));
      return null;
    });
    const predeclared = new Map<string, Value>([
      ["maybe", maybe],
      ["declare", declare],
    ]);
    evaluated("def macro(name):\n    declare(name)\nmaybe(macro, name = 'x')\nmaybe(declare, 'y')", { predeclared });
    expect(lines).toEqual([[3, 2], [4]]);
  });

  test("say with StarlarkError what is wrong with a call, and where", () => {
    const picky = new Builtin("picky", ({ at }) => {
      throw new StarlarkError("no sha256", at);
    });
    const { problems, globals } = evaluated("def f():\n  picky()\nx = f()\ny = 1", { predeclared: new Map([["picky", picky]]) });
    expect(problems).toEqual(["2: no sha256"]);
    expect(globals.get("y")).toBe(1);
  });
});

describe("load", () => {
  const at: Site = { file: "test.bzl", line: 1, column: 1 };
  const load = (label: string): ReadonlyMap<string, Value> | Unknown =>
    label === "//:here.bzl" ? new Map([["V", "1.2"]]) : new Unknown(`${label} is not here`, at);

  test("binds names under their own or another name, and does not pass them on", () => {
    const { globals, problems } = evaluated('load("//:here.bzl", "V", W = "V")\nx = V + W', { load });
    expect(problems).toEqual([]);
    expect([...globals]).toEqual([["x", "1.21.2"]]);
  });

  test("of a file without the name is a problem, and the name unknown", () => {
    const { globals, problems } = evaluated('load("//:here.bzl", "nope")\nx = nope', { load });
    expect(problems).toEqual(["1: //:here.bzl has no 'nope'"]);
    expect(globals.get("x")).toBeInstanceOf(Unknown);
  });

  test("of a file that is not to be had is told where the file's functions are called, once for each place", () => {
    const source = 'load("@x//:y.bzl", "deps", "more")\ndeps()\nfor i in range(3):\n  more.a(i)\n';
    expect(evaluated(source, { load }).problems).toEqual([
      "2: deps() cannot be evaluated: @x//:y.bzl is not here",
      "4: more.a() cannot be evaluated: @x//:y.bzl is not here",
    ]);
  });
});

describe("behind an error evaluation goes on", () => {
  test("with the next statement; the names that the failed one binds are unknown for its reason", () => {
    const { globals, problems, json } = evaluated("a, b = nope, 1\nfor i in [1]:\n  c = i\n  d = c + 'x'\nb2 = b\ne = 5");
    expect(problems).toEqual(["1: name 'nope' is not defined", "4: unsupported operands for +: 'int' and 'string'"]);
    expect([json("e")]).toEqual([5]);
    expect(globals.get("d")).toMatchObject({ reason: "unsupported operands for +: 'int' and 'string'", at: { line: 4, column: 9 } });
  });

  const broken: [string, string, string[]][] = [
    ["a wrong token", "x = = 1\ny = 2\nz = 3", ["1: unexpected '='"]],
    ["an end of line within an expression", "x = 1 +\ny = 2\nz = 3", ["1: unexpected end of line"]],
    ["an open bracket", "x = [1,\n  2\ny = 2\nz = 3", ["3: 'y' where ']' is expected"]],
    ["an open bracket, noticed only in what follows,", "x = dict(\n  a = 1,\n\ny = 2\n\nz = 3\n\nw = dict(\n  a = 1,\n)", ["6: 'z' where ')' is expected"]],
    ["an open string", 'x = "abc\ny = 2\nz = 3', ["1: unclosed string literal"]],
    ["a string open to the end", 'x = """abc\ny = 2\nz = 3', ["1: unclosed string literal"]],
    ["a bracket too much", "x = (1))\ny = 2\nz = 3", ["1: unexpected ')'"]],
    ["a character of no language", "x = $a\ny = 2\nz = 3", ['1: unexpected character "$"']],
    ["a body that is not indented", "def x():\ny = 2\nz = 3", ["2: an indented block is expected"]],
    ["a body of uneven indentation", "def x():\n    a = 1\n  b = 1\n  c = 1\ny = 2\nz = 3", ["3: the indentation matches that of no line above"]],
    ["an indented line", "  x = 1\n  w = 2\ny = 2\nz = 3", ["1: unexpected indent"]],
    ["an error within a function", "def x():\n    if 1:\n        return )\n    return 2\n\n# c\ny = 2\nz = 3", ["3: unexpected ')'"]],
    ["text at the left margin within the broken statement", "x = f(1 2, '''\ny = 9\n''',\n)\ny = 2\nz = 3", ["1: '2' where ')' is expected"]],
    ["while, which Starlark does not have", "while True:\n    x = 1\nelse:\n    w = 2\ny = 2\nz = 3", ["1: unexpected 'True'"]],
    ["return outside of a function", "return 1\ny = 2\nz = 3", ["1: 'return' outside of a function"]],
    ["break outside of a loop", "def x():\n  break\ny = 2\nz = 3", ["2: 'break' outside of a loop"]],
    ["an assignment to a call", "f() = 1\ny = 2\nz = 3", ["1: cannot assign to this expression"]],
  ];
  test.each(broken)("%s costs its statement alone", (_, source, expected) => {
    const { problems, globals } = evaluated(source);
    expect(problems).toEqual(expected);
    expect([globals.get("y"), globals.get("z")]).toEqual([2, 3]);
    if (/^(x =|def x)/.test(source)) expect(globals.get("x")).toBeInstanceOf(Unknown);
  });
});
