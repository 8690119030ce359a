// The targets of the project, and whether a run reached them.
import type { ModuleFigures } from "./modules.js";
import type { Results } from "./results.js";
import type { Estimate } from "./statistics.js";

export interface Target {
  target: string;
  value: number;
  unit: "×" | "µs" | "KB" | "s";
  range?: [number, number];
  limit: number;
  reached: boolean;
  /** The limit lies within the range: another run may say otherwise. */
  unclear: boolean;
}

/** Issue 3, section 8. What was not measured is left out. */
export function targets(results: Results, modules: ModuleFigures[]): Target[] {
  const list: Target[] = [];
  const add = (target: string, estimate: Estimate | undefined, limit: number, unit: Target["unit"]) => {
    if (!estimate) return;
    const { value, range } = estimate;
    const unclear = range !== undefined && range[0] <= limit && limit < range[1];
    list.push({ target, value, unit, ...(range ? { range } : {}), limit, reached: value <= limit, unclear });
  };
  const styles = ["linear", "low-level"];
  for (const [workload, limit] of [
    ["headers", 1.25],
    ["body", 1.15],
    ["callout", 1.15],
  ] as const)
    for (const style of styles) add(`${workload}: ${style} against raw`, results.cost(workload, style)?.timesRaw, limit, "×");
  add("headers: linear above low-level", results.difference("headers", "linear", "low-level"), 1, "µs");
  // Medians that lie 2 µs apart mean little (facts/performance.md); other AssemblyScript SDKs pay 29 and 54 µs here.
  for (const style of styles) add(`1,000 held streams: ${style}`, results.live(style), 1.5, "µs");
  for (const { name, bytes, limit } of modules) add(`module: ${name}`, { value: bytes / 1000 }, limit / 1000, "KB");
  for (const { name, seconds } of modules) add(`build: ${name}`, { value: seconds }, 3, "s");
  for (const { name, commandSeconds } of modules) add(`build on the command line: ${name}`, { value: commandSeconds }, 3, "s");
  return list;
}
