// Builds the same filters with other toolchains. A toolchain that is not there is a reason, not a failure; one that is there and cannot build is a failure.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const HERE = import.meta.dirname;
const ROOT = path.resolve(HERE, "../..");
const CACHE = path.join(ROOT, "node_modules", ".cache", "envoyscript", "toolchains");

export type Built = { wasm: string } | { missing: string };

function has(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const out = (command: string, args: string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}): string =>
  execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options }).trim();

/** Made once for what is in `folder` and `version`. */
function cached(folder: string, version: string, make: (file: string, scratch: string) => void): Built {
  const sum = createHash("sha256").update(version);
  for (const name of readdirSync(path.join(HERE, folder), { recursive: true, encoding: "utf8" }).sort())
    if (/\.(rs|toml|lock|go|mod|ts)$/.test(name)) sum.update(name).update(readFileSync(path.join(HERE, folder, name)));
  const wasm = path.join(CACHE, `${folder}-${sum.digest("hex").slice(0, 16)}.wasm`);
  if (existsSync(wasm)) return { wasm };
  mkdirSync(CACHE, { recursive: true });
  const scratch = mkdtempSync(path.join(tmpdir(), "envoyscript-toolchain-"));
  try {
    const made = path.join(scratch, "filters.wasm");
    make(made, scratch);
    const beside = `${wasm}.${process.pid}`;
    writeFileSync(beside, readFileSync(made));
    renameSync(beside, wasm);
    return { wasm };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

export function assemblyScript(): Built {
  return cached("assemblyscript", readFileSync(path.join(ROOT, "node_modules/@gcoredev/proxy-wasm-sdk-as/package.json"), "utf8"), (file) => {
    const options = ["-O", "--use", "abort=abort_proc_exit", "--path", "node_modules", "--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json"];
    out(process.execPath, ["node_modules/assemblyscript/bin/asc.js", "test/toolchains/assemblyscript/index.ts", "-o", file, ...options], { cwd: ROOT });
  });
}

export function go(): Built {
  if (!has("go", "version")) return { missing: "go is not on PATH" };
  const version = out("go", ["env", "GOVERSION"]);
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  if (Number(major) < 1 || Number(minor) < 24) return { missing: `${version} is older than 1.24, which go:wasmexport needs` };
  return cached("go", version, (file) => {
    const env = { ...process.env, GOOS: "wasip1", GOARCH: "wasm", GOFLAGS: "" };
    out("go", ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", file, "."], { cwd: path.join(HERE, "go"), env });
  });
}

interface Rust {
  version: string;
  rustc(args: string[]): void;
  target: string;
  linker: string[];
}

/** The installed compiler where it has a target for wasm; else Debian's, unpacked into the project's cache. */
function findRust(): Rust | string {
  if (!has("cargo", "--version")) return "cargo is not on PATH";
  for (const target of ["wasm32-wasip1", "wasm32-wasi"]) {
    if (!has("rustc", "--print", "target-libdir", "--target", target)) continue;
    if (!existsSync(out("rustc", ["--print", "target-libdir", "--target", target]))) continue;
    return { version: out("rustc", ["--version"]), target, linker: [], rustc: (args) => void out("rustc", args) };
  }
  if (!has("apt-get", "--version") || !has("dpkg-deb", "--version")) return "rustc has no wasm32 target, and there is no apt-get for Debian's";
  const debian = path.join(CACHE, "debian-rust");
  if (!existsSync(debian)) {
    mkdirSync(CACHE, { recursive: true });
    const scratch = mkdtempSync(path.join(CACHE, "debian-"));
    try {
      const depends = out("apt-cache", [
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
        "rustc",
      ]);
      const libraries = [...new Set(depends.match(/\b(?:libstd-rust-[\d.]+|libllvm\d+)\b/g) ?? [])];
      const lld = libraries.map((name) => /^libllvm(\d+)$/.exec(name)?.[1]).filter((major) => major !== undefined);
      out("apt-get", ["download", "rustc", "libstd-rust-dev-wasm32", ...libraries, ...lld.map((major) => `lld-${major}`)], { cwd: scratch });
      for (const name of readdirSync(scratch)) out("dpkg-deb", ["-x", path.join(scratch, name), path.join(scratch, "root")]);
      renameSync(path.join(scratch, "root"), debian);
    } catch (error) {
      return `rustc has no wasm32 target, and Debian's packages cannot be had: ${String((error as { stderr?: string }).stderr ?? error).split("\n")[0]}`;
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  const folders = readdirSync(path.join(debian, "usr/lib"));
  const llvm = folders.find((name) => /^llvm-\d+$/.test(name)) ?? "";
  const libraries = [...folders.filter((name) => name.endsWith("-linux-gnu")), path.join(llvm, "lib")].map((name) => path.join(debian, "usr/lib", name));
  const env = { ...process.env, LD_LIBRARY_PATH: libraries.join(":") };
  const binary = path.join(debian, "usr/bin/rustc");
  return {
    version: `Debian's ${out(binary, ["--version"], { env })}`,
    target: "wasm32-wasi",
    linker: ["-C", `linker=${path.join(debian, "usr/bin", llvm.replace("llvm", "wasm-ld"))}`],
    rustc: (args) => void out(binary, args, { env }),
  };
}

/** In the order in which they need one another. */
const CRATES: [name: string, version: string, edition: string, features: string[]][] = [
  ["cfg-if", "1.0.0", "2018", []],
  ["once_cell", "1.18.0", "2021", ["alloc", "race", "std"]],
  ["log", "0.4.20", "2018", []],
  ["ahash", "0.8.3", "2018", []],
  ["hashbrown", "0.13.2", "2021", ["ahash", "inline-more"]],
  ["proxy-wasm", "0.2.1", "2018", []],
];

export function rust(): Built {
  const found = findRust();
  if (typeof found === "string") return { missing: found };
  return cached("rust", found.version + found.target, (file, scratch) => {
    // Cargo only fetches: the newest cargo cannot drive Debian's older compiler.
    const sources = path.join(scratch, "vendor");
    out("cargo", ["vendor", "--locked", "--versioned-dirs", "--manifest-path", path.join(HERE, "rust/Cargo.toml"), sources]);
    const common = ["--target", found.target, "-C", "opt-level=s", "--cap-lints", "allow", "-L", scratch];
    const externs: string[] = [];
    for (const [name, version, edition, features] of CRATES) {
      const crate = name.replaceAll("-", "_");
      const enabled = features.flatMap((feature) => ["--cfg", `feature="${feature}"`]);
      const source = path.join(sources, `${name}-${version}`, "src/lib.rs");
      found.rustc(["--crate-name", crate, "--crate-type", "rlib", "--edition", edition, ...common, ...enabled, ...externs, "--out-dir", scratch, source]);
      externs.push("--extern", `${crate}=${path.join(scratch, `lib${crate}.rlib`)}`);
    }
    const source = path.join(HERE, "rust/src/lib.rs");
    found.rustc(["--crate-name", "filters", "--crate-type", "cdylib", "--edition", "2021", ...common, ...found.linker, ...externs, "-o", file, source]);
  });
}
