// `npm start`: the examples on a real Envoy. Every exchange is shown from all sides: what was sent, what the upstream saw, what came back.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build, sdkDirectory } from "../compiler/index.js";
import { bootstrap } from "../envoy/bootstrap.js";
import { cacheDirectory, findEnvoy } from "../envoy/find.js";
import { type RunningEnvoy, launchEnvoy } from "../envoy/launch.js";
import { type DemoServers, startServers } from "./demo-servers.js";
import { Failure } from "./failure.js";
import { showLog } from "./run.js";
import { bytes, paint } from "./terminal.js";

const EXAMPLES: { name: string; config?: unknown }[] = [
  { name: "headers", config: { greeting: "hello" } },
  { name: "auth", config: { cluster: "auth" } },
  { name: "mask", config: { fields: ["password", "token"] } },
  { name: "buggy" },
];

export async function runDemo(flags: { once?: boolean; port?: number }): Promise<void> {
  const interrupted = new Promise<"interrupted">((resolve) => {
    process.once("SIGINT", () => resolve("interrupted"));
    process.once("SIGTERM", () => resolve("interrupted"));
  });
  const modules = buildExamples();
  const binary = await findEnvoy((line) => console.log(line));
  const servers = await startServers();
  let envoy: RunningEnvoy | undefined;
  const logs: Parameters<typeof showLog>[0][] = [];
  let live = false;
  try {
    envoy = await launchEnvoy({
      binary: binary.path,
      bootstrap: demoBootstrap(modules, servers, flags.port ?? (flags.once ? 0 : 10000)),
      onLog: (line) => {
        if (live) showLog(line);
        else if (line.logger === "wasm") logs.push(line);
      },
    });
    console.log(`\n${paint("green", "Envoy is up")}  ${envoy.url}   admin ${envoy.adminUrl}   ${paint("dim", `(${binary.source === "project" ? "the project's own Envoy" : binary.source})`)}`);
    const outcome = await Promise.race([showAll(envoy, servers), interrupted, envoy.exited]);
    if (typeof outcome === "object") throw new Failure(`Envoy ended: ${outcome.reason}`);
    if (logs.length && outcome !== "interrupted") {
      console.log(paint("bold", "\nEnvoy's log"));
      for (const line of logs) showLog(line);
    }
    if (outcome === false) throw new Failure("an example did not do what it should (see ✗ above)");
    if (flags.once || outcome === "interrupted") return;
    live = true;
    console.log(`\nTry it:  curl -i ${envoy.url}/headers   curl -i -H 'authorization: ann' ${envoy.url}/auth   curl ${envoy.url}/mask   curl -i ${envoy.url}/buggy`);
    console.log(paint("dim", "Ctrl-C ends."));
    const end = await Promise.race([interrupted, envoy.exited]);
    if (end !== "interrupted") throw new Failure(`Envoy ended: ${end.reason}`);
  } finally {
    await envoy?.stop();
    await servers.close();
  }
}

/** Compiles the examples, or takes what an earlier start compiled from the same sources. */
function buildExamples(): Record<string, string> {
  const sdk = sdkDirectory();
  const directory = path.join(cacheDirectory(), "examples");
  mkdirSync(directory, { recursive: true });
  const toolchain = createHash("sha256");
  for (const name of readdirSync(sdk, { recursive: true, encoding: "utf8" }).sort()) if (name.endsWith(".ts") && !name.includes("examples")) toolchain.update(readFileSync(path.join(sdk, name)));
  const compiler = path.dirname(new URL(import.meta.url).pathname);
  for (const name of readdirSync(compiler).sort()) if (name.endsWith(".mjs")) toolchain.update(readFileSync(path.join(compiler, name)));
  const state = toolchain.digest();
  const modules: Record<string, string> = {};
  for (const { name } of EXAMPLES) {
    const source = path.join(sdk, "examples", `${name}.ts`);
    const hash = createHash("sha256").update(state).update(readFileSync(source)).digest("hex").slice(0, 16);
    const file = path.join(directory, `${name}-${hash}.wasm`);
    if (!existsSync(file)) {
      const started = performance.now();
      const { wasm } = build([source]);
      for (const old of readdirSync(directory)) if (old.startsWith(`${name}-`)) rmSync(path.join(directory, old));
      writeFileSync(`${file}.${process.pid}`, wasm);
      renameSync(`${file}.${process.pid}`, file);
      console.log(`built ${path.relative(process.cwd(), source)}  ${paint("dim", `${bytes(wasm.length)}, ${((performance.now() - started) / 1000).toFixed(1)} s`)}`);
    }
    modules[name] = file;
  }
  return modules;
}

