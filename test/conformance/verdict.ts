// What a replay came to: the same, different as known, or different.
import { differences } from "./compare.js";
import type { Engine } from "./engine.js";
import { KNOWN } from "./known-differences.js";
import { runScenario } from "./replay.js";
import type { Trace } from "./scenario.js";

export type Verdict = { id: string; kind: "same" | "known" | "different" | "volatile"; found: string[]; reason?: string };

/** Replays one trace. */
export async function verdictOf({ scenario, observed }: Trace, engine: Engine): Promise<Verdict> {
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
