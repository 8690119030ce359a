// The real Envoy as an engine.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Engine, LogEntry } from "./engine.js";

export const envoyEngine = (binary: string): Engine => ({
  name: "envoy",
  start({ bootstrap, concurrency, wasmLogLevel, env, args }) {
    const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-conformance-"));
    const file = path.join(directory, "c.json");
    writeFileSync(file, JSON.stringify(bootstrap));
    const fixed = ["-c", file, "--concurrency", String(concurrency), "-l", "warning", "--component-log-level", `wasm:${wasmLogLevel}`, "--disable-hot-restart"];
    const child = spawn(binary, [...fixed, "--log-format", "[%t][%n][%l] %v", "--file-flush-interval-msec", "100", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let stderr = "";
    let stdout = "";
    const marks: { at: number; mark: string }[] = [];
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    child.stdout.on("data", (data) => {
      stdout += data;
    });
    const ended = new Promise<number | string>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(signal ?? code ?? -1));
    }).finally(() => rmSync(directory, { recursive: true, force: true }));
    return {
      ended,
      terminate: () => child.kill("SIGTERM"),
      kill: () => child.kill("SIGKILL"),
      mark: (mark) => marks.push({ at: stderr.length, mark }),
      log: () => entries(stderr, marks, child.pid!),
      output: () => stdout,
    };
  },
});

function entries(stderr: string, marks: { at: number; mark: string }[], pid: number): LogEntry[] {
  const list: LogEntry[] = [];
  let position = 0;
  let next = 0;
  let dead = false;
  const addMarks = (until: number) => {
    for (let mark = marks[next]; mark && mark.at <= until; mark = marks[++next]) list.push({ mark: mark.mark });
  };
  for (const line of stderr.split("\n")) {
    addMarks(position);
    position += line.length + 1;
    const match = /^\[(\d+)\]\[([^\]]*)\]\[([a-z]+)\] (.*)$/.exec(line);
    if (match) {
      const [, thread, logger = "", level = "", text = ""] = match;
      if (logger === "backtrace") {
        if (/Caught/.test(text)) list.push({ thread: "worker", logger, level: "critical", text: text.replace(/, suspect.*/, "") });
        dead = true;
      } else list.push({ thread: Number(thread) === pid ? "main" : "worker", logger, level, text });
    } else if (line !== "" && !dead) {
      const last = list.at(-1);
      if (last && "text" in last) last.text += `\n${line}`;
      else list.push({ thread: "main", logger: "", level: "", text: line });
    }
  }
  addMarks(Number.POSITIVE_INFINITY);
  return list;
}
