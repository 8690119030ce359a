// Bundles the TypeScript programs of a directory (benchmark, conformance) for Node.
import { mkdirSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import { root } from "../host/setup.mjs";

/** Writes `<name>.mjs` for each of `names` and returns a function from name to path. Ends the process where that fails; esbuild has said why. */
export async function bundle(directory, names) {
  const outdir = path.join(root, "node_modules", ".cache", "envoyscript", path.basename(directory));
  mkdirSync(outdir, { recursive: true });
  try {
    await build({
      entryPoints: Object.fromEntries(names.map((name) => [name, path.join(directory, `${name}.ts`)])),
      outdir,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      external: ["typescript", "assemblyscript", "assemblyscript/*", "wabt", "yaml", "vitest", "@bufbuild/*"],
      // In a bundle every file would believe it lies where the bundle does; all that ask lie in the directory.
      define: { "import.meta.dirname": JSON.stringify(directory), "import.meta.url": JSON.stringify(`file://${directory}/main.ts`) },
      sourcemap: "inline",
      logLevel: "error",
    });
  } catch {
    process.exit(1);
  }
  return (name) => path.join(outdir, `${name}.mjs`);
}
