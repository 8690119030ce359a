// Loading a module as envoy 1.40 does: what it refuses, in which order, and with which words (facts/envoy-wasm.md A1; test/conformance/traces load-*).
import { createHash } from "node:crypto";
import { functionNames, type Interface, type Limits, MAX_PAGES, MAX_TABLE, readInterface, type Signature } from "../wasm/binary.js";
import { ABI_MARKERS, type AbiVersion, CALLBACKS, HOST_FUNCTIONS, sameType, typeText, WASI_FUNCTIONS, WASI_MODULES } from "../wasm/proxy-wasm.js";
import { type Guarded, guard } from "./watchdog.js";

export interface LoadedModule {
  /** With the watchdog built in. */
  module: WebAssembly.Module;
  abiVersion: AbiVersion;
  imports: Interface["imports"];
  /** Callbacks that the module exports, the starting functions too. */
  callbacks: string[];
  /** To be called in this order when an instance is new. */
  startFunctions: string[];
  hasStartSection: boolean;
  mallocName: string;
  /** Export that is the memory; undefined where it is imported, or hidden. */
  memoryName: string | undefined;
  functionNames: Map<number, string> | undefined;
  /** Exported global of the watchdog; undefined where the module could not be guarded. */
  budgetName: string | undefined;
  /** Exported function that was the module's start section. */
  startName: string | undefined;
  /** A place in the guarded module as a place in the original bytes. */
  originalOffset(offset: number): number;
}

export interface LoadFailure {
  /** What the wasm layer logs. */
  lines: { level: "error"; text: string }[];
  /** envoy 1.40: a module that is none "failed to load", another "failed to initialize". */
  problem: string;
}

const cache = new Map<string, LoadedModule | LoadFailure>();
const known = new WeakMap<Uint8Array, LoadedModule | LoadFailure>();

/** Looks at a module's bytes and compiles them; the same bytes are compiled once. */
export function inspectModule(bytes: Uint8Array): LoadedModule | LoadFailure {
  const before = known.get(bytes);
  if (before) return before;
  const key = createHash("sha256").update(bytes).digest("base64");
  const found = cache.get(key) ?? inspect(bytes);
  cache.set(key, found);
  known.set(bytes, found);
  return found;
}

const failure = (problem: string, ...texts: string[]): LoadFailure => ({ problem, lines: texts.map((text) => ({ level: "error", text })) });

function inspect(bytes: Uint8Array): LoadedModule | LoadFailure {
  let found: Interface = { imports: [], exports: [], memories: [], tables: [], hasStart: false };
  // envoy 1.40: fewer than eight bytes are a module without a marker, not a broken one.
  if (bytes.length >= 8) {
    const isWasm = bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;
    try {
      if (!isWasm) throw new Error("no magic number");
      found = readInterface(bytes);
    } catch {
      return failure("Failed to load Wasm code", "Failed to parse corrupted Wasm module");
    }
  }
  const marker = found.exports.find(({ name, kind }) => kind === "function" && Object.hasOwn(ABI_MARKERS, name));
  if (!marker) return failure("Failed to load Wasm code", "Wasm VM failed Missing or unknown Proxy-Wasm ABI version");
  const abiVersion = ABI_MARKERS[marker.name]!;
  const { bytes: guarded, ...names } = guard(bytes);
  let module: WebAssembly.Module;
  try {
    module = new WebAssembly.Module(guarded as BufferSource);
  } catch (error) {
    return failure("Failed to load Wasm code", `${BYTECODE} (${error instanceof Error ? error.message : error})`);
  }
  const table = [...found.tables, ...found.imports.filter(({ kind }) => kind === "table").map(({ limits }) => limits!)].find(
    ({ initial }) => initial > MAX_TABLE,
  );
  // Node's V8 finds this out later.
  if (table) return failure("Failed to load Wasm code", `${BYTECODE} (a table of ${table.initial} elements, the most are ${MAX_TABLE})`);
  return importFailure(found, abiVersion) ?? memoryFailure(found) ?? exportFailure(found, abiVersion) ?? loaded(bytes, found, abiVersion, module, names);
}

