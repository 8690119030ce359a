// `npm start`: needs nothing installed but Node and python3. Installs the packages, builds the command line, and runs the demonstration.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";

const root = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) fail(`Node ${process.versions.node} is too old: 20.19 or later is needed`);

const installed = path.join(root, "node_modules", ".package-lock.json");
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(path.join(root, "package-lock.json")).mtimeMs) {
  console.log("installing packages (once) …");
  step("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], "npm ci failed");
}

const cli = path.join(root, "host", "dist", "envoyscript.mjs");
if (!existsSync(cli) || statSync(cli).mtimeMs < newest(path.join(root, "host"))) step(process.execPath, [path.join(root, "host", "build.mjs")], "the command line could not be built");

const child = spawn(process.execPath, [cli, "demo", ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
// Ctrl-C reaches the child through the terminal; a plain kill is passed on.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("close", (code, signal) => {
  process.exitCode = signal ? 1 : (code ?? 1);
});

function step(command, args, failure) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) fail(error ? `${failure}: ${error.message}` : failure);
}

function newest(directory) {
  let latest = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.name === "dist" || entry.name === "node_modules") continue;
    const full = path.join(directory, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newest(full) : statSync(full).mtimeMs);
  }
  return latest;
}

function fail(message) {
  console.error(`npm start: ${message}`);
  process.exit(1);
}
