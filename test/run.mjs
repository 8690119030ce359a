// `npm test`: sets up what is missing, then runs all tests. Arguments go to vitest (npm test -- test/e2e).
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const installed = path.join(root, "node_modules", ".package-lock.json");
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(path.join(root, "package-lock.json")).mtimeMs) {
  console.log("installing packages (once) …");
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(1);
}
const built = spawnSync(process.execPath, [path.join(root, "host", "build.mjs")], { cwd: root, stdio: "inherit" });
if (built.status !== 0) process.exit(1);
const { status, signal } = spawnSync(process.execPath, [path.join(root, "node_modules", "vitest", "vitest.mjs"), "run", ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
process.exit(signal ? 1 : (status ?? 1));
