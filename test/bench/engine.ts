// `npm run bench engine`: what the Node engine costs. A mount, a request in process, and its proxy under the same load as a real Envoy at the same time.

import { spawnSync } from "node:child_process";
import path from "node:path";
import { parseArgs } from "node:util";
import { build } from "../../host/compiler/index.js";
import { mount } from "../../host/testing/index.js";
import { type Contender, contenders } from "./contenders.js";
import { startNodeEngine, startUnderTest, startUpstream } from "./envoys.js";
import { chooseGenerator, measure } from "./load.js";
import { pin, pinned } from "./pin.js";
import { estimate, median, ratio } from "./statistics.js";
import { verify } from "./verify.js";
import { end, endOnSignals, temporary } from "./workspace.js";

const HELP = `npm run bench engine -- [options]

  --rounds N     rounds in which the engine's proxy and a real Envoy run together  (5)
  --seconds S    of load per round                                                (3)
  --json         one JSON document on stdout instead of a table
`;

const CONCURRENT = 32;

interface Figure {
  name: string;
  value: string;
  target?: string;
  reached?: boolean;
}

const number = (value: number, digits = 0): string => value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits });

/** Milliseconds of mount + one request + close. */
async function mountCycle(file: string): Promise<number> {
  const start = performance.now();
  const envoy = await mount(file, { engine: "node", config: { greeting: "hello" } });
  await envoy.fetch("/");
  await envoy.close();
  return performance.now() - start;
}

/** The first cycle of five fresh processes, and the median of many in this one. */
async function mountCycles(file: string): Promise<{ first: number; later: number }> {
  const first = Array.from({ length: 5 }, () => {
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [path.resolve(import.meta.dirname, "../../node_modules/.cache/envoyscript/bench/engine.mjs"), "--first", file],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`a mount in a process of its own failed: ${stderr.trim()}`);
    return Number(stdout);
  });
  const later: number[] = [];
  for (let i = 0; i < 100; i++) later.push(await mountCycle(file));
  return { first: median(first), later: median(later) };
}

/** Requests per second and CPU µs of a request through `envoy.fetch`: the best of five runs, for other work on the machine only makes it slower. */
async function inProcess(file: string, lanes: number): Promise<{ rate: number; cpu: number }> {
  const envoy = await mount(file, { engine: "node", config: { greeting: "hello" }, leaks: false });
  let best = { rate: 0, cpu: Number.POSITIVE_INFINITY };
  for (let run = 0; run < 6; run++) {
    const count = 10_000;
    const before = process.cpuUsage();
    const start = performance.now();
    await Promise.all(
      Array.from({ length: lanes }, async () => {
        for (let i = 0; i < count / lanes; i++) await envoy.fetch("/");
      }),
    );
    const seconds = (performance.now() - start) / 1000;
    const used = process.cpuUsage(before);
    // The first run warms up.
    if (run > 0 && count / seconds > best.rate) best = { rate: count / seconds, cpu: (used.user + used.system) / count };
  }
  await envoy.close();
  return best;
}

/** CPU µs of a request: the engine's proxy and a real Envoy, both on the same core under load at the same time. */
async function proxies(contender: Contender, rounds: number, seconds: number): Promise<{ node: number[]; envoy: number[] }> {
  const generator = chooseGenerator(undefined);
  const upstream = await startUpstream();
  const targets = { upstream: upstream.url, auth: upstream.url, never: upstream.url };
  const node = await startNodeEngine(contender, targets);
  const real = await startUnderTest(contender, targets);
  for (const proxy of [node, real]) await verify(contender, proxy, "headers", upstream);
  const costs: { node: number[]; envoy: number[] } = { node: [], envoy: [] };
  // Round 0 is not counted: V8 compiles, pools fill.
  for (let round = 0; round <= rounds; round++) {
    const [ofNode, ofEnvoy] = await Promise.all([
      measure({ ...node, died: node.exited }, false, seconds, generator),
      measure({ ...real, died: real.exited }, false, seconds, generator),
    ]);
    if (round === 0) continue;
    costs.node.push(ofNode);
    costs.envoy.push(ofEnvoy);
  }
  return costs;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "3" },
      json: { type: "boolean", default: false },
      first: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.first !== undefined) {
    process.stdout.write(String(await mountCycle(values.first)));
    return;
  }
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const { wasm } = build([path.join(import.meta.dirname, "../../guest/examples/headers.ts")], { cwd: import.meta.dirname });
  const file = temporary("headers.wasm", wasm);
  const cycles = await mountCycles(file);
  const sequential = await inProcess(file, 1);
  const concurrent = await inProcess(file, CONCURRENT);
  // From here on this process only makes load.
  pin(process.pid, "other");
  const list = await contenders("headers", ["linear"]);
  const costs = await proxies(list.find(({ name }) => name === "linear")!, Number(values.rounds), Number(values.seconds));
  const node = estimate(costs.node);
  const envoy = estimate(costs.envoy);
  const times = ratio(costs.node, costs.envoy);
  const perCore = 1e6 / node.value;
  const best = Math.max(sequential.rate, concurrent.rate);
  const figures: Figure[] = [
    { name: "mount + 1 request + close, the first in a process", value: `${number(cycles.first, 1)} ms`, target: "≤ 30 ms", reached: cycles.first <= 30 },
    { name: "mount + 1 request + close, after that", value: `${number(cycles.later, 1)} ms`, target: "≤ 30 ms", reached: cycles.later <= 30 },
    { name: "envoy.fetch, one after the other", value: `${number(sequential.rate)} requests/s, ${number(sequential.cpu)} µs CPU` },
    {
      name: `envoy.fetch, ${CONCURRENT} at a time`,
      value: `${number(concurrent.rate)} requests/s, ${number(concurrent.cpu)} µs CPU`,
      target: "≥ 20,000/s (either)",
      reached: best >= 20_000,
    },
    {
      name: `embedded proxy, headers filter${pinned ? ", one core" : ""}`,
      value: `${number(node.value)} µs CPU a request: ${number(perCore)} requests/s of one core`,
      target: "≥ 8,000/s",
      reached: perCore >= 8000,
    },
    {
      name: "real Envoy, the same filter, core and time",
      value: `${number(envoy.value)} µs CPU a request: ${number(1e6 / envoy.value)} requests/s of one core`,
    },
    {
      name: "embedded proxy ÷ real Envoy, CPU",
      value: `${number(times.value, 2)} ${times.range ? `(${times.range.map((bound) => number(bound, 2)).join("–")})` : ""}`,
    },
  ];
  if (values.json) {
    console.log(JSON.stringify({ cycles, sequential, concurrent, costs, figures }, null, 2));
    return;
  }
  for (const { name, value, target, reached } of figures)
    console.log(`${name.padEnd(52)} ${value.padEnd(60)} ${target ? `${reached ? "✓" : "✗"} ${target}` : ""}`.trimEnd());
}

endOnSignals();
try {
  await main();
  await end(0);
} catch (error) {
  console.error(`npm run bench engine: ${(error as Error).message}`);
  await end(1);
}
