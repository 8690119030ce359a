// Every recorded trace on the Node engine, and a selection of all areas on the real Envoy: the recordings are true, and the engine is like them.
import { beforeAll, describe, expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { AREAS, areaOf } from "./areas.js";
import { BUFFERS, CELLS, CHECKLIST, MAPS } from "./coverage.js";
import type { Engine } from "./engine.js";
import { envoyEngine } from "./envoy.js";
import { nodeEngine } from "./node.js";
import type { Trace } from "./scenario.js";
import { readTraces } from "./traces.js";
import { replayAll, type Verdict } from "./verdict.js";

const traces = readTraces();

function theSame(list: Trace[], engine: Engine, jobs: number): void {
  let verdicts: Map<string, Verdict>;
  beforeAll(async () => {
    verdicts = await replayAll(list, engine, { jobs, chances: 2 });
  }, 600_000);
  test.each(list.map(({ scenario }) => scenario.id))("%s", (id) => {
    const { kind, found } = verdicts.get(id)!;
    expect(kind === "different" ? found.join("\n") : "").toBe("");
  });
}

describe("the Node engine gives the trace of a real Envoy", () => theSame(traces, nodeEngine, 18));

describe.skipIf(process.env.ENVOYSCRIPT_ENGINE === "node")("a real Envoy still gives the trace that was recorded of it", async () => {
  // Two of each area.
  const chosen = AREAS.flatMap(([title]) => traces.filter(({ scenario }) => areaOf(scenario.id) === title && !scenario.volatile).slice(1, 3));
  theSame(chosen, envoyEngine((await findEnvoy()).path), 3);
});

test("every trace belongs to an area", () => {
  expect(traces.map(({ scenario }) => scenario.id).filter((id) => areaOf(id) === "other")).toEqual([]);
});

describe("the conformance checklist is covered", () => {
  const ids = traces.map(({ scenario }) => scenario.id);

  test.each(Object.entries(CHECKLIST))("%s", (_item, prefixes) => {
    expect(prefixes.filter((prefix) => !ids.some((id) => id.startsWith(prefix)))).toEqual([]);
  });

  test.each(Object.entries(CELLS))("every map and buffer in %s", (_place, id) => {
    const script = traces.find(({ scenario }) => scenario.id === id)?.scenario.plugins?.[0]?.script ?? "";
    for (const map of MAPS) for (const call of [`get ${map} `, `pairs ${map}`]) expect(script).toContain(call);
    for (const buffer of BUFFERS) for (const call of [`buf ${buffer} `, `bufstatus ${buffer}`]) expect(script).toContain(call);
    // Bodies are written by g18-* and b4-body-*: through a pointer that is left over it would be a write into memory nobody owns.
    for (const buffer of BUFFERS.slice(2)) expect(script).toContain(`setbuf ${buffer} `);
  });
});

test("none of the recorded traces is left out", () => {
  expect(traces.length).toBeGreaterThanOrEqual(495);
});
