// The part of AssemblyScript's C-style compiler API that asc.ts uses. The package's own declarations describe the compiler's AssemblyScript build and
// would add AssemblyScript's globals (i32, console …) to every file of the host.

declare module "assemblyscript" {
  export type Options = { readonly options: unique symbol };
  export type Program = { readonly program: unique symbol };
  export type CompiledModule = { readonly compiled: unique symbol };
  export interface DiagnosticMessage {
    code: number;
    /** 0 pedantic, 1 info, 2 warning, 3 error. */
    category: number;
    message: string;
    range: { start: number; end: number; source: { normalizedPath: string; lineAt(position: number): number; columnAt(): number } } | null;
  }
  export function newOptions(): Options;
  export function setTarget(options: Options, target: number): void;
  export function setRuntime(options: Options, runtime: number): void;
  export function setExportMemory(options: Options, on: boolean): void;
  export function setMaximumMemory(options: Options, pages: number): void;
  export function setStackSize(options: Options, bytes: number): void;
  export function setExportStart(options: Options, name: string): void;
  export function setExportRuntime(options: Options, on: boolean): void;
  export function setSourceMap(options: Options, on: boolean): void;
  export function setDebugInfo(options: Options, on: boolean): void;
  export function setOptimizeLevelHints(options: Options, optimize: number, shrink: number): void;
  export function addGlobalAlias(options: Options, alias: string, name: string): void;
  export function newProgram(options: Options): Program;
  export function parse(program: Program, text: string | null, path: string, entry: boolean): void;
  export function nextFile(program: Program): string | null;
  export function nextDiagnostic(program: Program): DiagnosticMessage | null;
  export function initializeProgram(program: Program): void;
  export function compile(program: Program): CompiledModule;
  export function getBinaryenModuleRef(module: CompiledModule): number;
}

declare module "assemblyscript/asc" {
  /** Sources of the standard library by path without extension ("array", "rt/itcms"). */
  export const libraryFiles: Record<string, string>;
}

declare module "assemblyscript/binaryen" {
  import binaryen from "binaryen";
  export default binaryen;
}
