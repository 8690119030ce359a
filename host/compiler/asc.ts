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

/**
 * Bytes allocated between two steps of the garbage collector. AssemblyScript's own 1 KiB starts a whole cycle, with all its marking, every few requests.
 */
const GC_GRANULARITY = 32 * 1024;

/** The standard library's sources, with the collector tuned for short-lived requests. */
const library: Record<string, string> = tuned(libraryFiles);

function tuned(files: Record<string, string>): Record<string, string> {
  const setting = "isDefined(ASC_GC_GRANULARITY) ? ASC_GC_GRANULARITY : 1024";
  const collector = files["rt/itcms"]!;
  if (!collector.includes(setting)) throw new Error("this version of AssemblyScript sets its collector's granularity elsewhere");
  return { ...files, "rt/itcms": collector.replace(setting, String(GC_GRANULARITY)) };
}

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
