// Compares what was observed with what was recorded, and says where the two part.
import type { Observation } from "./scenario.js";

/** The first difference of each field, readable; empty where all is the same. */
export function differences(recorded: Observation, observed: Observation): string[] {
  const found: string[] = [];
  if (recorded.started !== observed.started) found.push(`started: recorded ${recorded.started}, observed ${observed.started}`);
  if ((recorded.exit ?? undefined) !== observed.exit) found.push(`exit: recorded ${recorded.exit}, observed ${observed.exit}`);
  // Threads run side by side: what one logs has an order, what two log has none.
  for (const thread of ["main", "worker"]) {
    const own = (lines: string[]) => lines.filter((line) => !line.startsWith(thread === "main" ? "worker " : "main ")).map(comparable);
    const log = firstLine(own(recorded.log), own(observed.log));
    if (log) found.push(`log of the ${thread} thread, ${log}`);
  }
  for (const field of ["responses", "access_log", "upstream", "stats"] as const) {
    const [a, b] = [recorded, observed].map((observation) =>
      JSON.stringify(field === "access_log" ? observation.access_log?.filter(isOurs) : observation[field]),
    );
    if (a !== b) found.push(`${field}:\n    recorded ${around(a ?? "nothing", b ?? "nothing")}\n    observed ${around(b ?? "nothing", a ?? "nothing")}`);
  }
  return found;
}

/** What V8 itself prints goes to the same place as an access log. */
const isOurs = (line: string): boolean => !line.startsWith("wasm://wasm/");

/** Where a line is allowed to differ, and why. */
const TOLERATED: [RegExp, string][] = [
  // A real Envoy's node lists all extensions that are built into it.
  [/(propx\(xds\|node\) -> 0 len=)\d+/, "$1<any>"],
  // The words of the CEL parser are its own.
  [/expr_create parse error: .*/s, "expr_create parse error: <its own words>"],
  // Reasons are added.
  [/Failed to load Wasm bytecode \(.*\)/, "Failed to load Wasm bytecode"],
  [/Failed to (create new Wasm instance|initialize Wasm code) \(.*\)/, "Failed to $1"],
];

function comparable(line: string): string {
  return TOLERATED.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), line);
}

function firstLine(recorded: string[], observed: string[]): string | undefined {
  for (let i = 0; i < Math.max(recorded.length, observed.length); i++) {
    if (recorded[i] === observed[i]) continue;
    const context = recorded.slice(Math.max(0, i - 2), i).map((line) => `    ${line}`);
    return [`line ${i + 1}:`, ...context, `  - ${recorded[i] ?? "(end)"}`, `  + ${observed[i] ?? "(end)"}`].join("\n");
  }
  return undefined;
}

/** A text from a little before the place where it parts from the other. */
function around(text: string, other: string): string {
  let at = 0;
  while (at < text.length && text[at] === other[at]) at++;
  const start = Math.max(0, at - 60);
  return `${start > 0 ? "…" : ""}${text.slice(start, at + 240)}`;
}
