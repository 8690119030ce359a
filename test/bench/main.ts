// The benchmark: contenders on real Envoys, under load at the same time; a filter's cost is the CPU time above an Envoy without a filter.
import { spawnSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { findEnvoy } from "../../host/envoy/find.js";
import type { RunningEnvoy } from "../../host/envoy/launch.js";
import { type Contender, contenders, POSTS, type Workload } from "./contenders.js";
import { startUnderTest, startUpstream, type Targets, type Upstream } from "./envoys.js";
import { CONNECTIONS, chooseGenerator, type Generator, measure } from "./load.js";
import { moduleFigures } from "./modules.js";
import { readOptions } from "./options.js";
import { pin, pinned } from "./pin.js";
import { printModules, printTargets, printWorkload } from "./report.js";
import { Results, type Row } from "./results.js";
import { hold, type Never, startDenying, startNever } from "./servers.js";
import { targets } from "./targets.js";
import { verify, verifyDenial } from "./verify.js";
import { end, endOnSignals, isEnding } from "./workspace.js";

const LIVE = 1000;

/** Envoys are started afresh after so many rounds: where the parts of a process lie in memory is luck, and worth a microsecond or two. */
const ROUNDS_PER_START = 3;

interface Rig {
  generator: Generator;
  upstream: Upstream;
  targets: Omit<Targets, "never">;
  denying: string;
}

interface UnderTest {
  contender: Contender;
  envoy: RunningEnvoy & { close(): Promise<void> };
  never: Never;
  row: Row;
}

const options = readOptions();
endOnSignals();
// The load generator and the servers, which this process starts, stay where it is.
pin(process.pid, "other");

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}\u001b[K`);
}

async function runWorkload(workload: Workload, rig: Rig): Promise<Row[]> {
  progress(`${workload}: building`);
  const list = await contenders(workload, options.contenders);
  if (workload === "callout") for (const contender of list) if (!contender.idle) await checkDenial(contender, rig);
  const rows: Row[] = list.map(({ name, bytes }) => ({ workload, name, bytes, rounds: [], ...(workload === "live" ? { without: [] } : {}) }));
  for (let done = 0; done < options.rounds; done += ROUNDS_PER_START) {
    const tests: UnderTest[] = [];
    for (const [i, contender] of list.entries()) {
      progress(`${workload}: starting ${contender.name}`);
      const never = await startNever();
      const envoy = await startUnderTest(contender, { ...rig.targets, never: never.url });
      await verify(contender, envoy, workload, rig.upstream);
      tests.push({ contender, envoy, never, row: rows[i]! });
    }
    // Round 0 is not counted: V8 compiles, pools fill.
    for (let round = 0; round <= Math.min(ROUNDS_PER_START, options.rounds - done); round++) {
      progress(`${workload}: ${round === 0 ? "warming up" : `round ${done + round} of ${options.rounds}`}`);
      await measureRound(tests, workload, rig, round);
    }
    for (const { contender, envoy, never } of tests) {
      await verify(contender, envoy, workload, rig.upstream);
      await envoy.close();
      await never.close();
    }
  }
  progress("");
  return rows;
}

/** All contenders at the same time, on one core: the kernel takes turns between them every few milliseconds, so whatever slows the machine down meets everybody. */
async function measureRound(tests: UnderTest[], workload: Workload, rig: Rig, round: number): Promise<void> {
  const run = (into: (row: Row) => number[]) =>
    Promise.all(
      tests.map(async ({ contender, envoy, row }) => {
        const target = { url: envoy.url, pid: envoy.pid, died: envoy.exited };
        const value = await measure(target, POSTS.has(workload), options.seconds, rig.generator).catch((error: Error) => {
          throw new Error(`${workload}, ${contender.name}: ${error.message}`);
        });
        if (round > 0) into(row).push(value);
      }),
    );
  if (workload !== "live") return void (await run((row) => row.rounds));
  const held = async () => {
    const letGo: (() => Promise<void>)[] = [];
    for (const { envoy, never } of tests) letGo.push(await hold(envoy, never, LIVE));
    await run((row) => row.rounds);
    for (const release of letGo) await release();
  };
  // Back and forth: what drifts meets both.
  if (round % 2) await held();
  await run((row) => row.without!);
  if (round % 2 === 0) await held();
}

async function checkDenial(contender: Contender, rig: Rig): Promise<void> {
  const envoy = await startUnderTest(contender, { ...rig.targets, auth: rig.denying, never: rig.denying });
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
    console.log(
      pinned ? "all contenders run at the same time and share one core" : "processes are not pinned (two cores and taskset are needed): expect noise",
    );
    console.log(`µs/request is CPU time of the Envoy process; cost is above "none" in the same round; control is a second "none"`);
  }
  const rows: Row[] = [];
  if (options.workloads.length > 0) {
    const upstream = await startUpstream();
    const rig = {
      generator,
      upstream,
      targets: { upstream: upstream.url, auth: upstream.url },
      denying: await startDenying(),
    };
    for (const workload of options.workloads) {
      rows.push(...(await runWorkload(workload, rig)));
      if (!options.json) printWorkload(workload, new Results(rows));
    }
  }
  progress(options.modules ? "building modules" : "");
  pin(process.pid, "free");
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
