// `envoyscript build`: TypeScript in, one proxy-wasm module out.
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import path from "node:path";
import { buildOrExplain } from "./module.js";
import { bytes, paint } from "./terminal.js";

export interface BuildFlags {
  output?: string;
  memory?: number;
  budget?: number;
  debug?: boolean;
  json?: boolean;
}

export function runBuild(files: string[], flags: BuildFlags): void {
  const started = performance.now();
  const output = flags.output ?? files[0]!.replace(/\.ts$/, "").concat(".wasm");
  const { wasm, manifest } = buildOrExplain(files, {
    ...(flags.memory === undefined ? {} : { memory: flags.memory }),
    ...(flags.budget === undefined ? {} : { budget: flags.budget }),
    ...(flags.debug ? { debug: true } : {}),
  });
  writeAtomically(output, wasm);
  const ms = Math.round(performance.now() - started);
  if (flags.json) {
    console.log(JSON.stringify({ output, size: wasm.length, milliseconds: ms, manifest }, null, 2));
    return;
  }
  console.log(`${paint("green", output)}  ${bytes(wasm.length)} (${wasm.length.toLocaleString("en")} bytes), ${(ms / 1000).toFixed(1)} s`);
  for (const filter of manifest.filters) console.log(`  filter  ${paint("bold", filter.name)} ${paint("dim", `${filter.style}${filter.onError === "open" ? ", open on error" : ""}${filter.description ? `: ${filter.description.split("\n")[0]}` : ""}`)}`);
  console.log(`  exports ${manifest.callbacks.map((name) => name.replace("proxy_", "")).join(" ")}`);
}

/** Under a name of its own, flushed, then renamed: whoever reads sees the old file or the new one. */
export function writeAtomically(file: string, data: Uint8Array | string): void {
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  const making = path.join(path.dirname(path.resolve(file)), `.${path.basename(file)}.${process.pid}`);
  try {
    const descriptor = openSync(making, "w");
    try {
      writeSync(descriptor, data as Uint8Array);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(making, file);
  } catch (error) {
    rmSync(making, { force: true });
    throw error;
  }
}
