// `npm run conformance:record`: records our own scenarios on a real Envoy, twice each; only what came out the same both times is kept. A recording is never written by hand.
import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { findEnvoy } from "../../host/envoy/find.js";
import { differences } from "./compare.js";
import { envoyEngine } from "./envoy.js";
import { buildProbes } from "./probes.js";
import { runScenario } from "./replay.js";
import type { Scenario, Trace } from "./scenario.js";
import { GROUPS } from "./scenarios/index.js";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { all: { type: "boolean" }, jobs: { type: "string" } } });
const fileOf = (id: string) => path.join(import.meta.dirname, "traces", `${id}.json`);
const chosen = GROUPS.flatMap(({ scenarios }) => scenarios).filter(
  ({ id }) => (values.all || !existsSync(fileOf(id))) && (positionals.length === 0 || positionals.some((prefix) => id.startsWith(prefix))),
);
await buildProbes();
const engine = envoyEngine((await findEnvoy((line) => console.error(line))).path);
let recorded = 0;
const unsteady: string[] = [];

async function record(scenario: Scenario): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const first = await runScenario(scenario, engine);
    const found = differences(first, await runScenario(scenario, engine));
    if (found.length > 0 && !scenario.volatile) continue;
    const trace: Trace = { scenario, observed: first };
    writeFileSync(fileOf(scenario.id), `${JSON.stringify(trace, null, 1)}\n`);
    recorded++;
    return;
  }
  unsteady.push(scenario.id);
}

const queue = [...chosen];
await Promise.all(
  Array.from({ length: Number(values.jobs ?? 3) }, async () => {
    for (let scenario = queue.shift(); scenario; scenario = queue.shift()) await record(scenario);
  }),
);
console.log(`${recorded} recorded`);
if (unsteady.length > 0) {
  console.log(`not the same twice: ${unsteady.join(" ")}`);
  process.exitCode = 1;
}
