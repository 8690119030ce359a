// `npm test`: sets up a fresh machine (packages, command line; Envoy is fetched by vitest's global set-up), then runs vitest with the arguments given.
import { spawn } from "node:child_process";
import path from "node:path";
import { root, setUp } from "../host/setup.mjs";

setUp("npm test");

const child = spawn(process.execPath, [path.join(root, "node_modules", "vitest", "vitest.mjs"), "run", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
});
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("close", (code, signal) => {
  process.exitCode = signal ? 1 : (code ?? 1);
});
