// `npm run conformance`: sets up a fresh machine, bundles the replay (it is TypeScript) and runs it.
import { mkdirSync } from "node:fs";
import path from "node:path";
import { root, setUp } from "../../host/setup.mjs";

setUp("npm run conformance");

const { build } = await import("esbuild");
const outdir = path.join(root, "node_modules", ".cache", "envoyscript", "conformance");
mkdirSync(outdir, { recursive: true });
const here = {
  name: "here",
  setup(build) {
    // In a bundle every file would believe it lies where the bundle does; all that ask lie in this directory.
    build.initialOptions.define = { "import.meta.dirname": JSON.stringify(import.meta.dirname), "import.meta.url": JSON.stringify(import.meta.url) };
  },
};
try {
  await build({
    entryPoints: { main: path.join(import.meta.dirname, "main.ts"), record: path.join(import.meta.dirname, "record.ts") },
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["typescript", "assemblyscript", "assemblyscript/*", "wabt", "yaml", "@bufbuild/*"],
    plugins: [here],
    sourcemap: "inline",
    logLevel: "error",
  });
} catch {
  process.exit(1);
}
const record = process.argv[2] === "record";
if (record) process.argv.splice(2, 1);
await import(path.join(outdir, record ? "record.mjs" : "main.mjs"));
