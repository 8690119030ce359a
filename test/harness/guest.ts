// Runs pieces of the SDK in Node, for unit tests: AssemblyScript text that imports them is compiled as it is (no passes) and loaded.
import { readFileSync } from "node:fs";
import path from "node:path";
import { instantiateSync } from "@assemblyscript/loader";
import { compile } from "../../host/compiler/asc.js";

const GUEST = path.resolve(import.meta.dirname, "../../guest");

export interface Guest {
  exports: Record<string, (...args: never[]) => unknown>;
  /** Hands a string to the guest. */
  give(text: string): number;
  /** Reads a string of the guest. */
  take(pointer: unknown): string;
  /** Hands bytes to the guest as an ArrayBuffer. */
  giveBytes(bytes: Uint8Array): number;
}

/** Compiles and loads. `source` imports the SDK as "~lib/envoyscript-sdk/…". */
export function loadGuest(source: string): Guest {
  const { module, diagnostics } = compile({
    entry: "test",
    maximumPages: 1024,
    stackSize: 64 * 1024,
    optimizeLevel: 0,
    shrinkLevel: 0,
    aliases: {},
    exportRuntime: true,
    read: (name) => {
      if (name === "test") return source;
      const file = path.join(GUEST, `${name.slice("~lib/envoyscript-sdk/".length)}.ts`);
      try {
        return name.startsWith("~lib/envoyscript-sdk/") ? readFileSync(file, "utf8") : null;
      } catch {
        return null;
      }
    },
  });
  if (!module) throw new Error(diagnostics.map((d) => `${d.file}:${d.line} ${d.message}`).join("\n"));
  const binary = module.emitBinary();
  module.dispose();
  const wasm = new WebAssembly.Module(binary as Uint8Array<ArrayBuffer>);
  const imports: Record<string, Record<string, unknown>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(wasm)) {
    imports[from] ??= {};
    if (name !== "abort") imports[from][name] = () => 0;
  }
  const { exports } = instantiateSync(wasm, imports as never);
  const runtime = exports as unknown as {
    __newString(text: string): number;
    __getString(pointer: number): string;
    __newArrayBuffer(bytes: ArrayBuffer): number;
    _initialize?(): void;
  };
  runtime._initialize?.();
  return {
    exports: exports as unknown as Guest["exports"],
    give: (text) => runtime.__newString(text),
    take: (pointer) => runtime.__getString(pointer as number),
    giveBytes: (bytes) => runtime.__newArrayBuffer(bytes.slice().buffer),
  };
}
