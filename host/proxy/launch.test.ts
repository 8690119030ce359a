// A thread that does not answer is ended, whatever keeps it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { launchNodeEngine } from "./launch.js";

const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-launch-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** An engine's thread that serves, beats a few times and then runs in circles. */
const worker = path.join(directory, "worker.mjs");
writeFileSync(
  worker,
  `import { parentPort, workerData } from "node:worker_threads";
const beats = new Int32Array(workerData.beats);
parentPort.postMessage({ kind: "ready", listeners: [{ name: "l", host: "127.0.0.1", port: 1 }], admin: undefined });
Atomics.add(beats, 0, 1);
setTimeout(() => { for (;;); }, 50);
`,
);

test("one that runs in circles is ended, with the reason", async () => {
  const engine = await launchNodeEngine({ bootstrap: {}, worker, stuckMs: 400 });
  expect(await engine.exited).toEqual({ code: 1, reason: "a filter has been in an endless loop for 0.4 s (a real Envoy's worker would hang in it)" });
  await engine.stop();
});

test("stop() does not wait for it", async () => {
  const engine = await launchNodeEngine({ bootstrap: {}, worker });
  await engine.stop();
  expect(await engine.exited).toEqual({ code: 1, reason: "it did not answer and was ended by force" });
});

test("one that fails says why", async () => {
  const failing = path.join(directory, "failing.mjs");
  writeFileSync(failing, 'throw new Error("no luck");\n');
  await expect(launchNodeEngine({ bootstrap: {}, worker: failing })).rejects.toThrow("the engine failed: no luck");
});
