// The benchmark: contenders on real Envoys, measured in interleaved rounds; a filter's cost is the CPU time above an Envoy without a filter.
import { spawnSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { findEnvoy } from "../../host/envoy/find.js";
import type { RunningEnvoy } from "../../host/envoy/launch.js";
import { type Contender, contenders, POSTS, type Workload } from "./contenders.js";
import { startUnderTest, startUpstream, type Targets, type Upstream } from "./envoys.js";
import { CONNECTIONS, chooseGenerator, type Generator, measure } from "./load.js";
import { moduleFigures } from "./modules.js";
import { readOptions } from "./options.js";
import { printModules, printTargets, printWorkload } from "./report.js";
import { Results, type Row } from "./results.js";
import { hold, type Never, startDenying, startNever } from "./servers.js";
import { targets } from "./targets.js";
import { verify, verifyDenial } from "./verify.js";
import { end, endOnSignals, isEnding } from "./workspace.js";

const LIVE = 1000;

interface Rig {
  generator: Generator;
  upstream: Upstream;
  never: Never;
  targets: Targets;
  denying: string;
}

interface UnderTest {
  contender: Contender;
  envoy: RunningEnvoy & { close(): Promise<void> };
  row: Row;
}

const options = readOptions();
endOnSignals();

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}\u001b[K`);
}

async function runWorkload(workload: Workload, rig: Rig): Promise<Row[]> {
  progress(`${workload}: building`);
  const list = await contenders(workload, options.contenders);
  const tests: UnderTest[] = [];
  for (const contender of list) {
    progress(`${workload}: starting ${contender.name}`);
    if (workload === "callout" && !contender.idle) await checkDenial(contender, rig);
    const envoy = await startUnderTest(contender, rig.targets);
    await verify(contender, envoy, workload, rig.upstream);
    tests.push({
      contender,
      envoy,
      row: { workload, name: contender.name, bytes: contender.bytes, rounds: [], ...(workload === "live" ? { without: [] } : {}) },
    });
  }
  // Round 0 is not counted: V8 compiles, pools fill.
  for (let round = 0; round <= options.rounds; round++) {
    // Back and forth: what drifts during a round meets everybody.
    for (const test of round % 2 ? tests : tests.toReversed()) {
      progress(`${workload}: ${round === 0 ? "warming up" : `round ${round} of ${options.rounds}`}, ${test.contender.name}`);
      await measureOnce(test, workload, rig, round);
    }
  }
  for (const { contender, envoy } of tests) {
    await verify(contender, envoy, workload, rig.upstream);
    await envoy.close();
  }
  progress("");
  return tests.map((test) => test.row);
}

async function measureOnce({ contender, envoy, row }: UnderTest, workload: Workload, rig: Rig, round: number): Promise<void> {
  const into = (list: number[], value: number) => {
    if (round > 0) list.push(value);
  };
  const run = () => measure({ url: envoy.url, pid: envoy.pid, died: envoy.exited }, POSTS.has(workload), options.seconds, rig.generator);
  const held = async () => {
    const letGo = await hold(envoy, rig.never, LIVE);
    const value = await run();
    await letGo();
    return value;
  };
  try {
    if (!row.without) return into(row.rounds, await run());
    if (round % 2) into(row.rounds, await held());
    into(row.without, await run());
    if (round % 2 === 0) into(row.rounds, await held());
  } catch (error) {
    throw new Error(`${workload}, ${contender.name}: ${(error as Error).message}`);
  }
}

async function checkDenial(contender: Contender, rig: Rig): Promise<void> {
  const envoy = await startUnderTest(contender, { ...rig.targets, auth: rig.denying });
  await verifyDenial(contender, envoy);
  await envoy.close();
}

async function environment(generator: Generator): Promise<Record<string, string | number>> {
  const { path: binary } = await findEnvoy((line) => console.error(line));
  const version = spawnSync(binary, ["--version"], { encoding: "utf8" }).stdout?.match(/version: [0-9a-f]+\/([^/]+)/)?.[1] ?? "unknown";
  return {
    date: new Date().toISOString(),
    envoy: version,
    node: process.versions.node,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    load: generator,
    connections: CONNECTIONS,
    rounds: options.rounds,
    seconds: options.seconds,
    loadAverage: Number(loadavg()[0]!.toFixed(2)),
  };
}

async function run(): Promise<void> {
  const generator = chooseGenerator(options.load);
  const where = await environment(generator);
  if (!options.json) {
    const { envoy, cpu, cores, rounds, seconds, loadAverage } = where;
    console.log(`Envoy ${envoy} on ${cores} × ${cpu}; ${generator}, ${CONNECTIONS} connections; ${rounds} rounds of ${seconds} s; load average ${loadAverage}`);
    console.log(`µs/request is CPU time of the Envoy process; cost is above "none" in the same round; control is a second "none"`);
  }
  const rows: Row[] = [];
  if (options.workloads.length > 0) {
    const upstream = await startUpstream();
    const never = await startNever();
    const rig = {
      generator,
      upstream,
      never,
      targets: { upstream: upstream.url, auth: upstream.url, never: never.url },
      denying: await startDenying(),
    };
    for (const workload of options.workloads) {
      rows.push(...(await runWorkload(workload, rig)));
      if (!options.json) printWorkload(workload, new Results(rows));
    }
  }
  progress(options.modules ? "building modules" : "");
  const modules = options.modules ? moduleFigures() : [];
  progress("");
  const results = new Results(rows);
  const reached = targets(results, modules);
  if (options.json) {
    const measured = rows.map((row) => ({ ...row, cost: results.cost(row.workload, row.name), live: row.without && results.live(row.name) }));
    console.log(JSON.stringify({ environment: where, measured, modules, targets: reached }, null, 2));
    return;
  }
  if (modules.length > 0) printModules(modules);
  printTargets(reached);
}

try {
  await run();
  await end(0);
} catch (error) {
  // Ctrl-C in a terminal reaches the Envoys too, and their end may be seen before the signal is.
  await new Promise((resolve) => setTimeout(resolve, 200));
  if (!isEnding()) {
    progress("");
    console.error(`npm run bench: ${(error as Error).message.split("\n")[0]}`);
    await end(1);
  }
}
