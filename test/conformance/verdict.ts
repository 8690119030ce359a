// What a replay came to: the same, different as known, or different.
import { differences } from "./compare.js";
import type { Engine } from "./engine.js";
import { KNOWN } from "./known-differences.js";
import { runScenario } from "./replay.js";
import type { Trace } from "./scenario.js";

export type Verdict = { id: string; kind: "same" | "known" | "different" | "volatile"; found: string[]; reason?: string };

/** Replays one trace. */
async function verdictOf({ scenario, observed }: Trace, engine: Engine): Promise<Verdict> {
  const { id } = scenario;
  const known = KNOWN[id]?.find((entry) => entry.engine === engine.name);
  const found = differences(observed, await runScenario(scenario, engine));
  if (scenario.volatile) return { id, kind: "volatile", found: [] };
  if (found.length === 0)
    return known && !known.sometimes
      ? { id, kind: "different", found: [`it is in known-differences.ts, but does not differ any more (${known.reason})`] }
      : { id, kind: "same", found };
  return known ? { id, kind: "known", found, reason: known.reason } : { id, kind: "different", found };
}

/** Replays all, so many at a time; what differs then has more chances, alone: a busy machine moves what depends on milliseconds. */
export async function replayAll(
  traces: Trace[],
  engine: Engine,
  { jobs, chances, onVerdict = () => {} }: { jobs: number; chances: number; onVerdict?(done: number): void },
): Promise<Map<string, Verdict>> {
  const verdicts = new Map<string, Verdict>();
  const queue = [...traces];
  const lane = async () => {
    for (let trace = queue.shift(); trace; trace = queue.shift()) {
      verdicts.set(trace.scenario.id, await verdictOf(trace, engine));
      onVerdict(verdicts.size);
    }
  };
  await Promise.all(Array.from({ length: jobs }, lane));
  for (let chance = 0; chance < chances; chance++)
    for (const trace of traces) if (verdicts.get(trace.scenario.id)!.kind === "different") verdicts.set(trace.scenario.id, await verdictOf(trace, engine));
  return verdicts;
}