/** One listener; each path has one of the examples, the others are switched off for its route. */
function demoBootstrap(modules: Record<string, string>, servers: DemoServers, port: number): object {
  const off = (name: string) => [name, { "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", disabled: true }];
  const routes = EXAMPLES.map(({ name }) => ({
    match: { prefix: `/${name}` },
    route: { cluster: "upstream" },
    typed_per_filter_config: Object.fromEntries(EXAMPLES.filter((other) => other.name !== name).map((other) => off(other.name))),
  }));
  return bootstrap({
    filters: EXAMPLES.map(({ name, config }) => ({ name, wasm: modules[name]!, ...(config ? { config } : {}) })),
    upstream: { name: "upstream", url: servers.upstream.url },
    clusters: [{ name: "auth", url: servers.auth.url }],
    port,
    hcm: { route_config: { name: "routes", virtual_hosts: [{ name: "all", domains: ["*"], routes }] } },
  });
}

async function showAll(envoy: RunningEnvoy, servers: DemoServers): Promise<boolean> {
  const results = [
    await exchange(envoy, servers, "headers.ts", "reads and writes headers on both ways", "/headers/a?b=c", { "user-agent": "demo", "x-internal": "secret" }, (seen, answer) => seen?.["x-greeting"] === "hello, demo" && !seen["x-internal"] && answer.headers.get("x-served-path") === "/headers/a?b=c"),
    await exchange(envoy, servers, "auth.ts", "asks the auth service first, in blocking style", "/auth", { authorization: "ann" }, (seen, answer) => seen?.["x-user"] === "ann" && answer.status === 200),
    await exchange(envoy, servers, "auth.ts", "whom the auth service does not know is turned away", "/auth", { authorization: "mallory", "x-user": "ann" }, (seen, answer) => seen === undefined && answer.status === 403),
    await exchange(envoy, servers, "mask.ts", "masks members of a JSON response", "/mask", {}, (_, answer) => answer.status === 200 && answer.text.includes('"password":"***"') && !answer.text.includes("hunter2")),
    await buggy(envoy),
  ];
  return results.every(Boolean);
}

interface Answer {
  status: number;
  headers: Headers;
  text: string;
}

const QUIET = new Set(["host", "connection", "accept", "accept-language", "accept-encoding", "sec-fetch-mode", "x-forwarded-proto", "x-request-id", "x-envoy-expected-rq-timeout-ms", "date", "server", "content-length", "x-envoy-upstream-service-time", "keep-alive", "content-type"]);

function shown(headers: Iterable<[string, string]>): string {
  return [...headers].filter(([name]) => !QUIET.has(name)).map(([name, value]) => `${paint("cyan", name)}: ${value}`).join("  ");
}

async function exchange(envoy: RunningEnvoy, servers: DemoServers, file: string, what: string, target: string, headers: Record<string, string>, check: (seen: Record<string, string> | undefined, answer: Answer) => boolean): Promise<boolean> {
  const before = servers.upstream.seen.length;
  const response = await fetch(envoy.url + target, { headers });
  const answer: Answer = { status: response.status, headers: response.headers, text: await response.text() };
  const seen = servers.upstream.seen[before];
  const ok = check(seen?.headers, answer);
  console.log(`\n${paint(ok ? "green" : "red", ok ? "✓" : "✗")} ${paint("bold", file)} ${what}`);
  console.log(`    sent           GET ${target}  ${shown(Object.entries(headers))}`);
  console.log(`    upstream saw   ${seen ? `GET ${seen.url}  ${shown(Object.entries(seen.headers))}` : paint("dim", "nothing")}`);
  console.log(`    came back      ${answer.status}  ${shown(answer.headers)}`);
  if (answer.text.trim()) console.log(`                   ${paint("dim", answer.text.trim().slice(0, 200))}`);
  return ok;
}

async function buggy(envoy: RunningEnvoy): Promise<boolean> {
  const statuses: number[] = [];
  for (let i = 0; i < 20; i++) {
    const response = await fetch(`${envoy.url}/buggy/${i}`);
    await response.arrayBuffer();
    statuses.push(response.status);
  }
  const ok = statuses.filter((status) => status === 500).length === 2 && statuses.filter((status) => status === 200).length === 18;
  console.log(`\n${paint(ok ? "green" : "red", ok ? "✓" : "✗")} ${paint("bold", "buggy.ts")} has a bug that hits one request in ten: that one gets 500, the others go on`);
  console.log("    sent           20 × GET /buggy");
  console.log(`    came back      ${statuses.map((status) => paint(status === 200 ? "green" : "red", String(status))).join(" ")}`);
  return ok;
}
