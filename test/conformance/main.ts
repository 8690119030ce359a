// `npm run conformance`: replays traces on the Node engine, on a real Envoy, or on both, and says how many are the same, by area.
import { parseArgs } from "node:util";
import { findEnvoy } from "../../host/envoy/find.js";
import { AREAS, areaOf } from "./areas.js";
import type { Engine } from "./engine.js";
import { envoyEngine } from "./envoy.js";
import { nodeEngine } from "./node.js";
import { buildProbes } from "./probes.js";
import { runScenario } from "./replay.js";
import { conformanceTable, knownDifferences } from "./table.js";
import { readTraces } from "./traces.js";
import { replayAll, type Verdict } from "./verdict.js";

const HELP = `Usage: npm run conformance -- [options] [id-prefix …]

Replays recorded traces of a real Envoy and compares log lines, answers and what upstreams got.
The engine is ENVOYSCRIPT_ENGINE: node, envoy or both (default: both).

  --jobs N     how many at the same time (default: 18 on node, 4 on envoy)
  --show ID    print what one trace gives now
  --table      print the README's table
  --json       print the verdicts as JSON
  --help`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { jobs: { type: "string" }, show: { type: "string" }, json: { type: "boolean" }, table: { type: "boolean" }, help: { type: "boolean" } },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (values.table) {
    console.log([...conformanceTable(readTraces()), "", ...knownDifferences()].join("\n"));
    return 0;
  }
  const which = process.env.ENVOYSCRIPT_ENGINE || "both";
  if (!["node", "envoy", "both"].includes(which)) {
    console.error(`conformance: ENVOYSCRIPT_ENGINE is "${which}": use node, envoy or both`);
    return 2;
  }
  await buildProbes();
  const engines: Engine[] = [];
  if (which !== "envoy") engines.push(nodeEngine);
  if (which !== "node") engines.push(envoyEngine((await findEnvoy((line) => console.error(line))).path));
  if (values.show !== undefined) {
    const [trace] = readTraces([values.show]);
    if (!trace) throw new Error(`there is no trace ${values.show}`);
    for (const engine of engines) console.log(JSON.stringify(await runScenario(trace.scenario, engine), null, 1));
    return 0;
  }
  const traces = readTraces(positionals);
  if (traces.length === 0) throw new Error(`no trace begins with ${positionals.join(" or ")}`);
  const all: Record<string, Verdict[]> = {};
  let bad = 0;
  for (const engine of engines) {
    const jobs = Number(values.jobs ?? (engine.name === "node" ? 18 : 4));
    if (!(jobs > 0)) throw new Error(`--jobs ${values.jobs}: must be a number`);
    const begin = performance.now();
    const onVerdict = (done: number) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${engine.name}: ${done} of ${traces.length} `);
    };
    const verdicts = [...(await replayAll(traces, engine, { jobs, chances: 1, onVerdict })).values()];
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
    verdicts.sort((a, b) => (a.id < b.id ? -1 : 1));
    all[engine.name] = verdicts;
    if (!values.json) report(engine.name, verdicts, (performance.now() - begin) / 1000);
    bad += verdicts.filter(({ kind }) => kind === "different").length;
  }
  if (values.json) console.log(JSON.stringify(all));
  return bad === 0 ? 0 : 1;
}

function report(name: string, verdicts: Verdict[], seconds: number): void {
  for (const { id, kind, found } of verdicts) if (kind === "different") console.log(`✗ ${id}\n  ${found.join("\n  ")}`);
  const count = (list: Verdict[], ...kinds: Verdict["kind"][]) => list.filter(({ kind }) => kinds.includes(kind)).length;
  console.log(`\n${name}: the same / replayed`);
  for (const title of [...AREAS.map(([area]) => area), "other"]) {
    const list = verdicts.filter(({ id }) => areaOf(id) === title);
    if (list.length === 0) continue;
    const ran = count(list, "volatile");
    console.log(
      `  ${String(count(list, "same", "volatile")).padStart(4)} / ${String(list.length).padEnd(4)} ${title}${ran ? ` (${ran} of them run only: their bytes change by themselves)` : ""}`,
    );
  }
  for (const { id, kind, reason } of verdicts) if (kind === "known") console.log(`  ~ ${id}: ${reason}`);
  const known = count(verdicts, "known");
  console.log(
    `${name}: ${count(verdicts, "same", "volatile")} of ${verdicts.length} the same, ${known} different as known, ${count(verdicts, "different")} different (${seconds.toFixed(0)} s)`,
  );
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`conformance: ${error instanceof Error ? error.message.split("\n", 1)[0] : error}`);
  process.exitCode = 2;
}
