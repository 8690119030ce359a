import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Diagnostic } from "./index.js";
import { BuildError, build, formatDiagnostics, readManifest } from "./index.js";
import { readProgram } from "./sources.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), "envoyscript-build-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function diagnosticsOf(text: string, files: Record<string, string> = {}): Diagnostic[] {
  for (const [name, content] of Object.entries({ ...files, "filter.ts": text })) writeFileSync(path.join(directory, name), content);
  try {
    build(["filter.ts"], { cwd: directory });
  } catch (error) {
    if (error instanceof BuildError) return error.diagnostics;
    throw error;
  }
  throw new Error("it built");
}

const SDK = 'import { Filter, NoConfig, Stream, StreamFilter, cluster, filter, oneOf, range, required, Duration, OnError } from "envoyscript-sdk";\n';
const withHandle = (code: string) => `${SDK}@filter("f")\nexport class F extends Filter<NoConfig> {\n  handle(stream: Stream): void {\n${code}\n  }\n}\n`;

function writeFilter(code: string): string {
  const file = path.join(directory, "late.ts");
  writeFileSync(file, withHandle(code).replace(/\n}\n$/, "\n  private later(stream: Stream): void { stream.response.status; }\n}\n"));
  return file;
}

describe("the compiler's own errors name the author's file, line and column, with a frame", () => {
  test.each([
    ["a wrong type", "    const n: i32 = stream.request.path;", 5, 20, /Type .*String.* is not assignable to type .*i32/],
    ["an unknown name", "    const n = 1;\n    missing(n);", 6, 5, /Cannot find name 'missing'/],
    ["an unknown member", '    stream.request.frobnicate("a");', 5, 20, /Property 'frobnicate' does not exist/],
    ["too few arguments", "    stream.reply();", 5, 5, /Expected at least 1 arguments, but got 0/],
    ["a possibly null value", '    const n = stream.request.headers.get("a").length;', 5, 15, /null/],
    ["an implicit narrowing", "    const n: i32 = <i64>1;", 5, 20, /Conversion from type 'i64' to 'i32'/],
  ])("%s", (_, code, line, column, message) => {
    const source = withHandle(code);
    const [first] = diagnosticsOf(source);
    expect(first!.message).toMatch(message);
    expect([first!.file, first!.line, first!.column]).toEqual(["filter.ts", line, column]);
    const frame = formatDiagnostics([first!], { cwd: directory }).split("\n");
    expect(frame[0]).toBe(`filter.ts:${line}:${column} error: ${first!.message} [${first!.code}]`);
    expect(frame[2]).toBe(`${line} | ${source.split("\n")[line - 1]}`);
    expect(frame[3]).toMatch(new RegExp(`^ +\\| {${column}}\\^+$`));
  });

  test("an import that is not there", () => {
    const [first] = diagnosticsOf(`import { a } from "./nowhere";\n${withHandle("    a();")}`);
    expect([first!.file, first!.line, first!.column]).toEqual(["filter.ts", 1, 19]);
    expect(first!.message).toMatch(/nowhere/);
  });

  test("a name that the SDK does not have", () => {
    const [first] = diagnosticsOf(`import { Frobnicator } from "envoyscript-sdk";\n${withHandle("    new Frobnicator();")}`);
    expect([first!.file, first!.line]).toEqual(["filter.ts", 1]);
    expect(first!.message).toMatch(/Frobnicator/);
  });

  test("an error in an imported file", () => {
    const [first] = diagnosticsOf(`import { help } from "./helper";\n${withHandle("    help();")}`, {
      "helper.ts": 'export function help(): void {\n  const n: i32 = "text";\n}\n',
    });
    expect([first!.file, first!.line, first!.column]).toEqual(["helper.ts", 2, 18]);
  });
});

