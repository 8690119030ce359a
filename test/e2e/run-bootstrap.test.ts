// `envoyscript run --bootstrap FILE`: a whole Envoy configuration, served by the Node engine as a real Envoy would.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { PROBES } from "../conformance/probes.js";
import { assemble } from "../harness/build.js";
import { CLI, isAlive, type Running } from "./command.js";
import { runPlace } from "./run-place.js";

const here = runPlace();

function run(...args: string[]): Running {
  return here.start([process.execPath, CLI, "run", ...args]);
}

interface Parts {
  module?: string;
  script?: string;
  before?: string;
  more?: string;
}

/** A bootstrap in YAML, as somebody would write it; its path. */
function bootstrap({ module = path.join(PROBES, "recorder.wasm"), script = "on_request_headers: say hello", before = "", more = "" }: Parts = {}): string {
  const file = here.place.file("envoy.yaml");
  writeFileSync(
    file,
    `admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 0}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: up}}]}
          http_filters:${before}
          - name: wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: p1
                root_id: r1
                configuration:
                  "@type": type.googleapis.com/google.protobuf.StringValue
                  value: "${script.replaceAll("\n", "\\n")}"
                vm_config:
                  vm_id: v1
                  runtime: envoy.wasm.runtime.v8
                  code: {local: {filename: ${module}}}
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: up
    connect_timeout: 1s${more}
    load_assignment:
      cluster_name: up
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${new URL(here.upstream.url).port}}}}}]}]
`,
  );
  return file;
}

async function serving(running: Running): Promise<{ url: string; admin: string }> {
  const [, url, admin] = await running.printed(/serving {2}(http:\S+) +admin (http:\S+)/);
  return { url: url!, admin: admin! };
}

/** Guest log lines without what differs from run to run. */
const guestLines = (stderr: string): string[] =>
  stderr
    .split("\n")
    .filter((line) => line.includes("wasm log"))
    .map((line) => line.replace(/^\[[^\]]*\]\[\d+\]/, "[time][thread]"));

