// The measuring rig: Envoys under test with one upstream Envoy behind them, load from wrk, CPU time from /proc.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { bootstrap, clusterFor } from "../../host/envoy/bootstrap.js";
import { findEnvoy } from "../../host/envoy/find.js";
import { launchEnvoy, type RunningEnvoy } from "../../host/envoy/launch.js";
import type { Contender, Workload } from "./contenders.js";

const CONNECTIONS = 32;
const BODY = "a".repeat(1024) + "b".repeat(3072);
export const HEADERS = { "user-agent": "bench", accept: "*/*", "x-user": "ann" };

export interface UnderTest {
  contender: Contender;
  envoy: RunningEnvoy;
  /** CPU µs per request, a value per round. */
  rounds: number[];
  close(): Promise<void>;
}

/** An upstream that costs the Envoy under test nothing but the proxying: another Envoy that answers directly. */
export async function startUpstream(): Promise<RunningEnvoy> {
  const { path: binary } = await findEnvoy((line) => console.error(line));
  const direct = {
    match: { prefix: "/" },
    direct_response: { status: 200, body: { inline_string: "ok" } },
    response_headers_to_add: [{ header: { key: "server-timing", value: "a" } }],
  };
  return launchEnvoy({
    binary,
    bootstrap: bootstrap({
      filters: [],
      upstream: { name: "upstream", url: "http://127.0.0.1:1" },
      hcm: { route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [direct] }] } },
    }),
  });
}

/** A server that takes requests and never answers. */
export async function startNever(): Promise<{ url: string; received(count: number): Promise<void>; close(): void }> {
  let requests = 0;
  let wake = () => {};
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.once("data", () => {
      requests++;
      wake();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async received(count) {
      const target = requests + count;
      while (requests < target) await new Promise<void>((resolve) => (wake = resolve));
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

export async function startUnderTest(contender: Contender, upstream: string, never: string): Promise<UnderTest> {
  const { path: binary } = await findEnvoy();
  const document = bootstrap({
    filters: [],
    upstream: { name: "upstream", url: upstream },
    clusters: [{ name: "auth", url: upstream }],
  }) as unknown as Bootstrap;
  const limits = { circuit_breakers: { thresholds: [{ max_connections: 5000, max_pending_requests: 5000, max_requests: 5000 }] } };
  document.static_resources.clusters.push({ ...clusterFor({ name: "never", url: never }), ...limits });
  const manager = document.static_resources.listeners[0]!.filter_chains[0]!.filters[0]!.typed_config;
  manager.http_filters.unshift(...contender.filters);
  // Contenders that have no filter to hold a stream hold it at the upstream.
  if (contender.name === "none" || contender.name === "native") {
    manager.route_config.virtual_hosts[0]!.routes.unshift({
      match: { prefix: "/", headers: [{ name: "x-user", string_match: { exact: "hold" } }] },
      route: { cluster: "never", timeout: "3600s" },
    });
  }
  const envoy = await launchEnvoy({ binary, bootstrap: document });
  return { contender, envoy, rounds: [], close: () => envoy.stop() };
}

interface Bootstrap {
  static_resources: {
    listeners: { filter_chains: { filters: { typed_config: { http_filters: object[]; route_config: { virtual_hosts: { routes: object[] }[] } } }[] }[] }[];
    clusters: object[];
  };
}

/** Opens `count` requests that will be held. */
export function hold(url: string, count: number): { close(): void } {
  const agent = new http.Agent({ maxSockets: Number.POSITIVE_INFINITY });
  const requests = Array.from({ length: count }, () => {
    const request = http.get(url, { agent, headers: { ...HEADERS, "x-user": "hold" } });
    request.on("error", () => {});
    return request;
  });
  return {
    close: () => {
      for (const request of requests) request.destroy();
    },
  };
}

/** One real request, to see that the contender does its work. Throws where it does not. */
export async function verify(test: UnderTest, workload: Workload, echo: { url: string; last(): http.IncomingHttpHeaders; count(): number }): Promise<void> {
  const before = echo.count();
  const post = workload === "body";
  const response = await fetch(`${echo.url}/check`, { headers: HEADERS, method: post ? "POST" : "GET", ...(post ? { body: BODY } : {}) });
  await response.arrayBuffer();
  const seen = echo.last();
  const wrong = (what: string) => {
    throw new Error(`${test.contender.name} does not do the ${workload} workload: ${what}`);
  };
  if (response.status !== 200) wrong(`status ${response.status}`);
  if (test.contender.name === "none") return;
  if (workload === "headers" || workload === "live") {
    if (seen["x-added"] !== "ann") wrong("x-added is missing upstream");
    if (response.headers.get("x-served") !== "yes" || response.headers.has("server-timing")) wrong("response headers");
  }
  if (workload === "callout" && echo.count() - before !== 2) wrong("it makes no call");
  if (workload === "body" && seen["x-count"] !== "1024") wrong(`x-count is ${seen["x-count"]}`);
}

const SCRIPT = path.join(tmpdir(), `envoyscript-bench-${process.pid}.lua`);

export function prepareLoad(): void {
  if (spawnSync("wrk", ["-v"]).error) throw new Error("the benchmark needs wrk: apt-get install wrk");
  writeFileSync(SCRIPT, `wrk.method = "POST"\nwrk.body = ${JSON.stringify(BODY)}\n`);
}

/** Load for `seconds`; returns CPU µs of the Envoy per completed request. */
export async function measure(test: UnderTest, workload: Workload, seconds: number): Promise<number> {
  const before = cpu(test.envoy.pid);
  const args = [
    "-t1",
    `-c${CONNECTIONS}`,
    `-d${seconds}s`,
    ...Object.entries(HEADERS).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    ...(workload === "body" ? ["-s", SCRIPT] : []),
    `${test.envoy.url}/`,
  ];
  const output = await new Promise<string>((resolve, reject) => {
    const child = spawn("wrk", args, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
    });
    child.on("error", reject);
    child.on("close", () => resolve(text));
  });
  const requests = Number(/(\d+) requests in/.exec(output)?.[1] ?? 0);
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(output);
  if (!requests || bad) throw new Error(`${test.contender.name}: ${bad ? `${bad[1]} bad answers` : "no answers"} in the ${workload} workload`);
  return (cpu(test.envoy.pid) - before) / requests;
}

/** User and system time in µs (clock ticks are 10 ms). */
function cpu(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}
