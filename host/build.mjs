// Bundles the CLI to host/dist/envoyscript.mjs (what a command does not need is in chunks that are loaded when it does), the testing API and the editor plugin.
// With --types also the types of the testing API: what a package has, and what nobody needs in the repository.
import { copyFileSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import { removeOldOutputs, writeOutputs } from "./outputs.mjs";

const root = import.meta.dirname;
const dist = path.join(root, "dist");

const external = ["assemblyscript", "assemblyscript/*", "yaml", "ajv", "ajv/*", "@bufbuild/*", "vitest"];
/** TypeScript is CommonJS: where Node imports it, it first searches the 9 MB for names to export, which takes longer than loading it. */
const requireTypeScript = {
  name: "require-typescript",
  setup(build) {
    build.onResolve({ filter: /^typescript$/ }, () => ({ path: "typescript", namespace: "required" }));
    build.onLoad({ filter: /.*/, namespace: "required" }, () => ({ contents: 'export default __createRequire(import.meta.url)("typescript");', loader: "js" }));
  },
};
const cli = await build({
  entryPoints: {
    envoyscript: path.join(root, "cli/main.ts"),
    "engine-worker": path.join(root, "proxy/worker.ts"),
    testing: path.join(root, "testing/index.ts"),
  },
  outdir: dist,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  write: false,
  format: "esm",
  platform: "node",
  target: "node20",
  external,
  plugins: [requireTypeScript],
  // commander is CommonJS: it asks for Node's modules with require().
  banner: { js: '#!/usr/bin/env node\nimport { createRequire as __createRequire } from "node:module";\nconst require = __createRequire(import.meta.url);' },
  logLevel: "warning",
});
const editor = await build({
  entryPoints: { editor: path.join(root, "compiler/editor.ts") },
  outdir: dist,
  outExtension: { ".js": ".cjs" },
  bundle: true,
  write: false,
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

writeOutputs(dist, [...editor.outputFiles, ...cli.outputFiles], "envoyscript.mjs");
// An installed package has no envoy/ beside it.
const requirements = path.join(dist, "requirements.txt");
copyFileSync(path.join(root, "../envoy/requirements.txt"), `${requirements}.${process.pid}`);
renameSync(`${requirements}.${process.pid}`, requirements);
const packing = process.argv.includes("--types");
removeOldOutputs(dist, [...editor.outputFiles, ...cli.outputFiles], ["requirements.txt", "types"], packing);
if (packing) await writeTypes();

/** Declarations of testing/index.ts and of what those name. */
async function writeTypes() {
  const { default: ts } = await import("typescript");
  const entry = path.join(root, "testing/index.ts");
  const { config } = ts.readConfigFile(path.join(root, "../tsconfig.json"), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, path.dirname(root));
  const program = ts.createProgram([entry], {
    ...options,
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    rootDir: root,
    outDir: path.join(dist, "types"),
  });
  const made = new Map();
  program.emit(undefined, (file, text) => made.set(path.resolve(file), text));
  const wanted = [path.join(dist, "types/testing/index.d.ts")];
  for (const file of wanted) {
    const text = made.get(file);
    for (const [, from] of text.matchAll(/(?:from|import\()\s*"(\.[^"]*)"/g)) {
      const found = path.resolve(path.dirname(file), from.replace(/\.js$/, ".d.ts"));
      if (!wanted.includes(found)) wanted.push(found);
    }
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}
