import { build, BuildError, formatDiagnostics } from "./compiler/index.js";
import { writeFileSync } from "node:fs";
const t0 = performance.now();
try {
  const r = build(process.argv.slice(3), { debug: !!process.env.DEBUG });
  writeFileSync(process.argv[2]!, r.wasm);
  console.log(r.wasm.length, "bytes", (performance.now() - t0).toFixed(0), "ms", JSON.stringify(r.manifest).slice(0, 600));
  for (const w of r.warnings) console.log(w);
} catch (e) { if (e instanceof BuildError) { console.log(formatDiagnostics(e.diagnostics)); process.exit(1); } throw e; }
