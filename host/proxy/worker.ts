// The thread in which `envoyscript run` lets the engine work: whatever a guest does, the process around it stays able to stop.
import { parentPort, workerData } from "node:worker_threads";
import { type EngineLogLine, startEngine } from "./engine.js";
import type { WorkerMessage, WorkerSettings } from "./launch.js";

const settings = workerData as WorkerSettings;
const beats = new Int32Array(settings.beats);
const send = (message: WorkerMessage): void => {
  flush();
  parentPort!.postMessage(message);
};

/** Log lines go together, and no further ahead of whoever writes them down than this. */
const BATCH = 500;
let batch = 1;
const AHEAD = 10_000;
let lines: EngineLogLine[] = [];
let sent = 0;

function flush(): void {
  if (lines.length === 0) return;
  sent += lines.length;
  parentPort!.postMessage({ kind: "log", lines } satisfies WorkerMessage);
  lines = [];
  // As a real Envoy, whose log is written before it goes on.
  for (let handled = Atomics.load(beats, 1); ((sent - handled) | 0) > AHEAD; handled = Atomics.load(beats, 1)) Atomics.wait(beats, 1, handled, 100);
}

function log(line: EngineLogLine): void {
  if (lines.push(line) === 1) setImmediate(flush);
  // While it starts, everything is told at once.
  if (lines.length >= batch) flush();
}

// The thread is alive as long as this counts.
setInterval(() => Atomics.add(beats, 0, 1), 200).unref();

const engine = startEngine({
  bootstrap: settings.bootstrap,
  file: settings.file,
  concurrency: settings.concurrency,
  wasmLogLevel: settings.wasmLogLevel,
  onLog: log,
  onOutput: (text) => send({ kind: "output", text }),
  onCrash: (signal, call) => send({ kind: "crash", signal, call }),
});
parentPort!.on("message", (message: "terminate") => {
  if (message === "terminate") engine.terminate();
});
engine.ready.then(
  () => {
    batch = BATCH;
    send({ kind: "ready", listeners: engine.listeners(), admin: engine.admin() });
  },
  () => {},
);
void engine.ended.then((how) => {
  send({ kind: "ended", how });
  // What is still written has a moment; sockets that hang have not.
  setTimeout(() => process.exit(0), 100).unref();
  parentPort!.close();
});
