// The thread in which `envoyscript run` lets the engine work: whatever a guest does, the process around it stays able to stop.
import { parentPort, workerData } from "node:worker_threads";
import { startEngine } from "./engine.js";
import type { WorkerMessage, WorkerSettings } from "./launch.js";

const settings = workerData as WorkerSettings;
const beats = new Int32Array(settings.beats);
const send = (message: WorkerMessage): void => parentPort!.postMessage(message);

// The thread is alive as long as this counts.
setInterval(() => Atomics.add(beats, 0, 1), 200).unref();

const engine = startEngine({
  bootstrap: settings.bootstrap,
  file: settings.file,
  concurrency: settings.concurrency,
  wasmLogLevel: settings.wasmLogLevel,
  onLog: (line) => send({ kind: "log", line }),
  onOutput: (text) => send({ kind: "output", text }),
  onCrash: (signal, call) => send({ kind: "crash", signal, call }),
});
parentPort!.on("message", (message: "terminate") => {
  if (message === "terminate") engine.terminate();
});
engine.ready.then(
  () => send({ kind: "ready", listeners: engine.listeners(), admin: engine.admin() }),
  () => {},
);
void engine.ended.then((how) => {
  send({ kind: "ended", how });
  // What is still written has a moment; sockets that hang have not.
  setTimeout(() => process.exit(0), 100).unref();
  parentPort!.close();
});
