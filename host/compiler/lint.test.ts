import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatDiagnostics } from "./diagnostics.js";
import { type Program, readProgram } from "./sources.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), "envoyscript-lint-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function read(text: string): Program {
  writeFileSync(path.join(directory, "filter.ts"), text);
  return readProgram(["filter.ts"], directory);
}

const HEAD =
  'import { Filter, FetchRequest, Headers, NoConfig, Stream, filter, log } from "envoyscript-sdk";\n@filter("f")\nexport class F extends Filter<NoConfig> {\n  handle(stream: Stream): void {\n';
const inHandle = (code: string) => `${HEAD}${code}\n  }\n}\n`;
const LINE = HEAD.split("\n").length;

// What stands between » and « is what the message is about; "top" code stands outside of a class.
const CASES: [what: string, code: string, message: RegExp, where?: "top"][] = [
  ["a closure over a local", "    let n = 1;\n    [1, 2].forEach((x) => { »n« += x; });", /no closures.*\bn\b.*(argument|loop|field)/],
  ["a closure over a parameter", "    const f = (): string => »stream«.request.path;", /no closures.*\bstream\b/],
  ["a nested function declaration with a capture", "    const a = 1;\n    function inner(): i32 { return »a«; }", /no closures/],
  ["this in an arrow function", "    [1].forEach((x) => { log.info(»this«.name); });", /no closures.*\bthis\b/],
  ["async", "»async« function f(): void {}", /no async.*leave the word out/, "top"],
  ["await", '    const a = »await stream.fetch("a", "/")«;', /no await.*leave the word out/],
  ["a union type", "function f(x: »string | i32«): void {}", /no union types but T \| null/, "top"],
  ["a union of literals", 'let mode: »"a" | "b"« = "a";', /no literal types.*enum/, "top"],
  ["undefined in a union", "    let x: »string | undefined« = null;", /no union types but T \| null/],
  ["any", "    let x: »any« = 1;", /no any.*name the type/],
  ["unknown", "    let x: »unknown« = 1;", /no unknown/],
  ["try/catch", "    »try { stream.next(); } catch (e) {}«", /no try\/catch.*ok and error/],
  ["a regular expression", '    const m = »/a+/«.test("a");', /no regular expressions.*indexOf/],
  ["new RegExp", '    const m = new »RegExp«("a");', /RegExp does not exist.*indexOf/],
  ["spread in a call", "    const l = [1];\n    Math.max(»...l«);", /no spread/],
  ["spread in an array", "    const l = [1];\n    const m = [»...l«, 2];", /no spread.*concat/],
  ["rest parameters", "function f(»...rest: i32[]«): void {}", /no rest parameters.*array/, "top"],
  ["object destructuring", "    const »{ request }« = stream;", /no destructuring/],
  ["array destructuring", "    const »[a, b]« = [1, 2];", /no destructuring/],
  ["for…of", '    »for (const x of [1]) log.info("x");«', /no for…of.*for \(let i/],
  ["for…in", "    »for (const x in stream) log.info(x);«", /no for…in/],
  ["optional chaining", "    const a = »stream?.request«;", /no \?\..*!== null/],
  ["an optional call", "    »stream.next?.()«;", /no \?\./],
  ["??", '    const a = »stream.request.headers.get("a") ?? "b"«;', /no \?\?.*=== null \?/],
  ["??=", '    let a: string | null = null;\n    »a ??= "b"«;', /no \?\?/],
  ["an object literal", "    const o = »{ a: 1 }«;", /no plain objects.*class/],
  ["typeof", '    if (»typeof stream« == "object") return;', /instanceof/],
  ["a generator", "function »*« f(): i32 { return 1; }", /no generators.*array/, "top"],
  ["a tagged template", "    const a = »String.raw`x`«;", /no tagged templates/],
  ["#private", "class P { »#secret«: i32 = 1; }", /no #names: write private/, "top"],
  ["a tuple", "let t: »[i32, string]«;", /no tuples.*class/, "top"],
  ["an object type", "let t: »{ a: i32 }«;", /no object types.*class/, "top"],
  ["an intersection type", "type T = »A & B«;", /no intersection types/, "top"],
  ["delete", '    const m = new Map<string, i32>();\n    »delete m["a"]«;', /map\.delete/],
  ["in", '    if (»"a" in stream«) return;', /map\.has/],
  ["a bigint", "    const a = »10n«;", /no bigint.*i64/],
  ["overloads", "»function f(a: i32): void;«\nfunction f(a: i32): void {}", /no overloads/, "top"],
  ["console", '    »console«.log("a");', /console does not exist.*log\.info/],
  ["JSON", '    »JSON«.parse("{}");', /JSON does not exist.*Json\.parse/],
  ["fetch", '    »fetch«("http://a");', /fetch does not exist.*stream\.fetch/],
  ["Promise", "    »Promise«.resolve(1);", /Promise does not exist/],
  ["setTimeout", "    »setTimeout«(f, 1);", /setTimeout does not exist.*timers/],
  ["undefined", "    if (stream == »undefined«) return;", /undefined does not exist.*null/],
  ["Date", "    const t = »Date«.now();", /Date does not exist|Date's? /],
  ["process", "    const t = »process«.env;", /process does not exist/],
  ["raw memory", "    »load«<i32>(0);", /raw memory/],
  ["changetype", "    const a = »changetype«<usize>(stream);", /raw memory/],
  ["the memory object", "    »memory«.grow(1);", /raw memory/],
  ["raw memory through a type", "    i32.»load«(0xffffffff);", /raw memory/],
  ["raw memory through a string", "    String.UTF8.»decodeUnsafe«(0xffffffff, 10);", /raw memory/],
  ["the stack pointer", "    »__stack_pointer« = 0;", /raw memory/],
  ["a host function", "»declare function proxy_close_stream(direction: i32): i32;«", /cannot call the host/, "top"],
  ["the inside of the SDK", 'import { closeStream } from »"envoyscript-sdk/runtime/abi"«;', /import from "envoyscript-sdk"/, "top"],
  [
    "fields that need the constructor's work",
    "class B extends A {\n  twice: i32 = »this«.once * 2;\n  constructor() { super(); }\n}",
    /before super\(\).*constructor/,
    "top",
  ],
];

test.each(CASES)("%s: place, frame and what to write instead", (_, marked, message, where) => {
  const code = marked.replace(/[»«]/g, "");
  const source = where === "top" ? `${inHandle("")}${code}\n` : inHandle(code);
  const first = where === "top" ? inHandle("").split("\n").length : LINE;
  const before = marked.slice(0, marked.indexOf("»"));
  const line = first + before.split("\n").length - 1;
  const column = before.length - before.lastIndexOf("\n");
  const { diagnostics } = read(source);
  const found = diagnostics.filter((d) => message.test(d.message));
  expect(diagnostics.map((d) => `${d.line}:${d.column} ${d.message}`)).toContainEqual(expect.stringMatching(message));
  expect([found[0]!.severity, found[0]!.file, found[0]!.line, found[0]!.column]).toEqual(["error", "filter.ts", line, column]);
  // One sentence, not several.
  expect(found[0]!.message).not.toMatch(/\. [A-Z]/);
  const shown = formatDiagnostics([found[0]!], { cwd: directory }).split("\n");
  expect(shown[0]).toBe(`filter.ts:${line}:${column} error: ${found[0]!.message} [${found[0]!.code}]`);
  expect(shown[2]).toBe(`${line} | ${source.split("\n")[line - 1]}`);
  expect(shown[3]).toMatch(new RegExp(`^ +\\| {${column}}\\^+$`));
});

test("a realistic filter gives no message", () => {
  const { diagnostics, filters } = read(`
import { Body, DataStatus, Duration, FetchRequest, Filter, HeaderMap, HeadersStatus, Json, NoConfig, OnError, Request, Stream, StreamFilter, cluster, filter, log, oneOf, range, required } from "envoyscript-sdk";

enum Mode { Off, Fast = 2, Slow }
interface Named { name: string; }
abstract class Shape implements Named {
  static count: i32 = 0;
  private hidden: string = "";
  constructor(public name: string, protected size: i32 = 1) { Shape.count++; }
  abstract area(): f64;
  get label(): string { return \`\${this.name} of \${this.size}\`; }
  set label(value: string) { this.hidden = value; }
}
class Square extends Shape {
  area(): f64 { return <f64>(this.size * this.size); }
  toString(): string { return this.label; }
}
class Box<T> {
  constructor(private inner: T) {}
  get(): T { return this.inner; }
}
class Limits {
  @range(1, 100) burst: i32 = 10;
  window: Duration = new Duration(1000);
}
class Config {
  /** Where to ask. */
  @required @cluster auth: string = "";
  @oneOf(["a", "b"]) mode: string = "a";
  names: string[] = ["x"];
  weights: Map<string, f64> = new Map<string, f64>();
  limits: Limits = new Limits();
  note: string | null = null;
  deep: Limits | null = null;
}
function twice(x: i32): i32 { return x * 2; }
function largest<T>(list: T[]): T {
  let best = list[0];
  for (let i = 1; i < list.length; i++) if (list[i] > best) best = list[i];
  return best;
}
function optional(text: string, suffix: string = "!", times: i32 = 1): string { return text.repeat(times) + suffix; }
const table: StaticArray<i32> = [1, 2, 3];
namespace Inner { export const depth: i32 = 3; export function load(): i32 { return depth; } }
type Id = u64;

@filter("realistic", OnError.Open)
export class Realistic extends Filter<Config> {
  private seen: Map<string, i32> = new Map<string, i32>();
  prefix: string = this.config.mode + "-";

  handle(stream: Stream): void {
    const request = stream.request;
    const list = [3, 1, 2];
    list.sort((a, b) => a - b);
    const more = list.map<i32>((x) => x + 1).filter((x) => x > 2);
    list.forEach((x) => { log.debug("item " + x.toString()); });
    const total = more.reduce<i32>((sum, x) => { const next = sum + twice(x); return next; }, 0);
    const shape: Shape = new Square("square", 4);
    shape.label = \`a\${total}b\${shape.area()}\`;
    const user = request.headers.get("x-user");
    const name = user !== null ? user : "nobody";
    let id: Id = 0;
    do { id++; } while (id < 3);
    outer: for (let i = 0, n = table.length; i < n; i++) {
      for (let j = 0; ; j++) { if (j > i) continue outer; if (j == 10) break outer; }
    }
    switch (Mode.Fast) {
      case Mode.Off: return;
      case Mode.Fast: { const mode = 1; log.info(mode.toString()); break; }
      default: break;
    }
    if (shape instanceof Square && (shape as Square).area() >= 0.5) this.seen.set(name, (this.seen.has(name) ? this.seen.get(name) : 0) + 1);
    const box = new Box<string>(optional(name));
    const call = new FetchRequest(this.config.auth, "/check");
    call.headers.set("x-name", box.get());
    const answer = stream.send(call);
    if (!answer.ok) return stream.reply(answer.status == 0 ? 503 : 403, answer.error);
    const json: Json = answer.json();
    const load = Inner.load();
    const keys = this.seen.keys();
    for (let i = 0; i < keys.length; i++) log.trace(keys[i] + load.toString() + largest<i32>(list).toString());
    if (json.get("admin").bool) request.headers.set("x-admin", "1"); else request.headers.delete("x-admin");
    const mask: u32 = (<u32>id << 3) | 0xff & ~1;
    const text = this.config.note;
    if (text) request.headers.set("x-note", text + mask.toString(16));
    stream.next();
    stream.response.status = stream.response.status == 200 ? 202 : 500;
  }
  onLog(stream: Stream): void { log.info(stream.request.path); }
}

@filter("realistic-low")
export class Low extends StreamFilter<NoConfig> {
  size: i32 = 0;
  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus { return endOfStream ? HeadersStatus.Continue : HeadersStatus.StopIteration; }
  onRequestBody(body: Body<Request>, endOfStream: bool): DataStatus { this.size += body.size; return endOfStream ? DataStatus.Continue : DataStatus.StopIterationAndBuffer; }
}
`);
  expect(diagnostics.map((d) => `${d.line}:${d.column} ${d.message}`)).toEqual([]);
  expect(filters.map((f) => [f.name, f.style, f.onError])).toEqual([
    ["realistic", "linear", "open"],
    ["realistic-low", "low-level", "closed"],
  ]);
});

test("no example gives a message", () => {
  const examples = path.resolve(import.meta.dirname, "../../guest/examples");
  const files = readdirSync(examples).filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"));
  expect(files.length).toBeGreaterThan(0);
  for (const name of files) expect(readProgram([path.join(examples, name)], examples).diagnostics).toEqual([]);
});

test("a name of the author's own is not taken for a global one", () => {
  const { diagnostics } = read(
    `${inHandle("    const fetch = 1; const console = fetch; log.info(console.toString()); const o = new Store(); o.load(); o.store = 2;")}class Store { store: i32 = 1; load(): void {} }\nfunction process(undefined: i32): i32 { return undefined; }\n`,
  );
  expect(diagnostics).toEqual([]);
});

test("messages of an imported file name that file", () => {
  mkdirSync(path.join(directory, "lib"), { recursive: true });
  writeFileSync(path.join(directory, "lib", "helper.ts"), "export function help(): i32 {\n  const x: any = 1;\n  return x;\n}\n");
  const { diagnostics } = read(`import { help } from "./lib/helper";\n${inHandle("    help();")}`);
  expect(diagnostics.map((d) => [d.file, d.line, d.column, d.code])).toEqual([["lib/helper.ts", 2, 12, "ES104"]]);
});

test("a syntax error is told with its place", () => {
  const { diagnostics } = read(inHandle("    const a = ;"));
  expect(diagnostics.map((d) => [d.file, d.line, d.column])).toContainEqual(["filter.ts", LINE, 15]);
});
