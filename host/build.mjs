// Bundles the CLI to host/dist/envoyscript.mjs (what a command does not need is in chunks that are loaded when it does) and the editor plugin to host/dist/editor.cjs.
import { rmSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";

const root = import.meta.dirname;
const dist = path.join(root, "dist");
rmSync(dist, { recursive: true, force: true });

const external = ["typescript", "assemblyscript", "assemblyscript/*", "yaml", "ajv", "ajv/*"];
await build({
  entryPoints: { envoyscript: path.join(root, "cli/main.ts") },
  outdir: dist,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  external,
  banner: { js: '#!/usr/bin/env node\nimport { createRequire as __createRequire } from "node:module";\nconst require = __createRequire(import.meta.url);' },
  logLevel: "warning",
});
await build({
  entryPoints: { editor: path.join(root, "compiler/editor.ts") },
  outdir: dist,
  outExtension: { ".js": ".cjs" },
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20",
  plugins: [
    {
      // Syntax kinds are numbered by version: the rules use the TypeScript of the editor that loads them.
      name: "the-editors-typescript",
      setup(build) {
        build.onResolve({ filter: /^typescript$/ }, () => ({ path: "typescript", namespace: "editor" }));
        build.onLoad({ filter: /.*/, namespace: "editor" }, () => ({ contents: "module.exports = globalThis.__envoyscriptTypeScript;", loader: "js" }));
      },
    },
  ],
  logLevel: "warning",
});
