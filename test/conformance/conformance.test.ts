// Every recorded trace on the Node engine, and a selection of all areas on the real Envoy: the recordings are true, and the engine is like them.
import { afterAll, describe, expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { AREAS, areaOf } from "./areas.js";
import { BUFFERS, CELLS, CHECKLIST, MAPS } from "./coverage.js";
import type { Engine } from "./engine.js";
import { envoyEngine } from "./envoy.js";
import { nodeEngine } from "./node.js";
import type { Trace } from "./scenario.js";
import { readTraces } from "./traces.js";
import { verdictOf } from "./verdict.js";

const traces = readTraces();

/** Runs at most so many at a time. */
function lanes(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    else free--;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}

async function replay(trace: Trace, engine: Engine, lane: ReturnType<typeof lanes>, alone: ReturnType<typeof lanes>): Promise<void> {
  let verdict = await lane(() => verdictOf(trace, engine));
  // A busy machine moves what depends on milliseconds: what differs has another chance, one at a time.
  for (let attempt = 0; verdict.kind === "different" && attempt < 2; attempt++) verdict = await alone(() => verdictOf(trace, engine));
  expect(verdict.kind === "different" ? verdict.found.join("\n") : "").toBe("");
}

describe("the Node engine gives the trace of a real Envoy", () => {
  const lane = lanes(8);
  const alone = lanes(1);
  test.concurrent.each(traces.map((trace) => [trace.scenario.id, trace] as const))("%s", { timeout: 300_000 }, (_id, trace) =>
    replay(trace, nodeEngine, lane, alone),
  );
});

describe("a real Envoy still gives the trace that was recorded of it", async () => {
  const engine = envoyEngine((await findEnvoy()).path);
  const lane = lanes(3);
  const alone = lanes(1);
  // Two of each area.
  const chosen = AREAS.flatMap(([title]) => traces.filter(({ scenario }) => areaOf(scenario.id) === title && !scenario.volatile).slice(1, 3));
  test.concurrent.each(chosen.map((trace) => [trace.scenario.id, trace] as const))("%s", { timeout: 300_000 }, (_id, trace) =>
    replay(trace, engine, lane, alone),
  );
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

afterAll(() => {
  expect(traces.length).toBeGreaterThanOrEqual(495);
});
