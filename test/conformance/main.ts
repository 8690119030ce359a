// `npm run conformance`: replays traces on the Node engine, on a real Envoy, or on both, and says how many are the same, by area.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { findEnvoy } from "../../host/envoy/find.js";
import { differences } from "./compare.js";
import type { Engine } from "./engine.js";
import { envoyEngine } from "./envoy.js";
import { nodeEngine } from "./node.js";
import { runScenario } from "./replay.js";
import type { Trace } from "./scenario.js";

const args = process.argv.slice(2);
const option = (name: string): string | undefined => {
  const at = args.indexOf(name);
  return at < 0 ? undefined : args.splice(at, 2)[1];
};
const jobs = Number(option("--jobs") ?? 8);
const verbose = args.includes("-v");
const prefixes = args.filter((arg) => !arg.startsWith("-"));

const directory = path.join(import.meta.dirname, "traces");
const traces = readdirSync(directory)
  .sort()
  .map((file) => JSON.parse(readFileSync(path.join(directory, file), "utf8")) as Trace)
  .filter(({ scenario }) => prefixes.length === 0 || prefixes.some((prefix) => scenario.id.startsWith(prefix)));

const which = process.env.ENVOYSCRIPT_ENGINE ?? "node";
const engines: Engine[] = [];
if (which !== "envoy") engines.push(nodeEngine);
if (which !== "node") engines.push(envoyEngine((await findEnvoy((line) => console.error(line))).path));

for (const engine of engines) {
  const begin = performance.now();
  const queue = [...traces];
  let same = 0;
  let volatile = 0;
  const different: { id: string; found: string[] }[] = [];
  const work = async () => {
    for (let trace = queue.shift(); trace; trace = queue.shift()) {
      const { scenario, observed } = trace;
      const found = differences(observed, await runScenario(scenario, engine));
      if (found.length === 0) same++;
      else if (scenario.volatile) volatile++;
      else different.push({ id: scenario.id, found });
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  different.sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const { id, found } of different) console.log(`DIFF ${id}${verbose ? `\n  ${found.join("\n  ")}` : `  ${found[0]!.split("\n").slice(0, 1)}`}`);
  console.log(`${engine.name}: ${same} the same, ${volatile} volatile, ${different.length} different, ${((performance.now() - begin) / 1000).toFixed(1)} s`);
}
process.exit(0);
