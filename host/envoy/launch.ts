// Starts a real Envoy and stops it. Its log is read as it comes: lines of the wasm logger are told apart, and when Envoy refuses or dies its own reason is found.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { LOG_FORMAT, type LogLine, Reasons, readLog, splitLines } from "./log.js";

export type { LogLine } from "./log.js";

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
  /** Ends it, also while it starts. */
  signal?: AbortSignal;
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

const START_TIMEOUT = 30_000;

/** Starts Envoy and waits until its listener is up. Rejects with Envoy's own reason; nothing is left running or lying about then. */
export async function launchEnvoy(options: LaunchOptions): Promise<RunningEnvoy> {
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-"));
  const cleanUp = () => rmSync(directory, { recursive: true, force: true });
  const adminFile = path.join(directory, "admin");
  writeFileSync(path.join(directory, "envoy.json"), JSON.stringify(options.bootstrap));
  const child = spawn(
    options.binary,
    [
      "-c",
      path.join(directory, "envoy.json"),
      "--concurrency",
      String(options.concurrency ?? 1),
      "--use-dynamic-base-id",
      "--admin-address-path",
      adminFile,
      "--log-format",
      LOG_FORMAT,
      "--file-flush-interval-msec",
      "50",
      "--component-log-level",
      `wasm:${options.wasmLogLevel ?? "info"}`,
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  // Should this process end without a stop (an error nobody caught), Envoy does not outlive it.
  const atExit = () => {
    child.kill("SIGKILL");
    cleanUp();
  };
  process.on("exit", atExit);
  const reasons = new Reasons();
  const started = new Promise<void>((resolve) => {
    readLog(child.stderr!, reasons, (line) => {
      if (line.logger === "main" && line.text.startsWith("starting main dispatch loop")) {
        reasons.start();
        resolve();
      }
      options.onLog?.(line);
    });
  });
  splitLines(child.stdout!, (line) => options.onOutput?.(line));
  const exited = new Promise<{ code: number | null; signal: string | null; reason: string }>((resolve) => {
    child.on("error", (error) => resolve({ code: null, signal: null, reason: error.message }));
    child.on("close", (code, signal) => resolve({ code, signal, reason: reasons.best(code, signal) }));
  }).finally(() => {
    process.off("exit", atExit);
    cleanUp();
  });

  const abort = () => child.kill("SIGTERM");
  if (options.signal?.aborted) abort();
  else options.signal?.addEventListener("abort", abort, { once: true });
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
      fetch(`${adminUrl}/listeners?format=json`).then(
        (r) => r.json() as Promise<{ listener_statuses?: { local_address: { socket_address: { address: string; port_value: number } } }[] }>,
      ),
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
