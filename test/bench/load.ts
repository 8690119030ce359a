// Load on an Envoy and what it costs: wrk, or a small generator of our own where there is none; CPU time from /proc.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { temporary, tracked } from "./workspace.js";

export const CONNECTIONS = 32;
export const HEADERS: Record<string, string> = { "user-agent": "bench", accept: "*/*", "x-user": "ann" };
/** 4 KiB, 1,024 of them the byte that is counted. */
export const BODY = "a".repeat(1024) + "b".repeat(3072);

export type Generator = "wrk" | "node";

/** The generator asked for, or the best there is. Throws where wrk is asked for and missing. */
export function chooseGenerator(wanted: Generator | undefined): Generator {
  if (wanted === "node") return "node";
  if (!spawnSync("wrk", ["-v"]).error) return "wrk";
  if (wanted === "wrk") throw new Error("wrk is not on PATH: apt-get install wrk, or --load node");
  return "node";
}

/** Runs load for some seconds against a process; returns the CPU µs it took per completed request. `died` tells when that process ends. */
export async function measure(
  target: { url: string; pid: number; died: Promise<{ reason: string }> },
  post: boolean,
  seconds: number,
  generator: Generator,
): Promise<number> {
  const before = cpuTime(target.pid);
  const load = spawnLoad(generator, target.url, post, seconds);
  const outcome = await Promise.race([load, target.died]);
  if (typeof outcome !== "string") throw new Error(`Envoy ended under load: ${outcome.reason}`);
  const requests = Number(/(\d+) requests in/.exec(outcome)?.[1] ?? 0);
  if (requests === 0) throw new Error("no request was answered under load");
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(outcome)?.[1];
  if (bad) throw new Error(`${bad} of ${requests} answers under load were errors`);
  const broken = /Socket errors: connect (\d+), read (\d+), write (\d+)/.exec(outcome);
  if (broken?.slice(1).some((count) => count !== "0")) throw new Error(`connections broke under load: ${broken[0]}`);
  return (cpuTime(target.pid) - before) / requests;
}

function spawnLoad(generator: Generator, url: string, post: boolean, seconds: number): Promise<string> {
  const [command, args] = generator === "wrk" ? ["wrk", wrkArguments(url, post, seconds)] : [process.execPath, nodeArguments(url, post, seconds)];
  return new Promise((resolve, reject) => {
    const child = tracked(spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] }));
    let output = "";
    for (const stream of [child.stdout!, child.stderr!])
      stream.on("data", (data) => {
        output += data;
      });
    child.on("error", (error) => reject(new Error(`${command}: ${error.message}`)));
    child.on("close", (code) =>
      code === 0 ? resolve(output) : reject(new Error(`the load generator failed: ${output.trim().split("\n").at(-1) || `code ${code}`}`)),
    );
  });
}

let script: string | undefined;

function wrkArguments(url: string, post: boolean, seconds: number): string[] {
  script ??= temporary("post.lua", `wrk.method = "POST"\nwrk.body = ${JSON.stringify(BODY)}\n`);
  const headers = Object.entries(HEADERS).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  return ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, ...headers, ...(post ? ["-s", script] : []), `${url}/`];
}

function nodeArguments(url: string, post: boolean, seconds: number): string[] {
  const client = path.resolve(import.meta.dirname, "../../node_modules/.cache/envoyscript/bench/client.mjs");
  return [client, JSON.stringify({ url, seconds, connections: CONNECTIONS, headers: HEADERS, ...(post ? { body: BODY } : {}) })];
}

/** User and system time of a process in µs; the kernel counts ticks of 10 ms. */
function cpuTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}
