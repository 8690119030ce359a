// Builds filters for tests, once per text: the result is kept in the project's cache under a hash of everything that goes into it.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type BuildOptions, build } from "../../host/compiler/index.js";

const ROOT = path.resolve(import.meta.dirname, "../..");
const CACHE = path.join(ROOT, "node_modules", ".cache", "envoyscript", "test-modules");

let toolchain: string | undefined;

/** A hash of the compiler and the SDK: whoever changes them gets new modules. */
function toolchainHash(): string {
  toolchain ??= hash(...sources(path.join(ROOT, "guest")), ...sources(path.join(ROOT, "host", "compiler")));
  return toolchain;
}

function sources(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.includes("node_modules") && !name.includes("examples"))
    .sort()
    .map((name) => path.join(directory, name))
    .filter((file) => statSync(file).isFile())
    .map((file) => readFileSync(file, "utf8"));
}

function hash(...texts: string[]): string {
  const sum = createHash("sha256");
  for (const text of texts) sum.update(`${text.length}:`).update(text);
  return sum.digest("hex");
}

/** Assembles a file of WebAssembly text. */
export function assemble(file: string): Promise<Uint8Array> {
  return assembleText(readFileSync(file, "utf8"), path.basename(file));
}

export async function assembleText(text: string, name = "text.wat"): Promise<Uint8Array> {
  const { default: wabt } = await import("wabt");
  const module = (await wabt()).parseWat(name, text, { exceptions: true });
  try {
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}

/** Builds filter source text (or a path ending in .ts) and returns the path of the .wasm. */
export function buildModule(source: string, options: BuildOptions = {}): string {
  const text = source.endsWith(".ts") ? readFileSync(path.resolve(ROOT, source), "utf8") : source;
  const file = path.join(CACHE, `${hash(toolchainHash(), text, JSON.stringify(options)).slice(0, 32)}.wasm`);
  if (existsSync(file)) return file;
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-test-"));
  try {
    const input = path.join(directory, "filter.ts");
    writeFileSync(input, text);
    const { wasm } = build([input], { cwd: directory, ...options });
    mkdirSync(CACHE, { recursive: true });
    const making = `${file}.${process.pid}.${Math.random()}`;
    writeFileSync(making, wasm);
    renameSync(making, file);
    return file;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
