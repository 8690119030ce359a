// Starts a real Envoy and stops it. Its log is read as it comes: lines of the wasm logger are told apart, and when Envoy refuses or dies its own reason is found.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface LogLine {
  level: string;
  logger: string;
  text: string;
}

export interface LaunchOptions {
  binary: string;
  /** Bootstrap configuration; JSON is YAML. */
  bootstrap: object;
  /** Envoy's worker threads. Default 1. */
  concurrency?: number;
  /** Level of Envoy's `wasm` logger. Default info. */
  wasmLogLevel?: string;
  onLog?(line: LogLine): void;
  /** Lines that are no log lines: the access log. */
  onOutput?(line: string): void;
}

export interface RunningEnvoy {
  /** `http://127.0.0.1:port` of the first listener. */
  url: string;
  adminUrl: string;
  pid: number;
  /** Resolves when Envoy has ended, however that came. */
  exited: Promise<{ code: number | null; signal: string | null; reason: string }>;
  stop(): Promise<void>;
}

const LOG_FORMAT = "\u0001%l\u0001%n\u0001%v";
const START_TIMEOUT = 30_000;

/** Starts Envoy and waits until its listener is up. Rejects with Envoy's own reason; nothing is left running or lying about then. */
export async function launchEnvoy(options: LaunchOptions): Promise<RunningEnvoy> {
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-"));
  const cleanUp = () => rmSync(directory, { recursive: true, force: true });
  const adminFile = path.join(directory, "admin");
  writeFileSync(path.join(directory, "envoy.json"), JSON.stringify(options.bootstrap));
  const child = spawn(
    options.binary,
    ["-c", path.join(directory, "envoy.json"), "--concurrency", String(options.concurrency ?? 1), "--use-dynamic-base-id", "--admin-address-path", adminFile, "--log-format", LOG_FORMAT, "--file-flush-interval-msec", "50", "--component-log-level", `wasm:${options.wasmLogLevel ?? "info"}`],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const reasons = new Reasons();
  const started = new Promise<void>((resolve) => {
    splitLines(child.stderr!, (line) => {
      if (!line.startsWith("\u0001")) {
        // A message with line breaks in it goes on here.
        reasons.more(line);
        return;
      }
      const [, level = "", logger = "", text = ""] = line.split("\u0001");
      reasons.add(level, text);
      if (logger === "main" && text.startsWith("starting main dispatch loop")) resolve();
      options.onLog?.({ level, logger, text });
    });
  });
  splitLines(child.stdout!, (line) => options.onOutput?.(line));
  const exited = new Promise<{ code: number | null; signal: string | null; reason: string }>((resolve) => {
    child.on("error", (error) => resolve({ code: null, signal: null, reason: error.message }));
    child.on("close", (code, signal) => resolve({ code, signal, reason: reasons.best(code, signal) }));
  }).finally(cleanUp);

  const timer = timeout(START_TIMEOUT);
  try {
    const outcome = await Promise.race([started.then(() => "up" as const), exited, timer.promise]);
    if (outcome === "late") throw new Error(`Envoy did not start within ${START_TIMEOUT / 1000} s`);
    if (outcome !== "up") throw new Error(`Envoy did not start: ${outcome.reason}`);
    const admin = readFileSync(adminFile, "utf8").trim();
    const adminUrl = `http://${admin}`;
    const listeners = await waitForListener(adminUrl, exited);
    return { url: `http://${listeners}`, adminUrl, pid: child.pid!, exited, stop: () => stop(child, exited) };
  } catch (error) {
    await stop(child, exited);
    throw error;
  } finally {
    timer.clear();
  }
}

async function waitForListener(adminUrl: string, exited: Promise<{ reason: string }>): Promise<string> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const answer = await Promise.race([
      fetch(`${adminUrl}/listeners?format=json`).then((r) => r.json() as Promise<{ listener_statuses?: { local_address: { socket_address: { address: string; port_value: number } } }[] }>),
      exited,
    ]);
    if ("reason" in answer) throw new Error(`Envoy did not start: ${answer.reason}`);
    const address = answer.listener_statuses?.[0]?.local_address.socket_address;
    if (address) return `${address.address}:${address.port_value}`;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("Envoy has no listener");
}

async function stop(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
  const timer = timeout(3000);
  if ((await Promise.race([exited, timer.promise])) === "late") {
    child.kill("SIGKILL");
    await exited;
  }
  timer.clear();
}

function timeout(ms: number): { promise: Promise<"late">; clear(): void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), ms);
  });
  return { promise, clear: () => clearTimeout(timer) };
}

/** Envoy's own words for why it ends: the last critical or error lines. */
class Reasons {
  private lines: { level: string; text: string }[] = [];

  add(level: string, text: string): void {
    if (level !== "error" && level !== "critical") return;
    this.lines.push({ level, text });
    if (this.lines.length > 20) this.lines.shift();
  }

  more(text: string): void {
    const last = this.lines.at(-1);
    if (last && text.trim() && last.text.length < 2000) last.text += ` ${text.trim()}`;
  }

  best(code: number | null, signal: string | null): string {
    const guest = this.lines.findLast((line) => line.text.startsWith("wasm log"));
    const own = this.lines.findLast((line) => line.level === "critical" && !line.text.startsWith("Caught")) ?? this.lines.findLast((line) => !line.text.startsWith("wasm log")) ?? this.lines.at(-1);
    const end = signal ? `killed by ${signal}` : `exit code ${code}`;
    if (!own) return end;
    const reason = guest && guest !== own ? `${guest.text.replace(/^wasm log[^:]*: /, "")} (${own.text})` : own.text;
    return signal ? `${reason} (${end})` : reason;
  }
}

function splitLines(stream: NodeJS.ReadableStream, handle: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) handle(line);
  });
  stream.on("end", () => {
    if (rest) handle(rest);
  });
}
