// `envoyscript run --bootstrap FILE`: a whole Envoy configuration, served by the Node engine as a real Envoy would.
import { writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { PROBES } from "../conformance/probes.js";
import { assemble, assembleText } from "../harness/build.js";
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
  /** The text that `edit` finds, and what stands there instead. */
  edit?: [string, string];
}

/** A bootstrap in YAML, as somebody would write it; its path. */
function bootstrap({
  module = path.join(PROBES, "recorder.wasm"),
  script = "on_request_headers: say hello",
  before = "",
  more = "",
  edit = ["", ""],
}: Parts = {}): string {
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
`.replace(...edit),
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

const FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const ROUTER = `
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router`;
const ECDS = `
          - name: ecds
            config_discovery: {config_source: {path_config_source: {path: /nowhere/ecds.yaml}}, type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]}`;

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

  test("show histograms alike, and select alike", async () => {
    const script = [
      "on_configure: metric 2 my.sizes",
      ...[0, 7, 12, 230, 230, 99999].map((size) => `on_configure: rec $m ${size}`),
      "on_configure: metric 2 none",
    ];
    const file = bootstrap({ script: script.join("\n"), edit: ["static_resources:", "stats_flush_interval: 0.2s\nstatic_resources:"] });
    const pages = [
      "/stats?filter=^wasmcustom",
      "/stats?filter=wasmcustom&usedonly",
      "/stats?filter=wasmcustom&format=json",
      "/stats?format=prometheus&filter=wasmcustom",
      "/stats?type=Counters&filter=ingress.downstream_rq_total",
      "/stats?type=Gauges&filter=ingress.downstream_(rq_total|cx_active)",
      "/stats?filter=(",
      "/stats?type=nothing",
    ];
    const seen: string[][] = [];
    for (const engine of ["node", "envoy"]) {
      const running = run("--engine", engine, "--bootstrap", file);
      const { admin } = await serving(running);
      const get = async (page: string) => {
        const response = await fetch(admin + page);
        return `${response.status} ${await response.text()}`;
      };
      // Two flushes: the interval is over then.
      await expect.poll(() => get("/stats?filter=my.sizes")).toMatch(/P50\(nan,12/);
      seen.push(await Promise.all(pages.map(get)));
      expect(await get("//")).toMatch(/^404 invalid path\. admin commands are:/);
      expect(await get("/stats?format=nothing")).toMatch(/^400 usage: \/stats\?format=/);
    }
    expect(seen[0]).toEqual(seen[1]);
  });

  test("an odd request to the admin port ends nothing", async () => {
    const running = run("--engine", "node", "--bootstrap", bootstrap());
    const { admin } = await serving(running);
    for (const target of ["http://[", "//", "/stats?filter=(a*)*b", "*", "/%", "/stats?filter=%"]) {
      const answer = await new Promise<string>((resolve, reject) => {
        const socket = net.connect(Number(new URL(admin).port), "127.0.0.1", () =>
          socket.write(`GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`),
        );
        let text = "";
        socket.on("data", (data) => {
          text += data;
        });
        socket.on("error", reject);
        socket.on("close", () => resolve(text));
      });
      expect(answer).toMatch(/^HTTP\/1\.1 [24]0/);
    }
    expect(await (await fetch(`${admin}/ready`)).text()).toBe("LIVE\n");
  });

  test.each([
    ["a module that does not load", { module: path.join(PROBES, "wat/unknown-import.wasm") }, /Unable to create Wasm plugin p1/],
    ["a plugin that refuses its configuration", { script: "on_configure: ret 0" }, /Unable to create Wasm plugin p1/],
    ["a start section that traps", { module: path.join(PROBES, "wat/start-section-trap.wasm") }, /Unable to create Wasm plugin p1/],
    ["a value of another type", { edit: ["StringValue", "Int64Value"] }, /Int64Value/],
    [
      "a listener that is no number",
      { edit: ["- name: main\n    address: {socket_address: {address: 127.0.0.1", "- name: main\n    address: {socket_address: {address: localhost"] },
      /malformed IP address: localhost/,
    ],
    ["a port that there is not", { edit: ["port_value: 0", "port_value: 70000"] }, /65535/],
    [
      "a host that is no number",
      { edit: ["endpoint: {address: {socket_address: {address: 127.0.0.1", "endpoint: {address: {socket_address: {address: localhost"] },
      /malformed IP address: localhost\. Consider setting/,
    ],
    [
      "a domain twice",
      { edit: ['domains: ["*"]', 'domains: ["a.com", "A.com"]'] },
      /Only unique values for domains are permitted\. Duplicate entry of domain a\.com in route/,
    ],
    ["two wildcards", { edit: ['domains: ["*"]', 'domains: ["*", "*"]'] }, /Only a single wildcard domain is permitted in route/],
    [
      "no filter chain",
      { edit: ["  clusters:", "  - {name: b, address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n  clusters:"] },
      /no filter chains specified/,
    ],
    ["a cluster twice", { edit: ["  clusters:", "  clusters:\n  - {name: up, connect_timeout: 1s}"] }, /cluster manager: duplicate cluster 'up'/],
    [
      "no router",
      { edit: [ROUTER, ""] },
      /Error: non-terminal filter named wasm of type envoy\.filters\.http\.wasm is the last filter in a http filter chain\./,
    ],
    [
      "an access log that cannot be opened",
      { edit: ["stat_prefix", `access_log: [{name: f, typed_config: {"@type": ${FILE_LOG}, path: /nowhere/log}}]\n          stat_prefix`] },
      /unable to open file '\/nowhere\/log': No such file or directory/,
    ],
    [
      "an ECDS file that is not there",
      { before: ECDS, edit: ["static_resources", "node: {id: n, cluster: c}\nstatic_resources"] },
      /paths must refer to an existing path in the system: '\/nowhere\/ecds\.yaml' does not exist/,
    ],
    ["ECDS without a node", { before: ECDS }, /TypedExtensionConfig: node 'id' and 'cluster' are required/],
  ] satisfies [string, Parts, RegExp][])("%s: exit code 1 and Envoy's reason", async (_what, parts, reason) => {
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
    ["a field that is misspelt", { edit: ["stat_prefix: ingress", "stat_prfix: ingress"] }, /typed_config\.stat_prefix: is missing \(there is stat_prfix\)/],
    ["a field", { more: "\n    outlier_detection: {}" }, /clusters\[0\]\.outlier_detection: the node engine does not support this field/],
    [
      "a policy",
      { more: `\n    load_balancing_policy: {policies: [{typed_extension_config: {name: x, typed_config: {"@type": type.googleapis.com/${POLICY}}}}]}` },
      /does not support envoy\.extensions\.load_balancing_policies\.client_side_weighted_round_robin.*it supports .*round_robin/,
    ],
  ] satisfies [string, Parts, RegExp][])("%s that it does not support is named: exit code 1", async (_what, parts, says) => {
    const { code, stderr } = await run("--engine", "node", "--bootstrap", bootstrap(parts)).ended;
    expect(code).toBe(1);
    expect(stderr.trim().split("\n").at(-1)).toMatch(says);
  });

  test("serves without a listener, and ends with 0 when it is told to at the admin port", async () => {
    const file = here.place.file("none.yaml");
    writeFileSync(file, "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\nstatic_resources: {listeners: []}\n");
    const running = run("--engine", "node", "--bootstrap", file);
    const [, admin] = await running.printed(/serving {2}no listener +admin (http:\S+)/);
    expect(await (await fetch(`${admin}/quitquitquit`, { method: "POST" })).text()).toBe("OK\n");
    expect((await running.ended).code).toBe(0);
  });

  test("can be ended while it starts", async () => {
    const module = here.place.file("slow.wasm");
    // Turns for some seconds, a budget's worth in each of its plugins.
    const turns = `(memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) (i32.const 1024))
      (func (export "proxy_on_configure") (param i32 i32) (result i32) (local i32)
        (loop $l (br_if $l (i32.lt_u (local.tee 2 (i32.add (local.get 2) (i32.const 1))) (i32.const 400000000)))) (i32.const 1))`;
    writeFileSync(module, await assembleText(`(module ${turns})`));
    const running = run("--engine", "node", "--bootstrap", bootstrap({ module, script: "" }));
    await running.printed(/no configured limit/);
    running.kill("SIGTERM");
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stdout + stderr).not.toMatch(/serving|ended|envoyscript:/);
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
  ["an option and a bootstrap", ["--admin-port", "1", "--bootstrap", "list.yaml"], 2, /--bootstrap is a whole configuration: --admin-port has to stand in it/],
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
