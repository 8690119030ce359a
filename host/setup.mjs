// What a fresh machine needs before anything runs: a Node that is new enough, the packages, the built command line. Uses nothing but Node.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const cli = path.join(root, "host", "dist", "envoyscript.mjs");

/** Ends the process with one line where something is missing. `command` is what the user called. */
export function setUp(command) {
  const fail = (message) => {
    console.error(`${command}: ${message}`);
    process.exit(1);
  };
  const step = (program, args, what) => {
    const { status, signal, error } = spawnSync(program, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
    if (status !== 0) fail(`${what}: ${error ? error.message : signal ? `ended by ${signal}` : "its own messages are above"}`);
  };

  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) fail(`Node ${process.versions.node} is too old; install 20.19 or later`);

  // npm writes this file last: an interrupted installation does not have it.
  const installed = path.join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed) || modified(installed) < modified(path.join(root, "package-lock.json"))) {
    console.log("installing packages (once) …");
    // npm is a script beside node on some systems and a .cmd on others; the one that called us is the surest.
    const npm = process.env.npm_execpath;
    const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
    if (npm?.endsWith("npm-cli.js")) step(process.execPath, [npm, ...args], "npm ci failed");
    else step("npm", args, "npm ci failed");
  }
  if (!existsSync(cli) || modified(cli) < newest(path.join(root, "host")))
    step(process.execPath, [path.join(root, "host", "build.mjs")], "the command line could not be built");
}

/** Runs a program of Node's in our place: its output, its signals and its exit code are ours. */
export function handOver(args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit" });
  // Ctrl-C in a terminal reaches the child by itself; a plain kill is passed on.
  process.on("SIGINT", () => {});
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("close", (code, signal) => {
    process.exitCode = signal ? 1 : (code ?? 1);
  });
}

function modified(file) {
  return statSync(file).mtimeMs;
}

function newest(directory) {
  let latest = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.name === "dist" || entry.name === "node_modules") continue;
    const full = path.join(directory, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newest(full) : modified(full));
  }
  return latest;
}
