// `npm run bench`: sets up a fresh machine, bundles the benchmark (it is TypeScript) and runs it.
import { mkdirSync } from "node:fs";
import path from "node:path";
import { root, setUp } from "../../host/setup.mjs";

setUp("npm run bench");

const { build } = await import("esbuild");
const outdir = path.join(root, "node_modules", ".cache", "envoyscript", "bench");
mkdirSync(outdir, { recursive: true });
try {
  await build({
    entryPoints: {
      bench: path.join(import.meta.dirname, "main.ts"),
      engine: path.join(import.meta.dirname, "engine.ts"),
      client: path.join(import.meta.dirname, "client.ts"),
    },
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["typescript", "assemblyscript", "assemblyscript/*", "wabt", "yaml", "vitest", "@bufbuild/*"],
    // In a bundle every file would believe it lies where the bundle does.
    define: { "import.meta.dirname": JSON.stringify(import.meta.dirname) },
    logLevel: "error",
  });
} catch {
  process.exit(1);
}
const engine = process.argv[2] === "engine";
if (engine) process.argv.splice(2, 1);
await import(path.join(outdir, engine ? "engine.mjs" : "bench.mjs"));
