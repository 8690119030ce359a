// The README's table of the conformance suite: how many traces there are of each area, and how many differ on the Node engine.
import { AREAS, areaOf } from "./areas.js";
import { KNOWN } from "./known-differences.js";
import type { Trace } from "./scenario.js";

/** Lines of Markdown. */
export function conformanceTable(traces: Trace[]): string[] {
  const ids = traces.map(({ scenario }) => scenario.id);
  const differs = (id: string) => KNOWN[id]?.some(({ engine }) => engine === "node") ?? false;
  const row = (title: string, list: string[]) => `| ${title} | ${list.length} | ${list.filter(differs).length || "–"} |`;
  const rows = AREAS.map(([title]) =>
    row(
      title,
      ids.filter((id) => areaOf(id) === title),
    ),
  );
  return ["| area | traces | known to differ |", "|---|---|---|", ...rows, row("**all**", ids)];
}

/** One line per reason. */
export function knownDifferences(): string[] {
  const reasons = new Map<string, string[]>();
  for (const [id, entries] of Object.entries(KNOWN))
    for (const { engine, reason } of entries) if (engine === "node") reasons.set(reason, [...(reasons.get(reason) ?? []), id]);
  return [...reasons].map(([reason, ids]) => `- ${ids.map((id) => `\`${id}\``).join(", ")}: ${reason}.`);
}
