// The embedded engine, in this process.

import { startEngine } from "../../host/proxy/engine.js";
import { LEVELS } from "../../host/vm/environment.js";
import type { Engine, LogEntry } from "./engine.js";

export const nodeEngine: Engine = {
  name: "node",
  start({ bootstrap, concurrency, wasmLogLevel, env }) {
    const log: LogEntry[] = [];
    let output = "";
    Object.assign(process.env, env);
    const engine = startEngine({
      bootstrap,
      file: "c.json",
      concurrency,
      wasmLogLevel: LEVELS.indexOf(wasmLogLevel as (typeof LEVELS)[number]),
      onLog: (line) => log.push({ ...line }),
      onOutput: (text) => {
        output += text;
      },
    });
    return {
      ready: engine.ready.catch(() => {}),
      ended: engine.ended,
      terminate: () => engine.terminate(),
      kill: () => engine.kill(),
      mark: (mark) => log.push({ mark }),
      log: () => log,
      output: () => output,
    };
  },
};
