// Bundles the CLI to dist/bazel-cache.mjs; what a command does not need is in chunks that are loaded when it does.
import path from "node:path";
import { build } from "esbuild";
import { removeOldOutputs, writeOutputs } from "../host/outputs.mjs";

const root = import.meta.dirname;
const dist = path.join(root, "dist");

const { outputFiles } = await build({
  entryPoints: { "bazel-cache": path.join(root, "cli/main.ts"), "hash-worker": path.join(root, "cache/hash-worker.mjs") },
  outdir: dist,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  write: false,
  format: "esm",
  platform: "node",
  target: "node20",
  // commander is CommonJS: it asks for Node's modules with require().
  banner: { js: '#!/usr/bin/env node\nimport { createRequire as __createRequire } from "node:module";\nconst require = __createRequire(import.meta.url);' },
  logLevel: "warning",
});
writeOutputs(dist, outputFiles, "bazel-cache.mjs");
removeOldOutputs(dist, outputFiles, [], process.env.npm_lifecycle_event === "prepack");
