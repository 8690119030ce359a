// G4–G7, G24–G29: loading, callouts, state, routing, faults, capabilities.
import { wat } from "../probes/wat.mjs";
import type { Scenario } from "../scenario.js";
import { CHUNKED, CHUNKED_ANSWER, call, each, GET, type Group, p1, p2, post } from "./parts.js";

/** Every hand-written probe that no recorded scenario loads. */
const LOADED_ALREADY = /^(ok|malloc-grow|malloc-both|malloc-hostcall|malloc-named-malloc|show-config|fd-write|proc-exit|stack-big)$/;
const loading: Scenario[] = Object.keys(wat)
  .sort()
  .filter((name) => !LOADED_ALREADY.test(name))
  .map(
    (name): Scenario => ({
      id: /^(wasi|proxy)-/.test(name) ? name : `load-${name}`,
      about: `module wat/${name}`,
      full: true,
      plugins: [
        {
          name: "p",
          root_id: "r",
          vm_id: "v",
          module: `wat/${name}`,
          ...(name === "environ" ? { vm: { environment_variables: { key_values: { A: "1" } } } } : {}),
        },
      ],
    }),
  );

const ANSWER = ["HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-c: 1\r\n\r\nyes"];

const callouts: Scenario[] = [
  {
    id: "g24-tokens",
    about: "tokens and immediate errors of http_call",
    plugins: [
      p1(
        each(
          "on_request_headers",
          call(),
          call("nope"),
          "http alt 1000 '' :method GET :path /c",
          "http alt 1000 '' :path /c :authority a",
          "http alt -1 '' :method GET :path /c :authority a",
          call("empty"),
          call(),
        ),
      ),
    ],
    upstream: { alt: ANSWER, up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g24-answer-101",
    about: "http_call is answered with 101",
    plugins: [p1([`on_request_headers: ${call()}`, ...each("on_http_call_response", "pairs 6", "buf 4 0 200", "status")])],
    upstream: {
      alt: ["HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc", 50, "@close"],
      up: [250, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
    },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g24-upgrade",
    about: "http_call asks for another protocol",
    plugins: [
      p1([
        "on_request_headers: http alt 1000 '' :method GET :path /c :authority a connection upgrade upgrade websocket",
        ...each("on_http_call_response", "pairs 6", "buf 4 0 200", "status"),
      ]),
    ],
    upstream: { alt: ANSWER, up: [250, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g24-shutdown",
    about: "http_call from on_done while the process ends",
    plugins: [p1([`on_done: ${call()}`])],
    upstream: { alt: ANSWER },
    clients: [{ ...GET, wait: 80 }],
  },
  {
    id: "g24-hop-headers",
    about: "headers of one hop in the answer to http_call",
    plugins: [p1([`on_request_headers: ${call()}`, "on_http_call_response: pairs 6"])],
    upstream: {
      alt: ["HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\nupgrade: y\r\nconnection: x-a\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n"],
      up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
    },
    clients: [{ ...GET, wait: 250 }],
  },
  {
    id: "g24-body",
    about: "http_call with a body",
    plugins: [
      p1([
        `on_request_headers: http alt 1000 payload :method POST :path /c :authority a x-q 1`,
        ...each("on_http_call_response", "pairs 6", "pairs 7", "buf 4 0 100", "add 6 x 1", "setbuf 4 0 1 x", "status"),
      ]),
    ],
    upstream: { alt: CHUNKED_ANSWER, up: [250, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 450 }],
  },
  {
    id: "g24-dead",
    about: "http_call to a host that refuses",
    plugins: [p1([`on_request_headers: ${call("dead")}`, ...each("on_http_call_response", "pairs 6", "buf 4 0 200", "status")])],
    upstream: { up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g24-timeout",
    about: "http_call that takes too long",
    plugins: [p1([`on_request_headers: ${call("alt", 80)}`, ...each("on_http_call_response", "pairs 6", "buf 4 0 200", "status")])],
    upstream: { alt: [2000], up: [250, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 450 }],
  },
  {
    id: "g24-stream-gone",
    about: "the stream is gone when the answer comes",
    plugins: [p1([`on_request_headers: ${call()}`, "on_request_headers: ret 1", "on_http_call_response: eff 2", "on_http_call_response: continue 0"])],
    upstream: { alt: [200, ...ANSWER] },
    clients: [{ ...GET, wait: 60 }],
    linger: 350,
  },
  {
    id: "g24-head",
    about: "http_call HEAD, 204 and 304",
    plugins: [p1(["on_request_headers: http alt 1000 '' :method HEAD :path /c :authority a", ...each("on_http_call_response", "pairs 6", "buf 4 0 100")])],
    upstream: { alt: ["HTTP/1.1 204 No Content\r\n\r\n"], up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g24-from-tick",
    about: "http_call from a tick",
    plugins: [p1(["on_request_headers: tick 40", "on_tick: tick 0", `on_tick: ${call()}`, "on_http_call_response: pairs 6"])],
    upstream: { alt: ANSWER, up: [250, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 450 }],
  },
  {
    id: "g25-unary",
    about: "gRPC unary, in the header phase, then on",
    plugins: [
      p1([
        "on_request_headers: ret 1",
        "on_request_headers: grpc %0a%06%0a%04h2up 1000 s m hello k v",
        ...each("on_grpc_receive", "buf 5 0 100", "status", "eff $last", "continue 0"),
      ]),
    ],
    upstream: { h2up: { messages: ["world"] } },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g25-unary-error",
    about: "gRPC unary that fails",
    plugins: [p1(["on_request_headers: grpc %0a%06%0a%04h2up 1000 s m hello", ...each("on_grpc_close", "status")])],
    upstream: { h2up: { trailersOnly: { "grpc-status": "7", "grpc-message": "no" } }, up: [200, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 400 }],
  },
  {
    id: "g25-stream",
    about: "gRPC stream, half-closed",
    plugins: [
      p1([
        "on_request_headers: grpcstream %0a%06%0a%04h2up s m",
        "on_request_headers: grpcsend $tok one 0",
        "on_request_headers: grpcsend $tok two 0",
        "on_request_headers: grpcclose $tok",
        "on_grpc_receive: buf 5 0 20",
        "on_grpc_close: status",
      ]),
    ],
    upstream: { h2up: { messages: ["aaa", 30, "bbb"] }, up: [250, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    clients: [{ ...GET, wait: 450 }],
  },
];

const state: Scenario[] = [
  {
    id: "g26-shared-data",
    about: "compare and set",
    plugins: [
      p1(
        each(
          "on_request_headers",
          "shget a",
          "shset a 1 5",
          "shget a",
          "shset a 2 9",
          "shset a 2 $cas",
          "shget a",
          "shset a 3 0",
          "shget a",
          "shset b x 0",
          "shget b",
        ),
      ),
    ],
  },
  {
    id: "g26-shared-data-two-vms",
    about: "two VMs with one vm_id share, another does not",
    plugins: [
      p1("on_request_headers: shset k v 0", { vm_id: "same", vm_script: "one" }),
      { name: "p2", root_id: "r2", vm_id: "same", vm_script: "two", script: "on_request_headers: shget k" },
      { name: "p3", root_id: "r3", vm_id: "other", script: "on_request_headers: shget k" },
    ],
  },
  {
    id: "g26-queues",
    about: "queues",
    plugins: [
      p1([
        "on_configure: qreg q",
        ...each("on_request_headers", "qres '' q", "qenq $q a", "qenq $q b", "qdeq $q"),
        ...each("on_queue_ready", "qdeq $q", "qdeq $q"),
      ]),
    ],
    clients: [{ ...GET, wait: 250 }],
  },
  {
    id: "g26-metrics",
    about: "metrics",
    plugins: [
      p1(
        each(
          "on_request_headers",
          "metric 0 a",
          "inc $m 3",
          "getm $m",
          "rec $m 4",
          "getm $m",
          "metric 1 b",
          "inc $m 5",
          "inc $m -2",
          "getm $m",
          "rec $m 9",
          "getm $m",
          "metric 2 c",
          "rec $m 1",
          "getm $m",
          "metric 7 d",
        ),
      ),
    ],
    stats: ["/stats?filter=wasmcustom"],
  },
  {
    id: "g26-tick-rearm",
    about: "ticks are armed again, changed, stopped",
    plugins: [p1(["on_request_headers: tick 50", "on_tick!2: tick 30", "on_tick!4: tick 0"])],
    clients: [{ ...GET, wait: 400 }],
  },
  {
    id: "g26-property",
    about: "set_property",
    plugins: [
      p1(each("on_request_headers", "setprop a 1", "prop a", "prop filter_state|wasm.a", "setprop a 2", "prop a", "prop metadata|filter_metadata|wasm")),
      { ...p2, script: "on_request_headers: prop a\non_response_headers: prop a" },
    ],
    access_log: "a=%FILTER_STATE(wasm.a:PLAIN)%",
  },
];

const ROUTES = [
  { name: "ra", match: { prefix: "/", headers: [{ name: "x-r", string_match: { exact: "a" } }] }, route: { cluster: "alt" } },
  { name: "rb", match: { prefix: "/", filter_state: [{ key: "wasm.r", string_match: { exact: "b" } }] }, route: { cluster: "alt" } },
  { name: "rc", match: { prefix: "/" }, route: { cluster: "up" } },
];
const routes: Scenario[] = (
  [
    ["add", ["add 0 x-r a"]],
    ["replace", ["replace 0 x-r a"]],
    ["remove", ["add 0 x-r a", "remove 0 x-r"]],
    ["setpairs", ["setpairs 0 :authority h :path / :method GET :scheme http x-forwarded-proto http x-r a"]],
    ["setprop", ["setprop r b"]],
    ["setprop-clear", ["setprop r b", "foreign clear_route_cache"]],
    ["setprop-then-header", ["setprop r b", "add 0 x-other 1"]],
  ] as const
).map(
  ([name, operations]): Scenario => ({
    id: `g27-route-${name}`,
    about: `which route is taken after ${operations.join(", ")}`,
    routes: ROUTES,
    plugins: [
      p1([
        ...each("on_request_headers", "prop xds|route_name", ...operations, "prop xds|route_name"),
        "on_response_headers: prop xds|route_name",
        "on_response_headers: replace 2 x-back 1",
      ]),
    ],
    access_log: "route=%ROUTE_NAME%",
  }),
);

const CALLBACKS = [
  "on_context_create",
  "on_request_headers",
  "on_request_body",
  "on_request_trailers",
  "on_response_headers",
  "on_response_body",
  "on_response_trailers",
  "on_log",
  "on_done",
  "on_delete",
];
const POLICIES: [string, object][] = [
  ["closed", { failure_policy: "FAIL_CLOSED" }],
  ["legacyopen", { fail_open: true }],
  ["open", { failure_policy: "FAIL_OPEN" }],
  ["reload", { failure_policy: "FAIL_RELOAD", reload_config: { backoff: { base_interval: "0.1s" } } }],
];
const faults: Scenario[] = POLICIES.flatMap(([policy, plugin]) =>
  CALLBACKS.map(
    (callback): Scenario => ({
      id: `g28-${policy}-${callback}`,
      about: `trap in ${callback} of the first stream, ${policy}; then a second request`,
      plugins: [p1(`${callback}!1: trap`, { plugin }), p2],
      clients: [post(CHUNKED, 350), { at: 700, ...GET }],
      upstream: { up: [CHUNKED_ANSWER, ["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]] },
    }),
  ),
);

/** A VM that failed is made anew, but not at once again. */
const reloads: Scenario[] = [
  ["early", "60s", [GET, { at: 300, ...GET }]],
  ["twice", "0.1s", [GET, { at: 400, ...GET }, { at: 800, ...GET }]],
].map(
  ([name, base_interval, clients]): Scenario => ({
    id: `g28-reload-again-${name}`,
    about: "the time between two attempts to reload a VM",
    stats: ["/stats?filter=vm_reload"],
    plugins: [p1("on_request_headers!1: trap", { plugin: { failure_policy: "FAIL_RELOAD", reload_config: { backoff: { base_interval } } } }), p2],
    clients: clients as Scenario["clients"] & {},
  }),
);

const ALL = [
  "proxy_log",
  "proxy_on_context_create",
  "proxy_on_vm_start",
  "proxy_on_configure",
  "proxy_on_memory_allocate",
  "proxy_get_buffer_bytes",
  "proxy_on_request_headers",
  "proxy_on_log",
];
const capabilities: Scenario[] = (
  [
    ["headers", ["proxy_get_header_map_value"], each("on_request_headers", "get 0 :path", "add 0 x 1")],
    ["no-log-callback", [], each("on_request_headers", "prop plugin_name", "shset a b 0")],
    ["calls", ["proxy_http_call"], each("on_request_headers", call(), "tick 50")],
  ] as const
).map(
  ([name, more, script]): Scenario => ({
    id: `g29-${name}`,
    about: `capabilities: ${name}`,
    plugins: [p1([...script], { vm: { capability_restriction_config: { allowed_capabilities: Object.fromEntries([...ALL, ...more].map((n) => [n, {}])) } } })],
  }),
);

export const others: Group[] = [
  { item: "4–7 load", scenarios: loading },
  { item: "24–25 callouts", scenarios: callouts },
  { item: "26 state", scenarios: state },
  { item: "27 route cache", scenarios: routes },
  { item: "28 faults", scenarios: [...faults, ...reloads] },
  { item: "29 capabilities", scenarios: capabilities },
];
