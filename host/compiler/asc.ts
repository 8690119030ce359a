// Drives the AssemblyScript compiler as a library: sources in (every one of them through `read`), Binaryen module and diagnostics out.
import * as asc from "assemblyscript";
import { libraryFiles } from "assemblyscript/asc";
import binaryen from "assemblyscript/binaryen";
import type { Module } from "./ir.js";

/** A compiler message with its place in a source file. Lines and columns count from 1. */
export interface Diagnostic {
  severity: "error" | "warning";
  code: string;
  message: string;
  file?: string;
  line?: number;
  column?: number;
  /** Characters to underline. */
  length?: number;
}

export interface AscInput {
  /** Path of the entry file without its extension, as `read` knows it. */
  entry: string;
  /** The text of a source by its internal path ("dir/file", "~lib/envoyscript-sdk/index"), or null. */
  read(path: string): string | null;
  /** Linear memory limit in 64 KiB pages. */
  maximumPages: number;
  stackSize: number;
  optimizeLevel: number;
  shrinkLevel: number;
  aliases: Record<string, string>;
  /** Export the collector's functions (unit tests of guest code pass strings with them). */
  exportRuntime?: boolean;
}

export interface AscOutput {
  module?: Module;
  diagnostics: Diagnostic[];
}

const LIBRARY = "~lib/";

/** AssemblyScript's runtime is looked up under these names; ours is guest/runtime/heap.ts. */
const RUNTIME = `
import { allocate, collect, give, pin, resize, take, unpin, visit } from "~lib/envoyscript-sdk/runtime/heap";
@global @unsafe export function __alloc(size: usize): usize { return take(size); }
@global @unsafe export function __realloc(pointer: usize, size: usize): usize { unreachable(); return 0; }
@global @unsafe export function __free(pointer: usize): void { give(pointer); }
@global @unsafe export function __new(size: usize, id: i32): usize { return allocate(size, id); }
@global @unsafe export function __renew(object: usize, size: usize): usize { return resize(object, size); }
@global @unsafe export function __link(parent: usize, child: usize, expectMultiple: bool): void {}
@global @unsafe export function __visit(object: usize, cookie: u32): void { visit(object); }
@global @unsafe export function __pin(object: usize): usize { return pin(object); }
@global @unsafe export function __unpin(object: usize): void { unpin(object); }
@global @unsafe export function __collect(): void { collect(); }
`;

const library: Record<string, string> = { ...libraryFiles, "rt/index-incremental": RUNTIME };

/** Compiles to an unoptimised Binaryen module that still has its debug locations. */
export function compile(input: AscInput): AscOutput {
  const options = asc.newOptions();
  asc.setTarget(options, 0);
  asc.setRuntime(options, 2);
  asc.setExportMemory(options, true);
  asc.setMaximumMemory(options, input.maximumPages);
  asc.setStackSize(options, input.stackSize);
  asc.setExportStart(options, "_initialize");
  asc.setSourceMap(options, true);
  asc.setDebugInfo(options, true);
  asc.setOptimizeLevelHints(options, input.optimizeLevel, input.shrinkLevel);
  if (input.exportRuntime) asc.setExportRuntime(options, true);
  for (const [name, target] of Object.entries(input.aliases)) asc.addGlobalAlias(options, name, target);
  const program = asc.newProgram(options);

  for (const [path, text] of Object.entries(library)) {
    if (!path.includes("/")) asc.parse(program, text, `${LIBRARY}${path}.ts`, false);
  }
  asc.parse(program, library["rt/index-incremental"]!, `${LIBRARY}rt/index-incremental.ts`, true);
  asc.parse(program, input.read(input.entry) ?? "", `${input.entry}.ts`, true);
  for (let path = asc.nextFile(program); path != null; path = asc.nextFile(program)) {
    const found = resolve(path, input.read);
    asc.parse(program, found?.text ?? null, found?.path ?? `${path}.ts`, false);
  }
  let diagnostics = drain(program);
  if (diagnostics.some((d) => d.severity === "error")) return { diagnostics };
  asc.initializeProgram(program);
  const compiled = asc.compile(program);
  diagnostics = diagnostics.concat(drain(program));
  const module = binaryen.wrapModule(asc.getBinaryenModuleRef(compiled));
  if (diagnostics.some((d) => d.severity === "error")) {
    module.dispose();
    return { diagnostics };
  }
  return { module, diagnostics };
}

function resolve(path: string, read: AscInput["read"]): { text: string; path: string } | undefined {
  for (const candidate of [path, `${path}/index`]) {
    const standard = candidate.startsWith(LIBRARY) ? library[candidate.slice(LIBRARY.length)] : undefined;
    const text = standard ?? read(candidate);
    if (text != null) return { text, path: `${candidate}.ts` };
  }
  return undefined;
}

function drain(program: asc.Program): Diagnostic[] {
  const list: Diagnostic[] = [];
  for (let d = asc.nextDiagnostic(program); d != null; d = asc.nextDiagnostic(program)) {
    // Categories: 0 pedantic, 1 info, 2 warning, 3 error.
    if (d.category < 2) continue;
    const source = d.range?.source;
    list.push({
      severity: d.category === 3 ? "error" : "warning",
      code: `AS${d.code}`,
      message: d.message,
      ...(source && d.range
        ? { file: source.normalizedPath, line: source.lineAt(d.range.start), column: source.columnAt(), length: Math.max(1, d.range.end - d.range.start) }
        : {}),
    });
  }
  return list;
}
