// What a run leaves behind if nobody cleans up: temporary files, load generators, Envoys. All of it ends here, however the run ends.
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-bench-"));
const children = new Set<ChildProcess>();
const closers = new Set<() => Promise<void> | void>();
let ending = false;

// Every Envoy listens for our end.
process.setMaxListeners(0);

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** Writes a file that lives as long as the run; returns its path. */
export function temporary(name: string, content: string | Uint8Array): string {
  const file = path.join(directory, name);
  writeFileSync(file, content);
  return file;
}

/** A child that does not outlive the run. */
export function tracked(child: ChildProcess): ChildProcess {
  children.add(child);
  child.on("close", () => children.delete(child));
  return child;
}

/** Registers what has to be closed at the end; the function returned closes it now. */
export function closing(close: () => Promise<void> | void): () => Promise<void> {
  closers.add(close);
  return async () => {
    closers.delete(close);
    await close();
  };
}

export const isEnding = (): boolean => ending;

/** Closes everything and ends the process. */
export async function end(code: number): Promise<never> {
  ending = true;
  for (const child of children) child.kill("SIGKILL");
  await Promise.allSettled([...closers].map((close) => close()));
  process.exit(code);
}

/** From now on signals, and a reader of our output that went away, end the run cleanly; a second signal ends it at once. */
export function endOnSignals(): void {
  const numbers = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;
  const interrupted = (code: number) => {
    if (ending) process.exit(code);
    if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
    void end(code);
  };
  for (const [signal, number] of Object.entries(numbers)) process.on(signal, () => interrupted(128 + number));
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => interrupted(1));
}
