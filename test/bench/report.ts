// The tables of the benchmark.
import type { Workload } from "./contenders.js";
import type { ModuleFigures } from "./modules.js";
import type { Results } from "./results.js";
import { type Estimate, median } from "./statistics.js";
import type { Target } from "./targets.js";

const TITLES: Record<Workload, string> = {
  headers: "headers: read 3, add 1 on the request; add 1, remove 1 on the response",
  body: "body: a 4 KiB POST held whole, a count put into a request header (native: buffer, no count)",
  callout: "callout: one call before going on (native: ext_authz)",
  live: "headers with 1,000 paused streams held open",
  loops: "loops: 65,536 loop turns over a 4 KiB body",
};

const one = (value: number) => value.toFixed(1);
const bounds = ({ range }: Estimate, digits: number) => (range ? `${range[0].toFixed(digits)} – ${range[1].toFixed(digits)}` : "");
const signed = (value: number) => (value < 0 ? "" : "+") + one(value);

export function printWorkload(workload: Workload, results: Results): void {
  const live = workload === "live";
  const rows = results.rows.filter((row) => row.workload === workload);
  const table = rows.map((row) => {
    const cost = results.cost(workload, row.name);
    const added = results.live(row.name);
    return [
      row.name,
      one(median(row.rounds)),
      one(Math.min(...row.rounds)),
      cost ? one(cost.paired.value) : "",
      cost ? one(cost.minima) : "",
      cost ? bounds(cost.paired, 1) : "",
      cost?.timesRaw ? cost.timesRaw.value.toFixed(2) : "",
      ...(live ? [added ? signed(added.value) : "", added ? bounds(added, 1) : ""] : []),
      row.bytes?.toLocaleString("en") ?? "",
    ];
  });
  console.log(`\n${TITLES[workload]}`);
  const held = live ? ["streams add", "90 % range"] : [];
  print(["", "µs/request", "least", "cost", "of minima", "90 % range", "× raw", ...held, "module bytes"], table);
  if (workload !== "loops") return;
  const budget = results.difference("loops", "linear", "no-budget");
  if (budget)
    console.log(
      `the loop budget costs ${one(budget.value)} µs of ${one(results.cost("loops", "linear")!.paired.value)}: ${((budget.value / 65536) * 1000).toFixed(2)} ns per turn`,
    );
}

export function printModules(modules: ModuleFigures[]): void {
  console.log("\nmodules: size and build time");
  print(
    ["", "bytes", "build s", "command line s"],
    modules.map((m) => [m.name, m.bytes.toLocaleString("en"), m.seconds.toFixed(2), m.commandSeconds.toFixed(2)]),
  );
}

export function printTargets(targets: Target[]): void {
  if (targets.length === 0) return;
  console.log("\ntargets (ratios and differences: medians of paired rounds)");
  print(
    ["", "limit", "value", "90 % range", ""],
    targets.map((t) => {
      const digits = t.unit === "×" ? 2 : 1;
      const verdict = `${t.reached ? "reached" : "NOT REACHED"}${t.unclear ? ", but within the noise" : ""}`;
      return [
        t.target,
        `${t.limit} ${t.unit}`,
        `${t.value.toFixed(digits)} ${t.unit}`,
        bounds({ value: t.value, ...(t.range ? { range: t.range } : {}) }, digits),
        verdict,
      ];
    }),
    [4],
  );
}

/** A table: the first column (and those of `left`) to the left, the others to the right. */
function print(head: string[], rows: string[][], left: number[] = []): void {
  const lines = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  for (const line of lines) {
    const cells = line.map((cell, i) => (i === 0 || left.includes(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)));
    console.log(`  ${cells.join("   ")}`.trimEnd());
  }
}
