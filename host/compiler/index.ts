// The bridge from TypeScript to a module that Envoy loads: read, generate, compile, isolate, specialise, make coroutines, check, describe.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { upwards } from "../upwards.js";
import { compile, type Diagnostic } from "./asc.js";
import { ENTRY, featuresConstant, generateEntry, withExports } from "./entry.js";
import { binaryen, type Module } from "./ir.js";
import { linkProblems } from "./link.js";
import { MANIFEST_SECTION, type Manifest, makeManifest } from "./manifest.js";
import { asyncify, keepApart, protectBorders, withoutSuspension } from "./passes/coroutine.js";
import { staticObjects, withoutDeadData } from "./passes/data.js";
import { type Needs, specialise } from "./passes/features.js";
import { checkStackOnce, removeUnneededFrames } from "./passes/frames.js";
import { isolate, replaceUnreachable } from "./passes/isolation.js";
import { hoistViews } from "./passes/views.js";
import { type Program, readProgram } from "./sources.js";

export type { Diagnostic } from "./asc.js";
export { formatDiagnostics } from "./diagnostics.js";
export { type Manifest, type ManifestFilter, readManifest } from "./manifest.js";

export interface BuildOptions {
  /** Memory ceiling in bytes; a multiple of 64 KiB is made of it. Default 64 MiB. */
  memory?: number;
  /** Loop turns and calls a filter may take before it has to wait or return. 0: not counted. Default 10,000,000. */
  budget?: number;
  /** Keeps function names (for Envoy's backtraces and profilers). */
  debug?: boolean;
  /** Exports `envoyscript_streams`, for tests: how many streams the module keeps. */
  inspect?: boolean;
  /** Directory that relative paths and shown names start from. Default: the working directory. */
  cwd?: string;
}

export interface BuildResult {
  wasm: Uint8Array;
  manifest: Manifest;
  warnings: Diagnostic[];
}

/** A build that failed; `diagnostics` say where and why. */
export class BuildError extends Error {
  constructor(readonly diagnostics: Diagnostic[]) {
    super(diagnostics.map((d) => `${d.file ? `${d.file}:${d.line}:${d.column}: ` : ""}${d.message}`).join("\n"));
  }
}

const PAGE = 64 * 1024;
export const DEFAULT_MEMORY = 64 * 1024 * 1024;
export const DEFAULT_BUDGET = 10_000_000;

/** Compiles filters to one proxy-wasm module. Throws BuildError for what is wrong with the sources, Error for what is wrong with the call. */
export function build(files: string[], options: BuildOptions = {}): BuildResult {
  const memory = options.memory ?? DEFAULT_MEMORY;
  if (!(memory >= 4 * 1024 * 1024 && memory <= 1024 * 1024 * 1024)) throw new Error(`memory: from 4MiB to 1GiB (Envoy's own limit), not ${memory} bytes`);
  const program = readProgram(files, options.cwd);
  failOn(program.diagnostics);
  if (program.filters.length === 0) throw new Error(`${files.join(", ")}: no filter found; decorate a class with @filter("name")`);
  refuseDoubles(program);
  const pages = Math.ceil(memory / PAGE);
  const { module, diagnostics } = compileProgram(program, pages);
  const relevant = diagnostics.map((d) => locate(d, program));
  failOn(relevant);
  try {
    const objects = staticObjects(module!);
    const needs = runPasses(module!, program, options);
    if (!module!.validate()) throw new Error("the compiler produced an invalid module; please report it with the source");
    const manifest = makeManifest(program, needs, pages * PAGE);
    const wasm = emit(module!, manifest, options.debug ?? false, objects);
    const problems = linkProblems(wasm);
    if (problems.length) throw new BuildError(problems.map((message) => ({ severity: "error", code: "ES300", message })));
    return { wasm, manifest, warnings: relevant.filter((d) => d.severity === "warning" && !d.file?.startsWith("~lib/")) };
  } finally {
    module!.dispose();
  }
}

function failOn(diagnostics: Diagnostic[]): void {
  const errors = diagnostics.filter((d) => d.severity === "error");
  if (errors.length) throw new BuildError(errors);
}

function refuseDoubles(program: Program): void {
  const names = program.filters.map((filter) => filter.name);
  const double = names.find((name, i) => names.indexOf(name) !== i);
  if (double !== undefined) throw new Error(`two filters are called "${double}"; every filter of a module needs a name of its own`);
}