function loaded(bytes: Uint8Array, found: Interface, abiVersion: AbiVersion, module: WebAssembly.Module, names: Omit<Guarded, "bytes">): LoadedModule {
  const has = (name: string) => found.exports.some((e) => e.kind === "function" && e.name === name);
  const starts = has("_initialize") ? ["_initialize", has("main") ? "main" : "__main_void"] : ["_start"];
  return {
    module,
    abiVersion,
    imports: found.imports,
    callbacks: found.exports.filter((e) => e.kind === "function" && Object.hasOwn(CALLBACKS[abiVersion], e.name)).map((e) => e.name),
    startFunctions: starts.filter(has),
    hasStartSection: found.hasStart,
    mallocName: has("malloc") ? "malloc" : "proxy_on_memory_allocate",
    memoryName: found.exports.find((e) => e.kind === "memory")?.name,
    functionNames: functionNames(bytes),
    ...names,
  };
}

const BYTECODE = "Wasm VM failed Failed to load Wasm bytecode";

const INITIALIZE = "Failed to initialize Wasm code";

/** One of them is enough: the other is not looked at then. */
const ALLOCATORS = ["malloc", "proxy_on_memory_allocate"];

/** envoy 1.40: said where an instance cannot be made. */
export const INSTANCE = "Failed to create new Wasm instance";

function offered(module: string, name: string, abiVersion: AbiVersion): Signature | undefined {
  const functions = module === "env" ? HOST_FUNCTIONS[abiVersion] : WASI_MODULES.has(module) ? WASI_FUNCTIONS : {};
  return Object.hasOwn(functions, name) ? functions[name] : undefined;
}

function importFailure({ imports }: Interface, abiVersion: AbiVersion): LoadFailure | undefined {
  for (const { module, name, kind, signature } of imports) {
    if (kind === "memory" || kind === "table") continue;
    const host = kind === "function" ? offered(module, name, abiVersion) : undefined;
    if (!host) return failure(INITIALIZE, `Failed to load Wasm module due to a missing import: ${module}.${name}`);
    if (signature && !sameType(signature, host)) {
      const types = `want: ${typeText(signature)}, but host exports: ${typeText(host)}`;
      return failure(INITIALIZE, `Failed to load Wasm module due to an import type mismatch: ${module}.${name}, ${types}`);
    }
  }
  return undefined;
}

/** envoy 1.40: a gibibyte is all that a module may have; it does not say so. */
function memoryFailure({ imports, memories }: Interface): LoadFailure | undefined {
  const tooMuch = (limits: Limits | undefined) => limits !== undefined && limits.initial > MAX_PAGES;
  const own = memories.find(tooMuch);
  const asks = imports.find(({ kind, limits }) => kind === "memory" && tooMuch(limits))?.limits ?? own;
  if (!asks) return undefined;
  return failure(`${INITIALIZE} (the module asks for ${asks.initial} pages of memory, a VM may have ${MAX_PAGES})`, ...(asks === own ? [INSTANCE] : []));
}

/** envoy 1.40: says all that is wrong. */
function exportFailure({ exports }: Interface, abiVersion: AbiVersion): LoadFailure | undefined {
  const functions = new Map(exports.filter((e) => e.kind === "function").map((e) => [e.name, e.signature!]));
  const lines: string[] = [];
  const wrong = (name: string, want: Signature): boolean => {
    const signature = functions.get(name);
    if (!signature || sameType(signature, want)) return false;
    lines.push(`Bad function signature for: ${name}, want: ${typeText(want)}, but the module exports: ${typeText(signature)}`);
    return true;
  };
  const { [abiVersion]: callbacks } = CALLBACKS;
  if (!ALLOCATORS.some((name) => functions.has(name) && !wrong(name, callbacks[name]!))) lines.push("Wasm VM failed Wasm module is missing malloc function.");
  for (const [name, want] of Object.entries(callbacks)) if (!ALLOCATORS.includes(name)) wrong(name, want);
  return lines.length === 0 ? undefined : failure(INITIALIZE, ...lines);
}
