// `npm start`: needs nothing installed but Node and python3. Installs the packages, builds the command line, and runs the demonstration.
import { spawn } from "node:child_process";
import { cli, root, setUp } from "./host/setup.mjs";

setUp("npm start");

const child = spawn(process.execPath, [cli, "demo", ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
// Ctrl-C in a terminal reaches the child by itself; a plain kill is passed on.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("close", (code, signal) => {
  process.exitCode = signal ? 1 : (code ?? 1);
});