describe("what is wrong with a filter or its configuration class", () => {
  const withConfig = (fields: string, more = "") =>
    `${SDK}${more}class Config {\n${fields}\n}\n@filter("f")\nexport class F extends Filter<Config> {\n  handle(stream: Stream): void {}\n}\n`;
  test.each([
    ["a filter without a name", `${SDK}@filter()\nexport class F extends Filter<NoConfig> { handle(stream: Stream): void {} }`, "ES201", 2],
    ["a name with a blank", `${SDK}@filter("a b")\nexport class F extends Filter<NoConfig> { handle(stream: Stream): void {} }`, "ES201", 2],
    ["a wrong policy", `${SDK}@filter("f", true)\nexport class F extends Filter<NoConfig> { handle(stream: Stream): void {} }`, "ES202", 2],
    ["no handle", `${SDK}@filter("f")\nexport class F extends Filter<NoConfig> { handel(stream: Stream): void {} }`, "ES204", 3],
    ["no type argument", `${SDK}@filter("f")\nexport class F extends Filter { handle(stream: Stream): void {} }`, "ES205", 3],
    ["no base class", `${SDK}@filter("f")\nexport class F { handle(stream: Stream): void {} }`, "ES206", 3],
    ["an unknown configuration class", `${SDK}@filter("f")\nexport class F extends Filter<Missing> { handle(stream: Stream): void {} }`, "ES207", 3],
    ["a field without a type", withConfig("  a = 1;"), "ES208", 3],
    ["a number that can be null", withConfig("  a: i32 | null = null;"), "ES209", 3],
    ["a decorator that does not fit", withConfig("  @range(1, 2) a: bool = true;"), "ES210", 3],
    ["a range without numbers", withConfig('  @range("a", "b") a: i32 = 1;'), "ES210", 3],
    ["a cluster that is no string", withConfig("  @cluster a: i32 = 1;"), "ES210", 3],
    ["a type that JSON has not", withConfig("  a: Stream | null = null;"), "ES211", 3],
    ["a map with other keys", withConfig("  a: Map<i32, string> = new Map<i32, string>();"), "ES211", 3],
  ])("%s", (_, text, code, line) => {
    const found = diagnosticsOf(text);
    expect(found.map((d) => [d.code, d.file, d.line])).toContainEqual([code, "filter.ts", line]);
    expect(formatDiagnostics(found, { cwd: directory })).toContain(`${line} | ${text.split("\n")[line - 1]}`);
  });

  test("two filters of one name, no filter, a file that is not there", () => {
    const two = `${SDK}@filter("f")\nexport class F extends Filter<NoConfig> { handle(stream: Stream): void {} }\n@filter("f")\nexport class G extends Filter<NoConfig> { handle(stream: Stream): void {} }`;
    expect(() => diagnosticsOf(two)).toThrow(/two filters are called "f"/);
    expect(() => diagnosticsOf("export const a: i32 = 1;")).toThrow(/no filter found/);
    expect(() => build(["nowhere.ts"], { cwd: directory })).toThrow("nowhere.ts: there is no such file");
  });
});

