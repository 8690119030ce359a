// The module under test: compiled from TypeScript once per text, or a .wasm as it is.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDirectory } from "../envoy/find.js";
import { upwards } from "../upwards.js";

export interface BuildSettings {
  /** Bytes of the VM's memory ceiling. */
  memory?: number;
  /** Loop turns and calls in one go. */
  budget?: number;
}

/** A module's path for a source or a .wasm; compiles where it has not been. */
export async function moduleFor(file: string | URL, settings: BuildSettings): Promise<string> {
  const absolute = file instanceof URL || file.startsWith("file:") ? fileURLToPath(file) : path.resolve(file);
  if (!existsSync(absolute)) throw new Error(`${file}: no such file`);
  if (!statSync(absolute).isFile()) throw new Error(`${file}: is a directory; name a .ts or a .wasm`);
  if (!absolute.endsWith(".ts")) return absolute;
  const key = createHash("sha256").update(toolchain()).update(JSON.stringify(settings));
  for (const source of sourcesOf(absolute)) key.update(source).update(readFileSync(source));
  const cached = path.join(cacheDirectory(), "test-modules", `${key.digest("hex").slice(0, 32)}.wasm`);
  if (existsSync(cached)) return cached;
  // The compiler takes a second to load: only where something is compiled.
  const { build } = await import("../compiler/index.js");
  const { wasm } = build([absolute], { cwd: path.dirname(absolute), inspect: true, ...settings });
  mkdirSync(path.dirname(cached), { recursive: true });
  const making = `${cached}.${process.pid}.${Math.random()}`;
  writeFileSync(making, wasm);
  renameSync(making, cached);
  return cached;
}

/** A file and what it imports by relative paths, and what those do. */
function sourcesOf(entry: string): string[] {
  const found = new Set<string>();
  const visit = (file: string) => {
    if (found.has(file) || !existsSync(file) || !statSync(file).isFile()) return;
    found.add(file);
    for (const [, target] of readFileSync(file, "utf8").matchAll(/\bfrom\s+["'](\.[^"']*)["']/g)) {
      const base = path.resolve(path.dirname(file), target!.replace(/\.js$/, ""));
      for (const candidate of [base, `${base}.ts`, path.join(base, "index.ts")]) visit(candidate);
    }
  };
  visit(entry);
  return [...found].sort();
}

let toolchainHash: string | undefined;

/** Whoever changes the compiler or the SDK gets new modules. */
function toolchain(): string {
  if (toolchainHash !== undefined) return toolchainHash;
  const here = path.dirname(fileURLToPath(import.meta.url));
  const sum = createHash("sha256");
  const roots = [
    upwards(here, (directory) => (existsSync(path.join(directory, "guest", "index.ts")) ? path.join(directory, "guest") : undefined)),
    path.join(here, "..", "compiler"),
    here,
  ];
  for (const root of roots) {
    if (root === undefined || !existsSync(root)) continue;
    for (const name of readdirSync(root, { recursive: true, encoding: "utf8" }).sort()) {
      if (/\.(ts|mjs)$/.test(name) && !name.includes("node_modules") && !name.includes(".test.")) sum.update(name).update(readFileSync(path.join(root, name)));
    }
  }
  toolchainHash = sum.digest("hex");
  return toolchainHash;
}
