// Asks a real Envoy whether it accepts a bootstrap: `--mode validate` loads the modules and hands them their configuration, but opens no port.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { LOG_FORMAT, Reasons, readLog } from "./log.js";

/** Envoy's reason for refusing; undefined where it accepts. `bootstrap` is an object or YAML text. */
export async function validate(binary: string, bootstrap: object | string): Promise<string | undefined> {
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-"));
  try {
    const file = path.join(directory, "envoy.yaml");
    writeFileSync(file, typeof bootstrap === "string" ? bootstrap : JSON.stringify(bootstrap));
    const child = spawn(binary, ["--mode", "validate", "-c", file, "--log-format", LOG_FORMAT], { stdio: ["ignore", "ignore", "pipe"] });
    const reasons = new Reasons();
    readLog(child.stderr, reasons, () => {});
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve([code, signal]));
    });
    return code === 0 ? undefined : reasons.best(code, signal);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
