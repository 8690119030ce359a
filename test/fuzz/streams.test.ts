// Random streams give the same on the Node engine and on a real Envoy.
import fc from "fast-check";
import { expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { differences } from "../conformance/compare.js";
import { envoyEngine } from "../conformance/envoy.js";
import { nodeEngine } from "../conformance/node.js";
import { runScenario } from "../conformance/replay.js";
import type { Scenario } from "../conformance/scenario.js";
import { fuzzing } from "./settings.js";
import { scenarios } from "./streams.js";

test("random statuses, pieces and callouts", { timeout: 600_000 }, async () => {
  const { seed, numRuns } = fuzzing(60);
  const envoy = envoyEngine((await findEnvoy()).path);
  const compare = async (scenario: Scenario) => differences(await runScenario(scenario, envoy), await runScenario(scenario, nodeEngine));
  const queue = fc.sample(scenarios, { seed, numRuns });
  const suspects: Scenario[] = [];
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let scenario = queue.shift(); scenario; scenario = queue.shift()) if ((await compare(scenario)).length > 0) suspects.push(scenario);
    }),
  );
  // Run side by side they may have been moved by the machine: only what differs alone, three times, is a difference.
  const found: string[] = [];
  for (const scenario of suspects) {
    let differs = await compare(scenario);
    for (let attempt = 0; differs.length > 0 && attempt < 2; attempt++) differs = await compare(scenario);
    if (differs.length > 0) found.push(`${JSON.stringify(scenario, null, 1)}\n${differs.join("\n")}`);
  }
  expect(found.join("\n\n")).toBe("");
});