describe("a module", () => {
  test("is built from sources that import types as TypeScript's editors write it", () => {
    writeFileSync(path.join(directory, "settings.ts"), 'export class Settings { a: string = ""; }\n');
    writeFileSync(
      path.join(directory, "typed.ts"),
      'import { Filter, filter, type Stream } from "envoyscript-sdk";\nimport type { Settings } from "./settings";\n@filter("typed")\nexport class Typed extends Filter<Settings> {\n  handle(stream: Stream): void {\n    const type = this.config.a;\n    stream.reply(200, type);\n  }\n}\n',
    );
    expect(build(["typed.ts"], { cwd: directory }).manifest.filters[0]!.name).toBe("typed");
  });

  // What Envoy takes away is kept where the filter may look at it again: a missing copy would be silent.
  test.each([
    [
      "nothing of the request behind next()",
      'const h = stream.request.headers; const a = h.get("a"); stream.next(); stream.response.headers.set("x", a === null ? "" : a);',
      false,
    ],
    ["the request itself", 'stream.next(); stream.response.headers.set("x", stream.request.path);', true],
    [
      "a variable made from it",
      'const h = stream.request.headers; stream.next(); const a = h.get("a"); if (a !== null) stream.response.headers.set("x", a);',
      true,
    ],
    ["the stream passed on", "stream.next(); this.later(stream);", true],
    ["the stream passed on before", "this.later(stream); stream.next();", true],
    ["next() in a branch", "if (stream.response.status == 0) { stream.next(); }", true],
  ])("keeps request headers only where they may be read late: %s", (_, code, kept) => {
    const [filter] = readProgram([writeFilter(code)], directory).filters;
    expect(filter!.lateRequest).toBe(kept);
  });

  const text = `${SDK}
class Limits {
  @range(1, 100) burst: i32 = 10;
  window: Duration = new Duration(1000);
}
class Config {
  @required name: string = "";
  @oneOf(["a", "b"]) mode: string = "a";
  @oneOf([1, 2, 3]) level: u8 = 1;
  @range(2, 4) short: string = "abc";
  @range(1, 2) few: string[] = ["x"];
  flag: bool = false;
  small: i8 = 0;
  size: u16 = 0;
  wide: i64 = 0;
  ratio: f64 = 0.5;
  weights: Map<string, i32> = new Map<string, i32>();
  limits: Limits = new Limits();
  many: Limits[] = [];
  note: string | null = null;
  deep: Limits | null = null;
}
const words: StaticArray<string> = ["alpha", "beta", "gamma"];
@filter("f")
export class F extends Filter<Config> {
  handle(stream: Stream): void {
    stream.request.headers.set("x-word", words[stream.request.path.length % 3]);
  }
}
`;
  let wasm: Uint8Array;
  beforeAll(() => {
    writeFileSync(path.join(directory, "config.ts"), text);
    wasm = build(["config.ts"], { cwd: directory }).wasm;
  });

  test("of request headers only exports no other callback", () => {
    const manifest = readManifest(wasm)!;
    expect(manifest.callbacks).toEqual(["proxy_on_configure", "proxy_on_context_create", "proxy_on_delete", "proxy_on_request_headers"]);
    const exports = WebAssembly.Module.exports(new WebAssembly.Module(wasm as never)).map((e) => e.name);
    expect(exports.filter((name) => name.includes("asyncify"))).toEqual([]);
  });

  test("keeps every string that its code can reach", () => {
    const bytes = Buffer.from(wasm);
    for (const word of ["alpha", "beta", "gamma", "config.ts"]) expect([word, bytes.includes(Buffer.from(word, "utf16le"))]).toEqual([word, true]);
  });

  const good = { name: "n" };
  const window = { window: "1s" };
  test.each([
    ["the least", good, true],
    ["nothing", {}, false],
    ["no object", [], false],
    ["an unknown field", { ...good, nmae: 1 }, false],
    ["a wrong type", { name: 1 }, false],
    ["oneOf: text", { ...good, mode: "b" }, true],
    ["not oneOf: text", { ...good, mode: "c" }, false],
    ["oneOf: number", { ...good, level: 3 }, true],
    ["not oneOf: number", { ...good, level: 4 }, false],
    ["a text in its range", { ...good, short: "ab" }, true],
    ["a text too short", { ...good, short: "a" }, false],
    ["a text too long", { ...good, short: "abcde" }, false],
    ["a list in its range", { ...good, few: ["a", "b"] }, true],
    ["a list too short", { ...good, few: [] }, false],
    ["a list too long", { ...good, few: ["a", "b", "c"] }, false],
    ["a list of another type", { ...good, few: [1] }, false],
    ["a bool", { ...good, flag: true }, true],
    ["a number for a bool", { ...good, flag: 1 }, false],
    ["i8, least", { ...good, small: -128 }, true],
    ["i8, below", { ...good, small: -129 }, false],
    ["i8, greatest", { ...good, small: 127 }, true],
    ["i8, above", { ...good, small: 128 }, false],
    ["u16, greatest", { ...good, size: 65535 }, true],
    ["u16, above", { ...good, size: 65536 }, false],
    ["u16, below", { ...good, size: -1 }, false],
    ["a fraction for a whole number", { ...good, size: 1.5 }, false],
    ["i64", { ...good, wide: -9007199254740991 }, true],
    ["f64", { ...good, ratio: -1e-9 }, true],
    ["f64, whole", { ...good, ratio: 3 }, true],
    ["text for a number", { ...good, ratio: "3" }, false],
    ["a map", { ...good, weights: { a: 1, b: 2 } }, true],
    ["a map of another type", { ...good, weights: { a: "1" } }, false],
    ["a list for a map", { ...good, weights: [] }, false],
    ["nested", { ...good, limits: { burst: 1, ...window } }, true],
    ["nested, out of range", { ...good, limits: { burst: 0 } }, false],
    ["nested, unknown", { ...good, limits: { brust: 1 } }, false],
    ["a list of objects", { ...good, many: [{ burst: 5 }, window] }, true],
    ["a list of objects, one wrong", { ...good, many: [{ burst: 5 }, { burst: 500 }] }, false],
    ["null where allowed", { ...good, note: null, deep: null }, true],
    ["null where not", { ...good, mode: null }, false],
    ["a time as text", { ...good, limits: { window: "1.5s" } }, true],
    ["a time in ms", { ...good, limits: { window: 250 } }, true],
    ["a time without a unit", { ...good, limits: { window: "10" } }, false],
    ["a negative time", { ...good, limits: { window: -1 } }, false],
    ["a time of another unit", { ...good, limits: { window: "1d" } }, false],
  ] as [string, unknown, boolean][])("its JSON Schema and its parser agree on %s", (_, config, accepted) => {
    const validate = new Ajv2020({ strict: false }).compile(readManifest(wasm)!.filters[0]!.configSchema);
    expect(validate(config), JSON.stringify(validate.errors)).toBe(accepted);
    const { ok, log } = configure(wasm, JSON.stringify(config));
    expect(ok, log.join("\n")).toBe(accepted);
    if (!accepted) expect(log).toEqual([expect.stringMatching(/^configuration refused: ./)]);
  });

  test("a configuration nested without end is refused, and the next one is taken", () => {
    const { ok, again } = configure(wasm, `{"name":${"[".repeat(200_000)}`, JSON.stringify(good));
    expect([ok, again]).toEqual([false, true]);
  });
});

