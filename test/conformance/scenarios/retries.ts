// Retries: by what a filter, a route or the caller of http_call asks for.
import type { Scenario } from "../scenario.js";
import { each, GET, type Group, p1 } from "./parts.js";

const OK = ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"];
const FAILS = ["HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\nx-n: 1\r\n\r\nbad"];
const answer = (status: number, headers = "") => [`HTTP/1.1 ${status} x\r\ncontent-length: 0\r\n${headers}\r\n`];
const RESET = ["@reset"];
const CLOSE = ["@close"];
const PARTIAL = ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", 30, "@reset"];

const SHOWN = [
  "on_response_headers: pairs 2",
  "on_log: prop response|code_details",
  "on_log: propx response|flags",
  "on_log: propx upstream|request_attempt_count",
];
const asks = (on: string, more: string[] = []) => p1([`on_request_headers: add 0 x-envoy-retry-on ${on}`, ...more, ...SHOWN]);
const up = (...answers: unknown[][]) => ({ up: answers as never });
const ACCESS = "n=%UPSTREAM_REQUEST_ATTEMPT_COUNT%";
const client = { ...GET, wait: 400 };

const one = (id: string, on: string, answers: unknown[][], more: string[] = [], fields: Partial<Scenario> = {}): Scenario => ({
  id: `retry-${id}`,
  about: `x-envoy-retry-on ${on}, set by a filter`,
  plugins: [asks(on, more)],
  access_log: ACCESS,
  upstream: up(...answers),
  clients: [client],
  ...fields,
});

const max = (n: number) => [`on_request_headers: add 0 x-envoy-max-retries ${n}`];
const post = (steps: (string | number)[], wait = 400) => [{ send: ["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n", ...steps], wait }];
const policy = (retry_policy: object) => ({ routes: [{ match: { prefix: "/" }, route: { cluster: "up", retry_policy } }] });
const byRoute = (id: string, retry_policy: object, answers: unknown[][], fields: Partial<Scenario> = {}): Scenario => ({
  id: `retry-route-${id}`,
  about: "retry_policy of a route",
  plugins: [p1(SHOWN)],
  access_log: ACCESS,
  upstream: up(...answers),
  clients: [client],
  ...policy(retry_policy),
  ...fields,
});

