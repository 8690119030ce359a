// The Envoys of a run: one upstream that answers everything itself, and one per contender in front of it.
import { spawn } from "node:child_process";
import path from "node:path";
import { bootstrap, type ClusterTarget, clusterFor } from "../../host/envoy/bootstrap.js";
import { findEnvoy } from "../../host/envoy/find.js";
import { launchEnvoy, type RunningEnvoy } from "../../host/envoy/launch.js";
import type { Contender } from "./contenders.js";
import { pin } from "./pin.js";
import { closing, temporary, tracked } from "./workspace.js";

export interface Upstream {
  url: string;
  /** Requests it has got so far, once no more come. */
  requests(): Promise<number>;
}

/** Requests with this header are answered with what arrived, in x-saw-… headers. */
export const CHECK = "x-check";

/** An upstream that costs the Envoy under test nothing but the proxying, and whose CPU time is not counted: another Envoy. */
export async function startUpstream(): Promise<Upstream> {
  const add = (key: string, value: string) => ({ header: { key, value } });
  const direct = { direct_response: { status: 200, body: { inline_string: "ok" } }, response_headers_to_add: [add("server-timing", "a")] };
  const saw = ["x-added", "x-count", "content-length"].map((name) => add(`x-saw-${name}`, `%REQ(${name})%`));
  const routes = [
    { match: { prefix: "/", headers: [{ name: CHECK, present_match: true }] }, ...direct, response_headers_to_add: [add("server-timing", "a"), ...saw] },
    { match: { prefix: "/" }, ...direct },
  ];
  const V3 = "type.googleapis.com/envoy.extensions.filters.http";
  const document = bootstrap({
    filters: [],
    upstream: { name: "upstream", url: "http://127.0.0.1:1" },
    hcm: {
      route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
      http_filters: [
        // envoy 1.40: a direct response before the body has come closes the connection, and the Envoy under test would open one per request.
        { name: "envoy.filters.http.buffer", typed_config: { "@type": `${V3}.buffer.v3.Buffer`, max_request_bytes: 1_048_576 } },
        { name: "envoy.filters.http.router", typed_config: { "@type": `${V3}.router.v3.Router` } },
      ],
    },
  });
  const envoy = await launch(document);
  pin(envoy.pid, "other");
  closing(envoy.stop);
  return { url: envoy.url, requests: () => settled(() => stat(envoy, "http.ingress.downstream_rq_total")) };
}

/** A number once it stands still: what a load generator left behind at its end may still be under way. */
async function settled(read: () => Promise<number>): Promise<number> {
  for (let before = await read(); ; ) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const now = await read();
    if (now === before) return now;
    before = now;
  }
}

/** A counter or gauge of an Envoy. */
export async function stat(envoy: RunningEnvoy, name: string): Promise<number> {
  const text = await (await fetch(`${envoy.adminUrl}/stats?filter=${encodeURIComponent(`^${name}$`)}`)).text();
  return Number(/: (\d+)/.exec(text)?.[1] ?? 0);
}

export interface Targets {
  upstream: string;
  auth: string;
  /** A server that never answers. */
  never: string;
}

/** The bootstrap of an Envoy with the contender's filters. */
function documentUnderTest(contender: Contender, targets: Targets, cluster: (target: ClusterTarget) => object): object {
  // Contenders without a filter that can hold a stream hold it at the upstream; all have the same routes.
  const held = [{ match: { prefix: "/", headers: [{ name: "x-user", string_match: { exact: "hold" } }] }, route: { cluster: "never", timeout: "3600s" } }];
  const routes = [...held, { match: { prefix: "/" }, route: { cluster: "upstream" } }];
  const document = bootstrap({
    filters: [],
    upstream: { name: "upstream", url: targets.upstream },
    hcm: {
      route_config: { name: "routes", virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
      http_filters: [
        ...contender.filters,
        { name: "envoy.filters.http.router", typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } },
      ],
    },
  }) as { static_resources: { clusters: object[] } };
  document.static_resources.clusters.push(cluster({ name: "auth", url: targets.auth }), cluster({ name: "never", url: targets.never }));
  return document;
}

/** An Envoy with the contender's filters. The function `close` ends it before the run does. */
export async function startUnderTest(contender: Contender, targets: Targets): Promise<RunningEnvoy & { close(): Promise<void> }> {
  const envoy = await launch(documentUnderTest(contender, targets, roomy));
  pin(envoy.pid, "under test");
  return { ...envoy, close: closing(envoy.stop) };
}

/** The same on the Node engine, in a process of its own: what `envoyscript run --engine node --bootstrap` serves. */
export async function startNodeEngine(contender: Contender, targets: Targets): Promise<{ url: string; pid: number; exited: Promise<{ reason: string }> }> {
  const file = temporary(`node-${contender.name}.json`, JSON.stringify(documentUnderTest(contender, targets, clusterFor)));
  const script = path.join(import.meta.dirname, "../../host/dist/envoyscript.mjs");
  const child = tracked(spawn(process.execPath, [script, "run", "--engine", "node", "--bootstrap", file], { stdio: ["ignore", "ignore", "pipe"] }));
  let said = "";
  const exited = new Promise<{ reason: string }>((resolve) =>
    child.on("close", (code) => resolve({ reason: `the engine ended with ${code}: ${said.trim()}` })),
  );
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-10_000);
      const found = /serving\s+(http:\S+)/.exec(said)?.[1];
      if (found) resolve(found);
    });
    void exited.then(({ reason }) => reject(new Error(reason)));
  });
  pin(child.pid!, "under test");
  return { url, pid: child.pid!, exited };
}

/** A cluster whose limits 1,000 held requests do not reach. */
function roomy(target: ClusterTarget): object {
  return { ...clusterFor(target), circuit_breakers: { thresholds: [{ max_connections: 5000, max_pending_requests: 5000, max_requests: 5000 }] } };
}

async function launch(document: object): Promise<RunningEnvoy> {
  const { path: binary } = await findEnvoy((line) => console.error(line));
  return launchEnvoy({ binary, bootstrap: document, concurrency: 1 });
}