function compileProgram(program: Program, pages: number) {
  const sdk = sdkDirectory();
  const texts = new Map(program.files.map((file) => [file.internal, withExports(file, program)]));
  texts.set(ENTRY, generateEntry(program));
  return compile({
    entry: ENTRY,
    maximumPages: pages,
    stackSize: 64 * 1024,
    optimizeLevel: 3,
    shrinkLevel: 1,
    aliases: { abort: "~lib/envoyscript-sdk/runtime/isolation/abort", seed: "~lib/envoyscript-sdk/runtime/isolation/seed" },
    read(name) {
      const own = texts.get(name);
      if (own !== undefined) return own;
      if (!name.startsWith("~lib/envoyscript-sdk/")) return null;
      const file = path.join(sdk, `${name.slice("~lib/envoyscript-sdk/".length)}.ts`);
      return existsSync(file) ? readFileSync(file, "utf8") : null;
    },
  });
}

/** The guest package: beside this one in the repository, a dependency where it is installed. */
export function sdkDirectory(): string {
  const found = upwards(path.dirname(fileURLToPath(import.meta.url)), (directory) =>
    [path.join(directory, "guest"), path.join(directory, "node_modules", "envoyscript-sdk")].find((sdk) => existsSync(path.join(sdk, "runtime", "abi.ts"))),
  );
  if (found === undefined) throw new Error("envoyscript-sdk is not installed beside envoyscript: npm install envoyscript-sdk");
  return found;
}

/** Compiler messages name files as the compiler knows them; people know them otherwise. */
function locate(d: Diagnostic, program: Program): Diagnostic {
  const file = program.files.find((f) => `${f.internal}.ts` === d.file);
  return file ? { ...d, file: file.shown } : d;
}

function runPasses(m: Module, program: Program, options: BuildOptions): Needs {
  const budget = options.budget ?? DEFAULT_BUDGET;
  isolate(m, { budget: budget > 0, files: program.files.map((file) => `${file.internal}.ts`) });
  setConstant(m, "~lib/envoyscript-sdk/runtime/isolation/budgetLimit", budget > 0 ? Math.min(budget, 0x7fffffff) : 0x7fffffff);
  const roots = "~lib/envoyscript-sdk/runtime/roots/";
  const has = (style: string) => (program.filters.some((filter) => filter.style === style) ? 1 : 0);
  setConstant(m, `${roots}usesLinear`, has("linear"));
  setConstant(m, `${roots}usesLowLevel`, has("low-level"));
  setConstant(m, `${roots}usesConfig`, program.filters.length > 1 || program.filters.some((filter) => filter.config) ? 1 : 0);
  const shapes = program.filters.map((filter) => ({
    name: filter.name,
    internalName: `${filter.file.internal}/${filter.className}`,
    style: filter.style,
    lateRequest: filter.lateRequest,
    methods: filter.methods,
  }));
  const needs = specialise(m, shapes, featuresConstant, options.inspect);
  checkStackOnce(m);
  removeUnneededFrames(m);
  hoistViews(m);
  setConstant(m, `${roots}usesCoroutines`, needs.suspends ? 1 : 0);
  if (needs.suspends) protectBorders(m);
  else withoutSuspension(m);
  keepApart(m, COLD);
  binaryen.setDebugInfo(options.debug ?? false);
  binaryen.setZeroFilledMemory(true);
  // Small functions are inlined for speed; after that the code is made small. Asyncify comes between, because it wants tidy code.
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(0);
  m.runPasses(TIDY);
  if (needs.suspends) {
    asyncify(m);
    replaceUnreachable(m);
  }
  binaryen.setShrinkLevel(1);
  m.optimize();
  m.runPasses(AGAIN);
  return needs;
}

const TIDY = [
  "remove-unused-module-elements",
  "simplify-globals",
  "vacuum",
  "inlining",
  "remove-unused-module-elements",
  "remove-unused-brs",
  "simplify-locals",
  "vacuum",
  "coalesce-locals",
];

/** What the first round made possible: globals that turned out constant, branches on them, functions only they called. */
const AGAIN = ["simplify-globals", "precompute", "remove-unused-brs", "vacuum", "remove-unused-module-elements"];

/** Code that runs rarely must not be copied into code that runs often. */
const COLD = [
  "~stack_check",
  "~fault",
  "*/isolation/abort",
  "*/isolation/describeFault",
  "*/chain/fault",
  "*/configure/*",
  "*/log/write",
  "*#refuse",
  "*/Edit#apply",
  "*/entry/emergency",
];

function setConstant(m: Module, name: string, value: number): void {
  m.removeGlobal(name);
  m.addGlobal(name, binaryen.i32, false, m.i32.const(value));
}

function emit(m: Module, manifest: Manifest, debug: boolean, objects: ReturnType<typeof staticObjects>): Uint8Array {
  m.addCustomSection(MANIFEST_SECTION, new TextEncoder().encode(JSON.stringify(manifest)) as never);
  binaryen.setDebugInfo(debug);
  m.runPasses(debug ? ["strip-target-features", "strip-producers"] : ["strip-target-features", "strip-producers", "strip-debug"]);
  return withoutDeadData(m, m.emitBinary(), objects);
}
