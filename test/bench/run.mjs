// `npm run bench`: bundles the benchmark (it is TypeScript) and runs it.
import { mkdirSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";

const outfile = path.resolve(import.meta.dirname, "../../node_modules/.cache/envoyscript/bench.mjs");
mkdirSync(path.dirname(outfile), { recursive: true });
await build({
  entryPoints: [path.join(import.meta.dirname, "main.ts")],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  external: ["typescript", "assemblyscript", "assemblyscript/*", "wabt"],
  define: { "import.meta.dirname": JSON.stringify(import.meta.dirname) },
  logLevel: "warning",
});
await import(outfile);
