// The tables of the benchmark, and what the issue asked for beside what was reached.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { build } from "../../host/compiler/index.js";
import type { Workload } from "./contenders.js";

export interface Row {
  workload: Workload;
  name: string;
  bytes: number | undefined;
  /** CPU µs per request, by round; `none` beside it, round by round. */
  rounds: number[];
  none: number[];
}

export interface Sizes {
  name: string;
  bytes: number;
  /** Seconds the compiler took, in a process where it is loaded: the median of three. */
  seconds: number;
}

const median = (list: number[]) => [...list].sort((a, b) => a - b)[list.length >> 1]!;

/** µs above an Envoy without the filter: median of paired rounds, and difference of the minima. */
export function cost(row: Row): { median: number; min: number } {
  return { median: median(row.rounds.map((value, i) => value - row.none[i]!)), min: Math.min(...row.rounds) - Math.min(...row.none) };
}

export function printRows(workload: Workload, rows: Row[]): void {
  const raw = rows.find((row) => row.name === "raw");
  console.log(`\n${workload === "live" ? "headers with 1,000 paused streams" : workload}`);
  console.log("contender     CPU µs/request (min)   cost: median    of minima   × raw   module bytes");
  for (const row of rows) {
    const { median: m, min } = cost(row);
    const ratio = raw && row.name !== "none" ? (min / cost(raw).min).toFixed(2) : "";
    console.log(
      `${row.name.padEnd(12)}  ${Math.min(...row.rounds)
        .toFixed(1)
        .padStart(
          20,
        )}  ${(row.name === "none" ? "" : m.toFixed(1)).padStart(13)}  ${(row.name === "none" ? "" : min.toFixed(1)).padStart(11)}  ${ratio.padStart(6)}  ${(row.bytes?.toLocaleString("en") ?? "").padStart(13)}`,
    );
  }
}

const REQUEST_ONLY = `
import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
@filter("request")
export class RequestOnly extends Filter<NoConfig> {
  handle(stream: Stream): void {
    if (stream.request.headers.get("x-user") === null) stream.request.headers.set("x-user", "anonymous");
  }
}`;
const WITH_NEXT = REQUEST_ONLY.replace("  }\n}", '    stream.next();\n    stream.response.headers.set("x-served", "yes");\n  }\n}');

export function sizes(): Sizes[] {
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-bench-"));
  try {
    const list: [string, string][] = [
      ["request headers only", write(directory, "request.ts", REQUEST_ONLY)],
      ["next() and response headers", write(directory, "next.ts", WITH_NEXT)],
      ["auth example", path.resolve(import.meta.dirname, "../../guest/examples/auth.ts")],
    ];
    return list.map(([name, file]) => {
      const seconds: number[] = [];
      let bytes = 0;
      for (let i = 0; i < 3; i++) {
        const started = performance.now();
        bytes = build([file]).wasm.length;
        seconds.push((performance.now() - started) / 1000);
      }
      return { name, bytes, seconds: median(seconds) };
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function write(directory: string, name: string, text: string): string {
  const file = path.join(directory, name);
  writeFileSync(file, text);
  return file;
}

export function printTargets(rows: Row[], modules: Sizes[]): void {
  console.log("\ntarget                                                   reached");
  const line = (what: string, value: string, ok: boolean) => console.log(`${what.padEnd(56)} ${ok ? "yes" : "NO "}  ${value}`);
  const find = (workload: Workload, name: string) => rows.find((row) => row.workload === workload && row.name === name);
  const ratio = (workload: Workload, name: string, limit: number) => {
    const ours = find(workload, name);
    const raw = find(workload, "raw");
    if (!ours || !raw) return;
    const value = cost(ours).min / cost(raw).min;
    line(`${workload}: ${name} ≤ ${limit} × raw`, `${value.toFixed(2)} (${cost(ours).min.toFixed(1)} against ${cost(raw).min.toFixed(1)} µs)`, value <= limit);
  };
  for (const style of ["linear", "low-level"]) {
    ratio("headers", style, 1.25);
    ratio("body", style, 1.15);
    ratio("callout", style, 1.15);
  }
  const linear = find("headers", "linear");
  const low = find("headers", "low-level");
  if (linear && low) {
    const more = cost(linear).min - cost(low).min;
    line("headers: linear ≤ low-level + 1.0 µs", `+${more.toFixed(1)} µs`, more <= 1);
  }
  for (const style of ["linear", "low-level"]) {
    const live = find("live", style);
    const plain = find("headers", style);
    if (!live || !plain) continue;
    const more = cost(live).min - cost(plain).min;
    line(`1,000 live streams change nothing: ${style}`, `${more >= 0 ? "+" : ""}${more.toFixed(1)} µs (noise is about ±1)`, more <= 1.5);
  }
  for (const [i, limit] of [8, 13, 20].entries())
    line(`${modules[i]!.name} ≤ ${limit} KB`, `${(modules[i]!.bytes / 1000).toFixed(1)} KB`, modules[i]!.bytes <= limit * 1000);
  for (const module of modules) line(`build of ${module.name} ≤ 3 s`, `${module.seconds.toFixed(1)} s`, module.seconds <= 3);
}
