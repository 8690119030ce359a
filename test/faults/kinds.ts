// Every way in which an author's code can fail, as AssemblyScript text: one function per kind, chosen by number.

export interface FaultKind {
  name: string;
  /** Body of a function `(n: i32): i32` where n is 0 and the compiler does not know it. The line that fails ends in `//!`. */
  code: string;
  /** What the log says. */
  message: RegExp;
  /** Costs the whole budget or the whole memory. */
  heavy?: true;
}

const division = (type: string, operator: string): FaultKind => ({
  name: `${type} ${operator} 0`,
  code: `let zero = <${type}>n; let seven = <${type}>(n + 7);\n  return <i32>(seven ${operator} zero); //!`,
  message: /integer division by zero/,
});

export const KINDS: FaultKind[] = [
  { name: "throw", code: 'throw new Error("boom " + n.toString()); //!', message: /boom 0/ },
  { name: "index out of range", code: "const list = [1, 2];\n  return list[n + 5]; //!", message: /Index out of range/ },
  { name: "index out of a typed array", code: "const bytes = new Uint8Array(4);\n  return bytes[n - 1]; //!", message: /Index out of range/ },
  { name: "hole in a static array", code: "const animals = new StaticArray<Animal>(2);\n  return animals[n].legs; //!", message: /.+/ },
  { name: "missing map key", code: 'const map = new Map<string, i32>();\n  return map.get("k" + n.toString()); //!', message: /Key does not exist/ },
  { name: "null assertion", code: "const text = maybe(n);\n  return text!.length; //!", message: /null/ },
  { name: "bad cast", code: "const animal = anyAnimal(n);\n  return (<Cat>animal).lives; //!", message: /.+/ },
  { name: "unreachable", code: "if (n == 0) unreachable();\n  return 1;", message: /unreachable/ },
  { name: "invalid length", code: "return new Uint8Array(n - 1).length; //!", message: /Invalid length/ },
  {
    name: "out of memory, piece by piece",
    code: "const hoard: Uint8Array[] = [];\n  for (let i = 0; i >= 0; i++) hoard.push(new Uint8Array(32 * 1024)); //!\n  return hoard.length;",
    message: /out of memory/,
    heavy: true,
  },
  { name: "out of memory, in one go", code: "return new Uint8Array(n + 900_000_000).length; //!", message: /out of memory/ },
  { name: "recursion with managed locals", code: "return managedRecursion(new Animal(), n).legs;", message: /recursion is too deep|stack/ },
  { name: "recursion without managed locals", code: "return plainRecursion(n + 1) + 1;", message: /recursion is too deep/ },
  { name: "recursion through two functions", code: "return ping(n) + 1;", message: /recursion is too deep/ },
  { name: "recursion through a callback", code: "return viaCallback(n + 1);", message: /recursion is too deep|stack/ },
  { name: "recursion through a function in a variable", code: "again = selfCall;\n  return selfCall(n);", message: /recursion is too deep|stack/ },
  {
    name: "recursion through an overridden method",
    code: "const shape: Shape = n == 0 ? new Odd() : new Shape();\n  return shape.measure(n);",
    message: /recursion is too deep|stack/,
  },
  { name: "recursion with large frames", code: "return largeFrames(n, 1.5, 2.5, 3, 4) + 1;", message: /recursion is too deep|stack/ },
  ...["i32", "u32", "i64", "u64", "i8", "u8", "i16", "u16"].map((type) => division(type, "/")),
  ...["i32", "u32", "i64", "u64"].map((type) => division(type, "%")),
  { name: "i32.MIN / -1", code: "const least = i32.MIN_VALUE + n; const by = n - 1;\n  return least / by; //!", message: /division overflows/ },
  { name: "i64.MIN / -1", code: "const least = i64.MIN_VALUE + n; const by = <i64>n - 1;\n  return <i32>(least / by); //!", message: /division overflows/ },
  { name: "division and assignment", code: "let seven = n + 7;\n  seven /= n; //!\n  return seven;", message: /integer division by zero/ },
  { name: "while (true)", code: "while (true) { n++; } //!\n  return n;", message: /endless loop/, heavy: true },
  { name: "an empty endless loop", code: "for (;;) {} //!\n  return n;", message: /endless loop/, heavy: true },
  { name: "an endless loop of calls", code: "while (yes(n)) {}\n  return n;", message: /endless loop/, heavy: true },
  { name: "exponential recursion", code: "return fibonacci(n + 80);", message: /endless loop/, heavy: true },
  {
    name: "an endless loop in a callback",
    code: "const list = [3, 2, 1];\n  list.forEach((x) => { while (x != 0) yes(x); });\n  return n;",
    message: /endless loop/,
    heavy: true,
  },
];

const SUPPORT = `
class Animal { legs: i32 = 4; }
class Cat extends Animal { lives: i32 = 9; }
function maybe(n: i32): string | null { return n > 0 ? "text" : null; }
function anyAnimal(n: i32): Animal { return n == 0 ? new Animal() : new Cat(); }
function managedRecursion(animal: Animal, n: i32): Animal {
  const other = new Animal();
  const deeper = managedRecursion(other, n + 1);
  deeper.legs += animal.legs + other.legs;
  return deeper;
}
function plainRecursion(n: i64): i32 { return n < 0 ? 0 : plainRecursion(n + 1) + 1; }
function ping(n: i32): i32 { return pong(n + 1) + 1; }
function pong(n: i32): i32 { return n < 0 ? 0 : ping(n + 1) + 1; }
function viaCallback(n: i32): i32 { return [n].map<i32>((x) => viaCallback(x) + 1)[0]; }
let again: (n: i32) => i32 = yesNumber;
function yesNumber(n: i32): i32 { return n; }
function selfCall(n: i32): i32 { return again(n + 1) + 1; }
class Shape { measure(n: i32): i32 { return n; } }
class Odd extends Shape { measure(n: i32): i32 { const inner: Shape = n < 0 ? new Shape() : new Odd(); return inner.measure(n + 1) + 1; } }
function largeFrames(n: i32, a: f64, b: f64, c: i64, d: i64): i32 {
  const e = a * b, f = a + b, g = a - b, h = e * f, i = c * d, j = c ^ d, k = c + d, l = i * j, m = f * g, o = h / (m + 1), p = k ^ l, q = i + k;
  if (n < 0) return 0;
  const deeper = largeFrames(n + 1, e, f, i, j);
  return <i32>(<i64>(e + f + g + h + m + o) + i + j + k + l + p + q) + deeper;
}
function yes(n: i32): bool { return n < 1_000_000_000; }
function fibonacci(n: i32): i32 { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
`;

/** \`fail(kind)\` and what it needs; append it to a filter's text. */
export const FAULTS = `${SUPPORT}${KINDS.map((kind, i) => `function fail${i}(n: i32): i32 {\n  ${kind.code}${kind.code.includes("//!") ? ` ${i}!` : ""}\n}`).join("\n")}
let sink: i32 = 0;
let nought: i32 = 0;
/** Fails in the way of that number; a negative one does nothing. */
function fail(kind: i32): void {
  switch (kind) {
${KINDS.map((_, i) => `    case ${i}: sink += fail${i}(nought); return;`).join("\n")}
  }
}
`;

/** 1-based line on which a kind fails in a filter's text, or undefined where it is not one line. */
export function lineOf(source: string, kind: number): number | undefined {
  const lines = source.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`function fail${kind}(`));
  const end = lines.findIndex((line, i) => i > start && line === "}");
  const at = lines.findIndex((line, i) => i > start && i < end && line.includes("//!"));
  return at < 0 ? undefined : at + 1;
}
