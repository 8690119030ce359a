// `envoyscript build`: TypeScript in, one proxy-wasm module out.
import { writeAtomically } from "./atomic.js";
import { usage } from "./failure.js";
import { buildOptions, buildOrExplain, type BuildFlags as CompileFlags } from "./module.js";
import { bytes, paint } from "./terminal.js";

export interface BuildFlags extends CompileFlags {
  output?: string;
  json?: boolean;
}

export async function runBuild(files: string[], flags: BuildFlags): Promise<void> {
  const started = performance.now();
  const wrong = files.find((file) => !file.endsWith(".ts"));
  if (wrong !== undefined) throw usage(`${wrong}: no TypeScript file; name files that end in .ts`);
  const output = flags.output ?? files[0]!.replace(/\.ts$/, "").concat(".wasm");
  const { wasm, manifest } = await buildOrExplain(files, buildOptions(flags));
  writeAtomically(output, wasm);
  const ms = Math.round(performance.now() - started);
  if (flags.json) {
    console.log(JSON.stringify({ output, size: wasm.length, milliseconds: ms, manifest }, null, 2));
    return;
  }
  console.log(`${paint("green", output)}  ${bytes(wasm.length)} (${wasm.length.toLocaleString("en")} bytes), ${(ms / 1000).toFixed(1)} s`);
  for (const filter of manifest.filters)
    console.log(
      `  filter  ${paint("bold", filter.name)} ${paint("dim", `${filter.style}${filter.onError === "open" ? ", open on error" : ""}${filter.description ? `: ${filter.description.split("\n")[0]}` : ""}`)}`,
    );
  console.log(`  exports ${manifest.callbacks.map((name) => name.replace("proxy_", "")).join(" ")}`);
}
