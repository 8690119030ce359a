// The probes that traces were recorded with: built once for what is in probes/ and for the compilers that build them.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

const HERE = path.join(import.meta.dirname, "probes");
const ROOT = path.resolve(import.meta.dirname, "../..");
const CACHE = path.join(ROOT, "node_modules", ".cache", "envoyscript");

const sum = createHash("sha256");
for (const file of ["recorder.ts", "wat.mjs"]) sum.update(readFileSync(path.join(HERE, file)));
for (const name of ["assemblyscript", "wabt"]) sum.update(readFileSync(path.join(ROOT, "node_modules", name, "package.json")));

/** Where they are, after `buildProbes`: recorder.wasm and wat/*.wasm. */
export const PROBES = path.join(CACHE, `probes-${sum.digest("hex").slice(0, 16)}`);

/** Makes them where they are not there yet. Two processes may do so at once. */
export async function buildProbes(): Promise<void> {
  if (existsSync(PROBES)) return;
  mkdirSync(CACHE, { recursive: true });
  const beside = mkdtempSync(path.join(CACHE, "probes-"));
  try {
    const options = ["-O3", "--noAssert", "--runtime", "stub", "--use", "abort=recorder/_abort", "--exportStart", "_initialize"];
    const asc = path.join(ROOT, "node_modules/assemblyscript/bin/asc.js");
    execFileSync(process.execPath, [asc, "recorder.ts", "-o", path.join(beside, "recorder.wasm"), "--baseDir", HERE, ...options], { cwd: HERE });

    mkdirSync(path.join(beside, "wat"));
    const [{ default: wabt }, { wat }] = await Promise.all([import("wabt"), import("./probes/wat.mjs")]);
    const { parseWat } = await wabt();
    for (const [name, text] of Object.entries(wat)) {
      // The text format wants imports before all else.
      const imports: string[] = [];
      const rest = text.replace(/\(import "[^"]*" "[^"]*" \((?:func|global|memory|table)[^()]*(?:\([^()]*\)[^()]*)*\)\)/g, (found) => {
        imports.push(found);
        return "";
      });
      const module = parseWat(name, rest.replace("(module", `(module ${imports.join("\n")}`), { threads: true });
      writeFileSync(path.join(beside, "wat", `${name}.wasm`), module.toBinary({ write_debug_names: true }).buffer);
      module.destroy();
    }
    renameSync(beside, PROBES);
  } catch (error) {
    if (!existsSync(PROBES)) throw error;
  } finally {
    rmSync(beside, { recursive: true, force: true });
  }
}
