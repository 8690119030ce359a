// Modules of other toolchains: the same filters in Rust, Go and AssemblyScript behave on the Node engine as on a real Envoy.
import { describe, expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { differences } from "../conformance/compare.js";
import { envoyEngine } from "../conformance/envoy.js";
import { nodeEngine } from "../conformance/node.js";
import { runScenario } from "../conformance/replay.js";
import type { Observation } from "../conformance/scenario.js";
import { assemblyScript, type Built, go, rust } from "./build.js";
import { FILTERS, scenarioOf } from "./scenarios.js";

const TOOLCHAINS: [name: string, build: () => Built][] = [
  ["Rust, the proxy-wasm crate", rust],
  ["Go, straight against the ABI", go],
  ["AssemblyScript, @gcoredev/proxy-wasm-sdk-as", assemblyScript],
];

/** What has to be seen whatever the toolchain, so that two engines that both do nothing are not "the same". */
const EXPECTED: Partial<Record<(typeof FILTERS)[number], (seen: Observation) => void>> = {
  headers: ({ upstream, responses }) => {
    expect(JSON.stringify(upstream)).toContain("x-path: /a?b=c");
    expect(JSON.stringify(upstream)).not.toContain("secret");
    expect(JSON.stringify(responses)).toContain("x-status: 200");
  },
  body: ({ upstream }) => expect(JSON.stringify(upstream)).toContain("[HELLO WORLD]"),
  callout: ({ upstream }) => expect(JSON.stringify(upstream)).toContain("x-user: ann"),
  "callout-denied": ({ responses }) => expect(JSON.stringify(responses)).toMatch(/403 Forbidden.*x-why: callout.*denied/),
  shared: ({ upstream }) => for123(JSON.stringify(upstream)),
  queue: ({ log }) =>
    expect(log.filter((line) => line.includes("took /")).map((line) => line.slice(line.indexOf("took")))).toEqual(["took /first", "took /second"]),
  metrics: ({ responses }) => expect(JSON.stringify(responses)).toMatch(/tool_open: 7.*tool_requests: 2/),
  properties: ({ log }) => {
    for (const line of ["path /a?b=c", "root r1", "mark set", "code details via_upstream"]) expect(log.join("\n")).toContain(line);
  },
  tcp: ({ upstream, log }) => {
    expect(JSON.stringify(upstream)).toContain("HELLOAGAIN");
    expect(log.join("\n")).toContain("upstream sent 6");
  },
  unknown: ({ started, log }) => {
    expect(started).toBe(false);
    expect(log.join("\n")).toContain("Failed to configure base Wasm plugin");
  },
};

function for123(text: string): void {
  for (const count of [1, 2, 3]) expect(text).toContain(`x-count: ${count}`);
}

describe.each(TOOLCHAINS)("%s", async (name, build) => {
  const built = build();
  if ("missing" in built) {
    test.skip(`not built: ${built.missing}`, () => {});
    return;
  }
  const envoy = envoyEngine((await findEnvoy()).path);
  test.concurrent.each(FILTERS)("%s", { timeout: 120_000 }, async (filter) => {
    const scenario = scenarioOf(name.split(",")[0]!, filter, built.wasm);
    const real = await runScenario(scenario, envoy);
    let here = await runScenario(scenario, nodeEngine);
    // A busy machine moves what depends on milliseconds.
    if (differences(real, here).length > 0) here = await runScenario(scenario, nodeEngine);
    expect(differences(real, here).join("\n")).toBe("");
    EXPECTED[filter]?.(real);
  });
});