const retries: Scenario[] = [
  one("5xx", "5xx", [FAILS, OK]),
  one("5xx-twice", "5xx", [FAILS, FAILS, OK]),
  one("5xx-max-2", "5xx", [FAILS, FAILS, OK], max(2)),
  one("5xx-max-0", "5xx", [FAILS, OK], max(0)),
  one("5xx-404", "5xx", [answer(404), OK]),
  one("5xx-reset", "5xx", [RESET, OK]),
  one("5xx-close", "5xx", [CLOSE, OK]),
  one("5xx-partial", "5xx", [PARTIAL, OK]),
  one("gateway-error-503", "gateway-error", [FAILS, OK]),
  one("gateway-error-500", "gateway-error", [answer(500), OK]),
  one("reset", "reset", [RESET, OK]),
  one("reset-503", "reset", [FAILS, OK]),
  one("reset-twice", "reset", [RESET, RESET, OK]),
  one("retriable-4xx", "retriable-4xx", [answer(409), OK]),
  one("retriable-4xx-404", "retriable-4xx", [answer(404), OK]),
  one("status-codes", "retriable-status-codes", [answer(418), OK], ["on_request_headers: add 0 x-envoy-retriable-status-codes 404,418"]),
  one("status-codes-none", "retriable-status-codes", [answer(418), OK]),
  one("headers", "retriable-headers", [answer(200, "x-again: 1\r\n"), OK], ["on_request_headers: add 0 x-envoy-retriable-header-names x-again,x-other"]),
  one("ratelimited", "5xx", [answer(503, "x-envoy-ratelimited: true\r\n"), OK]),
  one("ratelimited-asked", "envoy-ratelimited", [answer(429, "x-envoy-ratelimited: true\r\n"), OK]),
  one("two", "retriable-4xx,5xx", [FAILS, OK]),
  one("odd", "nothing,like,this", [FAILS, OK]),
  one("connect-failure", "connect-failure", [OK], [], { routes: [{ match: { prefix: "/" }, route: { cluster: "dead" } }] }),
  one("5xx-dead", "5xx", [OK], max(2), { routes: [{ match: { prefix: "/" }, route: { cluster: "dead" } }] }),
  one("5xx-empty", "5xx", [OK], [], { routes: [{ match: { prefix: "/" }, route: { cluster: "empty" } }] }),
  one("body", "5xx", [FAILS, OK], [], { clients: post(["aaaaabbbbb"]) }),
  one("body-pieces", "5xx", [FAILS, OK], [], { clients: post(["aaaaa", 60, "bbbbb"]) }),
  one("body-early", "5xx", [{ on: "headers", respond: FAILS } as never, OK], [], { clients: post(["aaaaa", 120, "bbbbb"]) }),
  one("body-large", "5xx", [FAILS, OK], [], {
    listener: { per_connection_buffer_limit_bytes: 1000 },
    clients: [
      { send: [`POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3000\r\n\r\n${"a".repeat(900)}`, 40, "b".repeat(1000), 40, "c".repeat(1100)], wait: 400 },
    ],
  }),
  one("trailers", "5xx", [FAILS, OK], [], {
    hcm: { http_protocol_options: { enable_trailers: true } },
    clients: [{ send: ["POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"], wait: 400 }],
  }),
  one("per-try", "5xx", [[300, ...OK], OK], ["on_request_headers: add 0 x-envoy-upstream-rq-per-try-timeout-ms 80"]),
  one(
    "per-try-twice",
    "5xx",
    [
      [300, ...OK],
      [300, ...OK],
    ],
    ["on_request_headers: add 0 x-envoy-upstream-rq-per-try-timeout-ms 80"],
  ),
  one("per-try-alone", "reset-before-request", [[300, ...OK], OK], ["on_request_headers: add 0 x-envoy-upstream-rq-per-try-timeout-ms 80"]),
  one(
    "total-timeout",
    "5xx",
    [
      [100, ...FAILS],
      [300, ...OK],
    ],
    ["on_request_headers: add 0 x-envoy-upstream-rq-timeout-ms 350"],
  ),
  one(
    "grpc",
    "5xx",
    [answer(200, "content-type: application/grpc\r\ngrpc-status: 14\r\n"), OK],
    ["on_request_headers: add 0 x-envoy-retry-grpc-on unavailable,internal"],
  ),
  {
    ...one("client", "5xx", [FAILS, OK]),
    about: "a client may not ask for it",
    plugins: [p1(SHOWN)],
    clients: [{ send: ["GET / HTTP/1.1\r\nhost: h\r\nx-envoy-retry-on: 5xx\r\n\r\n"], wait: 400 }],
  },
  byRoute("5xx", { retry_on: "5xx" }, [FAILS, OK]),
  byRoute("num-3", { retry_on: "5xx", num_retries: 3 }, [FAILS, FAILS, FAILS, OK]),
  byRoute("none", {}, [FAILS, OK]),
  byRoute("codes", { retry_on: "retriable-status-codes", retriable_status_codes: [503] }, [FAILS, OK]),
  byRoute("headers", { retry_on: "retriable-headers", retriable_headers: [{ name: "x-n", string_match: { exact: "1" } }] }, [FAILS, OK]),
  byRoute("request-headers", { retry_on: "5xx", retriable_request_headers: [{ name: "x-q", present_match: true }] }, [FAILS, OK]),
  byRoute("per-try", { retry_on: "5xx", per_try_timeout: "0.08s" }, [[300, ...OK], OK]),
  byRoute("backoff", { retry_on: "5xx", retry_back_off: { base_interval: "0.001s", max_interval: "0.01s" } }, [[20, ...FAILS], OK]),
  {
    ...byRoute("and-filter", { retry_on: "retriable-4xx", num_retries: 1 }, [FAILS, FAILS, OK]),
    plugins: [asks("5xx", max(2))],
  },
  {
    id: "retry-call",
    about: "x-envoy-retry-on in a http_call",
    plugins: [
      p1([
        "on_request_headers: http alt 1000 body :method POST :path /c :authority a x-envoy-retry-on 5xx",
        "on_request_headers: ret 1",
        ...each("on_http_call_response", "pairs 6", "buf 4 0 100", "eff $last", "continue 0"),
      ]),
    ],
    upstream: { alt: [FAILS, OK] as never },
    clients: [client],
  },
  {
    id: "retry-attempt-count",
    about: "include_attempt_count_in_response and _in_request",
    plugins: [asks("5xx")],
    upstream: up(FAILS, OK),
    hcm: {
      route_config: {
        virtual_hosts: [
          {
            name: "v",
            domains: ["*"],
            include_request_attempt_count: true,
            include_attempt_count_in_response: true,
            routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }],
          },
        ],
      },
    },
    clients: [client],
  },
];

export const retrying: Group[] = [{ item: "retries", scenarios: retries }];