describe("both engines", () => {
  test("serve it, and log a guest's lines in the same form", async () => {
    const file = bootstrap({ script: "on_request_headers: say hello\non_log: prop response|code" });
    const lines: string[][] = [];
    for (const engine of ["node", "envoy"]) {
      const running = run("--engine", engine, "--bootstrap", file);
      const { url } = await serving(running);
      expect((await fetch(`${url}/x`)).status).toBe(200);
      await running.printed(/> on_delete/);
      running.kill("SIGINT");
      const { code, stderr } = await running.ended;
      expect(code).toBe(0);
      lines.push(guestLines(stderr));
    }
    expect(lines[0]!.join("\n")).toMatch(/^\[time\]\[thread\]\[info\]\[wasm\] \[source\/extensions\/common\/wasm\/context\.cc:\d+\] wasm log/);
    expect(lines[0]!.filter((line) => line.includes("p1 r1 v1"))).toEqual(lines[1]!.filter((line) => line.includes("p1 r1 v1")));
  });

  test("count the same, for the admin port and for Prometheus", async () => {
    const file = bootstrap({ script: "on_configure: metric 1 my.gauge\non_configure: metric 0 my_count\non_request_headers: inc $m 3" });
    const known =
      /^(wasmcustom\.|http\.ingress\.downstream_(rq_(total|completed|active|.xx)|cx_(total|active))|cluster\.up\.upstream_rq_(total|completed|2xx|200))/;
    const prometheus =
      /^(# TYPE )?(my_|envoy_http_downstream_(rq_(total|completed|active|xx)|cx_(total|active))\b.*ingress|envoy_cluster_upstream_rq(_total|_completed|_xx)?\b)/;
    const seen: string[][] = [];
    for (const engine of ["node", "envoy"]) {
      const running = run("--engine", engine, "--bootstrap", file);
      const { url, admin } = await serving(running);
      for (const path of ["/a", "/b"]) expect((await fetch(url + path, { headers: { connection: "close" } })).status).toBe(200);
      const get = async (page: string, wanted: RegExp) => (await (await fetch(admin + page)).text()).split("\n").filter((line) => wanted.test(line));
      // A connection's end is counted when Envoy has noticed it.
      await expect.poll(() => get("/stats", /^http\.ingress\.downstream_cx_active/)).toEqual(["http.ingress.downstream_cx_active: 0"]);
      seen.push([...(await get("/stats", known)), "", ...(await get("/stats/prometheus", prometheus))]);
    }
    expect(seen[0]).toEqual(seen[1]);
    expect(seen[0]).toContain("wasmcustom.my_count: 6");
    expect(seen[0]).toContain('envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="up"} 2');
  });

  test.each([
    ["a module that does not load", { module: path.join(PROBES, "wat/unknown-import.wasm") }, /Unable to create Wasm plugin p1/],
    ["a plugin that refuses its configuration", { script: "on_configure: ret 0" }, /Unable to create Wasm plugin p1/],
  ])("%s: exit code 1 and Envoy's reason", async (_what, parts, reason) => {
    const file = bootstrap(parts);
    for (const engine of ["node", "envoy"]) {
      const { code, stderr } = await run("--engine", engine, "--bootstrap", file).ended;
      expect(code).toBe(1);
      expect(stderr).toMatch(reason);
    }
  });
});

describe("the Node engine", () => {
  test("says that it is not Envoy", async () => {
    const running = run("--engine", "node", "--bootstrap", bootstrap());
    await running.printed(/not a real Envoy/);
  });

  const POLICY = "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin";
  const LUA = `
          - name: lua
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}`;

  test.each([
    ["a filter", { before: LUA }, /the node engine does not support envoy\.extensions\.filters\.http\.lua\.v3\.Lua/],
    ["a field", { more: "\n    outlier_detection: {}" }, /clusters\[0\]\.outlier_detection: the node engine does not support this field/],
    [
      "a policy",
      { more: `\n    load_balancing_policy: {policies: [{typed_extension_config: {name: x, typed_config: {"@type": type.googleapis.com/${POLICY}}}}]}` },
      /does not support envoy\.extensions\.load_balancing_policies\.client_side_weighted_round_robin.*it supports .*round_robin/,
    ],
  ])("%s that it does not support is named: exit code 1", async (_what, parts, says) => {
    const { code, stderr } = await run("--engine", "node", "--bootstrap", bootstrap(parts)).ended;
    expect(code).toBe(1);
    expect(stderr.trim().split("\n").at(-1)).toMatch(says);
  });

  test("a guest in an endless loop does not keep it from ending", async () => {
    const module = here.place.file("loop.wasm");
    writeFileSync(module, await assemble(path.resolve(import.meta.dirname, "../engines/modules/loop.wat")));
    const running = run("--engine", "node", "--bootstrap", bootstrap({ module, script: "" }));
    const { url } = await serving(running);
    const answer = fetch(url).then(
      ({ status }) => status,
      () => "broken off",
    );
    running.kill("SIGINT");
    await running.ended;
    expect(isAlive(running.pid)).toBe(false);
    expect([503, "broken off"]).toContain(await answer);
  });
});

test.each([
  ["no such file", ["--bootstrap", "nowhere.yaml"], 1, /nowhere\.yaml: there is no such file/],
  ["no bootstrap", ["--bootstrap", "list.yaml"], 1, /list\.yaml: holds no Envoy bootstrap/],
  ["not YAML", ["--bootstrap", "broken.yaml"], 1, /broken\.yaml: .*line|broken\.yaml: /],
  ["files and a bootstrap", ["a.ts", "--bootstrap", "list.yaml"], 2, /--bootstrap names the modules itself/],
  ["an engine that is none", ["--engine", "nginx", "--bootstrap", "list.yaml"], 2, /nginx/],
])("%s: one line", async (_what, args, expected, says) => {
  writeFileSync(here.place.file("list.yaml"), "- 1\n");
  writeFileSync(here.place.file("broken.yaml"), "a: [1\nb: }\n");
  const { code, stderr } = await run(...args).ended;
  expect(code).toBe(expected);
  expect(stderr.trim()).toMatch(says);
  expect(stderr.trim().split("\n")).toHaveLength(1);
});
