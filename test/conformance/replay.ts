// Runs a scenario on an engine and returns what was observed, in the form of the recorded traces.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { bootstrapOf, type PortName, pluginConfig } from "./bootstrap.js";
import { adminGet, http2Client, rawClient } from "./clients.js";
import type { Engine, RunningEngine } from "./engine.js";
import { observation, PortMap } from "./observe.js";
import type { ClientObservation, Observation, Scenario } from "./scenario.js";
import { freePort, http1Upstream, http2Upstream, sleep, tcpUpstream } from "./upstreams.js";

const START_TIMEOUT = 20_000;
const TERM_TIMEOUT = 5000;

export async function runScenario(recorded: Scenario, engine: Engine): Promise<Observation> {
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-replay-"));
  const seen: Record<string, unknown[]> = { up: [], alt: [], h2up: [], tcp: [] };
  const upstream = recorded.upstream ?? {};
  const [up, alt, h2up, tcp] = await Promise.all([
    http1Upstream(upstream.up, seen.up!),
    http1Upstream(upstream.alt, seen.alt!),
    http2Upstream(upstream.h2up, seen.h2up!),
    tcpUpstream(upstream.tcp, seen.tcp!),
  ]);
  const real: Record<PortName, number> = {
    up: up.port,
    alt: alt.port,
    h2up: h2up.port,
    tcp: tcp.port,
    listen: await freePort(),
    admin: await freePort(),
    dead: await freePort(),
  };
  const ports = new PortMap(real);
  const scenario = JSON.parse(ports.into(JSON.stringify(recorded))) as Scenario;
  const file = path.join(directory, "ecds.json");
  const push = (version: number) => {
    const config = { "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", config: pluginConfig(scenario.ecds![version]!) };
    const resource = { "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", name: "ecds", typed_config: config };
    writeFileSync(`${file}.new`, JSON.stringify({ version_info: String(version), resources: [resource] }));
    renameSync(`${file}.new`, file);
  };
  try {
    if (scenario.ecds) push(0);
    const running = engine.start({
      bootstrap: JSON.parse(ports.into(JSON.stringify(bootstrapOf(scenario, file)))) as object,
      concurrency: scenario.concurrency ?? 1,
      wasmLogLevel: scenario.wasm_log ?? "info",
      adminPort: real.admin,
      env: scenario.env ?? {},
      args: scenario.args ?? [],
    });
    const run = await drive(scenario, running, real, push);
    return observation(recorded, { ...run, entries: running.log(), output: running.output(), seen }, ports);
  } finally {
    for (const server of [up, alt, h2up, tcp]) server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Run {
  started: boolean;
  exit: number | string | undefined;
  responses: ClientObservation[] | undefined;
  stats: Record<string, string[]> | string | undefined;
}

async function drive(scenario: Scenario, running: RunningEngine, ports: Record<PortName, number>, push: (version: number) => void): Promise<Run> {
  let exit: number | string | undefined;
  const ended = running.ended.then((how) => {
    exit = how;
  });
  await Promise.race([running.ready, ended]);
  const started = await isReady(ports.admin, () => exit !== undefined);
  if (!started) {
    running.terminate();
    await Promise.race([ended, sleep(TERM_TIMEOUT)]);
    if (exit === undefined) running.kill();
    await ended;
    return { started, exit, responses: undefined, stats: undefined };
  }
  await sleep(scenario.settle ?? 30);
  running.mark("-- ready");
  const responses: ClientObservation[] = [];
  let stats: Run["stats"];
  if (scenario.term_at) {
    setTimeout(() => {
      running.mark("-- SIGTERM");
      running.terminate();
    }, scenario.term_at);
  }
  const clients = scenario.clients ?? [{ send: ["GET / HTTP/1.1\r\nhost: h\r\n\r\n"] }];
  await Promise.all(
    clients.map(async (client, i) => {
      const record: ClientObservation = {};
      responses[i] = record;
      if (client.at) await sleep(client.at);
      if (client.ecds !== undefined) {
        running.mark(`-- extension config version ${client.ecds} pushed`);
        push(client.ecds);
      } else if (client.admin) Object.assign(record, await adminGet(ports.admin, client.admin, client.method));
      else if (client.h2) await http2Client(ports.listen, client.h2, record);
      else await rawClient(ports.listen, client, record);
    }),
  );
  await sleep(scenario.linger ?? 40);
  if (exit === undefined && scenario.stats) stats = await statistics(ports.admin, scenario.stats);
  running.mark(exit === undefined ? "-- shutdown (SIGTERM)" : `-- ENVOY DIED: ${exit}`);
  running.terminate();
  const timer = setTimeout(() => running.kill(), TERM_TIMEOUT);
  await ended;
  clearTimeout(timer);
  await sleep(10);
  return { started, exit: exit === 0 || exit === "SIGTERM" ? undefined : exit, responses, stats };
}

async function isReady(adminPort: number, over: () => boolean): Promise<boolean> {
  const begin = Date.now();
  while (Date.now() - begin < START_TIMEOUT && !over()) {
    try {
      if ((await adminGet(adminPort, "/ready")).code === 200) return true;
    } catch {
      // Not up yet.
    }
    await sleep(30);
  }
  return false;
}

async function statistics(adminPort: number, queries: string[]): Promise<Record<string, string[]> | string> {
  try {
    const found: Record<string, string[]> = {};
    for (const query of queries) found[query] = (await adminGet(adminPort, query)).body.trim().split("\n");
    return found;
  } catch (error) {
    return String(error);
  }
}