/** Gives a module its configuration as Envoy would, and then another one. */
function configure(wasm: Uint8Array, config: string, next = config): { ok: boolean; again: boolean; log: string[] } {
  const log: string[] = [];
  const module = new WebAssembly.Module(wasm as never);
  let given = Buffer.from(config);
  let exports: Record<string, (...args: number[]) => number> & { memory?: WebAssembly.Memory };
  const memory = () => Buffer.from((exports as unknown as { memory: WebAssembly.Memory }).memory.buffer);
  const env: Record<string, (...args: number[]) => number> = {
    proxy_log: (_level, pointer, size) => {
      log.push(memory().toString("utf8", pointer!, pointer! + size!));
      return 0;
    },
    proxy_get_log_level: (out) => {
      memory().writeUInt32LE(2, out!);
      return 0;
    },
    proxy_get_property: () => 1,
    proxy_get_buffer_bytes: (_type, _start, _size, outPointer, outSize) => {
      const at = exports.malloc!(given.length);
      if (!at) return 6;
      given.copy(memory(), at);
      memory().writeUInt32LE(at, outPointer!);
      memory().writeUInt32LE(given.length, outSize!);
      return 0;
    },
  };
  const imports = { env: Object.fromEntries(WebAssembly.Module.imports(module).map(({ name }) => [name, env[name] ?? (() => 0)])) };
  exports = new WebAssembly.Instance(module, imports as never).exports as never;
  exports._initialize!();
  exports.proxy_on_context_create!(1, 0);
  const ok = exports.proxy_on_configure!(1, given.length) === 1;
  const first = log.slice();
  given = Buffer.from(next);
  exports.proxy_on_context_create!(2, 0);
  const again = exports.proxy_on_configure!(2, given.length) === 1;
  return { ok, again, log: first };
}
