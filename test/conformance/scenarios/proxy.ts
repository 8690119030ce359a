// The proxy around the filters: what its HTTP/1 codec accepts and refuses, headers of one hop, access logs.
import type { ClientSpec, Scenario } from "../scenario.js";
import { CHUNKED_ANSWER, GET, type Group, p1, post } from "./parts.js";

const codec: Scenario[] = [
  ...(
    [
      ["request", "connection: close, x-named\r\nkeep-alive: timeout=5\r\nproxy-connection: close\r\nx-named: 1\r\nte: trailers\r\ntrailer: x-t\r\n"],
      ["upgrade", "connection: upgrade\r\nupgrade: other\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"],
      ["te", "te: gzip\r\nconnection: te\r\n"],
      ["te-trailers", "te: gzip, trailers\r\nconnection: te, x-a\r\nx-a: 1\r\n"],
      ["te-alone", "te: gzip, trailers\r\n"],
      ["te-long", `te: ${"t".repeat(256)}\r\nconnection: te\r\n`],
      ["forwarded", "connection: x-forwarded-for\r\nx-forwarded-for: 1.2.3.4\r\n"],
      ["forwarded-close", "connection: Close, X-Forwarded-Proto\r\n"],
      ["pseudo", "connection: :path\r\n"],
      ["many", "connection: a,b,c,d,e,f,g,h,i,j\r\na: 1\r\nj: 2\r\n"],
      ["nine", "connection: a,b,c,d,e,f,g,h,i\r\na: 1\r\nB: 2\r\nj: 2\r\n"],
      ["itself", "connection: connection, keep-alive, x-a\r\nx-a: 1\r\nkeep-alive: 1\r\n"],
      ["named-missing", "connection: x-none, ,content-type\r\nContent-Type: a\r\n"],
      ["host-named", "connection: host, user-agent\r\nuser-agent: me\r\n"],
      ["h2c", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"],
      ["close", "connection: close\r\n"],
    ] as const
  ).map(
    ([name, headers]): Scenario => ({
      id: `codec-hop-${name}`,
      about: "headers of one hop that a client sends",
      plugins: [p1(["on_request_headers: pairs 0"])],
      clients: [{ send: [`GET / HTTP/1.1\r\nhost: h\r\n${headers}\r\n`], wait: 250 }],
    }),
  ),
  {
    id: "codec-request-http-1-0-refused",
    about: "HTTP/1.0 where it is not accepted",
    plugins: [p1(["on_request_headers: pairs 0"])],
    clients: [{ send: ["GET / HTTP/1.0\r\nhost: h\r\n\r\n"], wait: 250 }],
  },
  {
    id: "codec-request-reply-400",
    about: "a filter's 400 is not the client's fault",
    plugins: [p1(["on_request_headers: reply 400 d b -1"])],
    clients: [{ ...GET, wait: 250 }],
  },
  ...(
    [
      ["no-host", "GET / HTTP/1.1\r\n\r\n"],
      ["no-host-body", "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"],
      ["empty-host", "GET / HTTP/1.1\r\nhost:\r\n\r\n"],
      ["http-1-0", "GET / HTTP/1.0\r\nhost: h\r\n\r\n"],
      ["http-1-0-keep-alive", "GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n"],
      ["no-slash", "GET a HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["star", "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["get-star", "GET * HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["absolute", "GET http://other/a?b HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["absolute-https", "GET https://other HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["connect", "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n"],
      ["fragment", "GET /a#b HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["two-hosts", "GET / HTTP/1.1\r\nhost: h\r\nhost: i\r\n\r\n"],
      ["expect", "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nok"],
      ["expect-other", "GET / HTTP/1.1\r\nhost: h\r\nexpect: other\r\n\r\n"],
      ["method-other", "FOO / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["get-body", "GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nok"],
      ["underscores", "GET / HTTP/1.1\r\nhost: h\r\na_b: 1\r\n\r\n"],
      ["get-lower", "get / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["m-search", "M-SEARCH / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["msearch", "MSEARCH / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["purge", "PURGE / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["trace", "TRACE / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["space-in-path", "GET /a b HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["two-spaces", "GET  / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["no-path", "GET HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["no-version", "GET /\r\nhost: h\r\n\r\n"],
      ["http-1-2", "GET / HTTP/1.2\r\nhost: h\r\n\r\n"],
      ["http-2-0", "GET / HTTP/2.0\r\nhost: h\r\n\r\n"],
      ["high-path", "GET /\xe9 HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["two-slashes", "GET //a HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["dots", "GET /a/../b HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["query-only", "GET ?a HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["zero-in-path", "GET /%00 HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["no-colon", "GET / HTTP/1.1\r\nhost: h\r\nabc\r\n\r\n"],
      ["space-before-colon", "GET / HTTP/1.1\r\nhost: h\r\na : b\r\n\r\n"],
      ["no-name", "GET / HTTP/1.1\r\nhost: h\r\n: b\r\n\r\n"],
      ["folded", "GET / HTTP/1.1\r\nhost: h\r\na: b\r\n c\r\n\r\n"],
      ["length-plus", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +2\r\n\r\nok"],
      ["length-twice", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"],
      ["length-list", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2, 2\r\n\r\nok"],
      ["length-differs", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"],
      ["length-empty", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length:\r\n\r\nok"],
      ["length-huge", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999999\r\n\r\nok"],
      ["encoding-gzip", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip\r\n\r\nok"],
      ["encoding-list", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
      ["encoding-upper", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
      ["encoding-identity", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: identity\r\ncontent-length: 2\r\n\r\nok"],
      ["encoding-and-length", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
      ["chunk-bad", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"],
      ["chunk-extension", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n"],
      ["chunk-long", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n"],
      ["encoding-http-1-0", "POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
      ["host-space", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n"],
      ["host-slash", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"],
      ["host-upper", "GET / HTTP/1.1\r\nhost: ExAmple:80\r\n\r\n"],
      ["value-zero", "GET / HTTP/1.1\r\nhost: h\r\na: b\x00c\r\n\r\n"],
      ["value-control", "GET / HTTP/1.1\r\nhost: h\r\na: b\x01c\r\n\r\n"],
      ["value-high", "GET / HTTP/1.1\r\nhost: h\r\na: b\xe9c\r\n\r\n"],
      ["value-tabs", "GET / HTTP/1.1\r\nhost: h\r\na:\t b\tc \t\r\n\r\n"],
      ["line-feeds", "GET / HTTP/1.1\nhost: h\n\n"],
      ["empty-lines", "\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n"],
      ["name-other", "GET / HTTP/1.1\r\nhost: h\r\na@b: c\r\n\r\n"],
      ["name-pseudo", "GET / HTTP/1.1\r\nhost: h\r\n:path: /x\r\n\r\n"],
      ["garbage", "\x16\x03\x01 abc\r\n\r\n"],
      ["headers-large", `GET / HTTP/1.1\r\nhost: h\r\na: ${"x".repeat(61 * 1024)}\r\n\r\n`],
      ["headers-many", `GET / HTTP/1.1\r\nhost: h\r\n${"a: b\r\n".repeat(100)}\r\n`],
      ["headers-hundred", `GET / HTTP/1.1\r\nhost: h\r\n${"a: b\r\n".repeat(99)}\r\n`],
      ["trailers-many", `POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n${"a: b\r\n".repeat(101)}\r\n`],
      ["two-requests", "GET /1 HTTP/1.1\r\nhost: h\r\n\r\nGET /2 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"],
    ] as const
  ).map(
    ([name, request]): Scenario => ({
      id: `codec-request-${name}`,
      about: "requests that are not quite usual",
      hcm: { http_protocol_options: { accept_http_10: true } },
      plugins: [p1(["on_request_headers: pairs 0"])],
      clients: [{ send: [request], wait: 250 }],
    }),
  ),
  ...(
    [
      ["length-twice", "content-length: 2\r\ncontent-length: 2\r\n\r\nok"],
      ["length-list", "content-length: 2, 2\r\n\r\nok"],
      ["length-differs", "content-length: 2\r\ncontent-length: 3\r\n\r\nok"],
      ["encoding-gzip", "transfer-encoding: gzip\r\n\r\nok"],
      ["encoding-list", "transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
      ["encoding-and-length", "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
      ["chunk-bad", "transfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"],
      ["value-control", "content-length: 2\r\na: b\x01c\r\n\r\nok"],
      ["value-high", "content-length: 2\r\na: b\xe9c\r\n\r\nok"],
      ["name-pseudo", "content-length: 2\r\n:status: 201\r\n\r\nok"],
      ["no-colon", "content-length: 2\r\nabc\r\n\r\nok"],
      ["headers-hundred", `content-length: 2\r\n${"a: b\r\n".repeat(99)}\r\nok`],
      ["headers-many", `content-length: 2\r\n${"a: b\r\n".repeat(100)}\r\nok`],
      ["headers-large", `content-length: 2\r\na: ${"x".repeat(61 * 1024)}\r\n\r\nok`],
      ["headers-79", `content-length: 2\r\na: ${"x".repeat(79 * 1024)}\r\n\r\nok`],
      ["headers-81", `content-length: 2\r\na: ${"x".repeat(81 * 1024)}\r\n\r\nok`],
      ["date-and-server", "content-length: 2\r\ndate: x\r\nserver: y\r\nvia: z\r\n\r\nok"],
      ["not-modified", "content-length: 2\r\n\r\n", "304 Not Modified"],
      ["no-content", "content-length: 2\r\n\r\n", "204 No Content"],
      ["no-content-zero", "content-length: 0\r\n\r\n", "204 No Content"],
      ["no-content-chunked", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", "204 No Content"],
      ["reset-content", "content-length: 0\r\n\r\n", "205 Reset Content"],
      ["other-reason", "content-length: 2\r\n\r\nok", "200 Fine"],
      ["no-reason", "content-length: 2\r\n\r\nok", "200"],
      ["status-999", "content-length: 2\r\n\r\nok", "999 Odd"],
      ["status-two-digits", "content-length: 2\r\n\r\nok", "20 OK"],
      ["status-099", "content-length: 2\r\n\r\nok", "099 OK"],
      ["informational", "\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "100 Continue"],
      ["until-close", "x: y\r\n\r\nok"],
    ] as const
  ).map(
    ([name, rest, status = "200 OK"]): Scenario => ({
      id: `codec-answer-${name}`,
      about: "answers that are not quite usual",
      plugins: [p1(["on_response_headers: pairs 2"])],
      upstream: { up: name === "until-close" ? [`HTTP/1.1 ${status}\r\n${rest}`, 40, "@close"] : [`HTTP/1.1 ${status}\r\n${rest}`] },
      clients: [{ ...GET, wait: 300 }],
    }),
  ),
  {
    id: "codec-answer-http-1-0",
    about: "an upstream that speaks HTTP/1.0",
    plugins: [p1(["on_response_headers: pairs 2"])],
    upstream: { up: ["HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"] },
    clients: [{ ...GET, wait: 300 }],
  },
  ...(
    [
      [
        "response",
        "connection: keep-alive, x-named\r\nx-named: 1\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: trailers\r\ntrailer: x-t\r\n",
      ],
      ["response-close", "connection: close\r\nkeep-alive: timeout=5\r\nproxy-connection: close\r\n"],
      ["response-upgrade", "upgrade: h2c\r\nproxy-authenticate: Basic\r\nkeep-alive: max=1\r\n"],
    ] as const
  ).map(
    ([name, headers]): Scenario => ({
      id: `codec-hop-${name}`,
      about: "headers of one hop that an upstream sends",
      plugins: [p1(["on_response_headers: pairs 2"])],
      upstream: { up: [`HTTP/1.1 200 OK\r\n${headers}content-length: 2\r\n\r\nok`] },
      clients: [{ ...GET, wait: 250 }],
    }),
  ),
  {
    id: "codec-hop-response-chunked",
    about: "transfer-encoding as a filter sees it",
    plugins: [p1(["on_response_headers: pairs 2"])],
    upstream: { up: ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nkeep-alive: timeout=5\r\n\r\n2\r\nok\r\n0\r\n\r\n"] },
    clients: [{ ...GET, wait: 250 }],
  },
];

const FORMAT = [
  "p=%PROTOCOL% m=%REQ(:METHOD)% h=%REQ(X-NONE?:AUTHORITY):3% none=%REQ(x-none)% ct=%RESP(content-type)% t=%TRAILER(x-t)% %%",
  "host=%UPSTREAM_HOST% remote=%UPSTREAM_REMOTE_ADDRESS% raw=%UPSTREAM_CLUSTER_RAW% attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
  "why=%UPSTREAM_TRANSPORT_FAILURE_REASON% end=%CONNECTION_TERMINATION_DETAILS% grpc=%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER% sni=%REQUESTED_SERVER_NAME%",
  "vc=%VIRTUAL_CLUSTER_NAME% route=%ROUTE_NAME% dyn=%DYNAMIC_METADATA(a:b)% rm=%METADATA(ROUTE:a:b)% cm=%METADATA(CLUSTER:a:b)%",
  "fs=%FILTER_STATE(wasm.k:PLAIN)% fsj=%FILTER_STATE(wasm.k)% no=%FILTER_STATE(none)% id=%CONNECTION_ID% env=%ENVIRONMENT(TRACED)% %ENVIRONMENT(NOT_THERE)%",
  "to=%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT% from=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
  "direct=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% body=%LOCAL_REPLY_BODY% flags=%RESPONSE_FLAGS% len=%RESP(server):3% rx=%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%",
  "pct=%START_TIME(%%)% z=%START_TIME(%Z)%",
].join(" ");
const METADATA = { filter_metadata: { a: { b: { c: [1, "x", true, null] } } } };
const ROUTES = [
  { name: "dead", match: { prefix: "/dead" }, route: { cluster: "dead" } },
  { name: "empty", match: { prefix: "/empty" }, route: { cluster: "empty" } },
  { name: "missing", match: { prefix: "/missing" }, route: { cluster_header: "x-cluster" } },
  { name: "direct", match: { prefix: "/direct" }, direct_response: { status: 418, body: { inline_string: "tea" } } },
  { name: "h2", match: { prefix: "/h2" }, route: { cluster: "h2up" } },
  { name: "slow", match: { prefix: "/slow" }, route: { cluster: "up", timeout: "0.1s" } },
  { name: "r0", match: { prefix: "/up" }, route: { cluster: "up" }, metadata: METADATA },
];
const get = (path: string, more = "") => ({ send: [`GET ${path} HTTP/1.1\r\nhost: hostname\r\n${more}\r\n`], wait: 300 });
const JSON_FORMAT = {
  code: "%RESPONSE_CODE%",
  text: "code %RESPONSE_CODE%",
  none: "%REQ(x-none)%",
  nested: { rx: "%BYTES_RECEIVED%", list: ["%PROTOCOL%", "%ROUTE_NAME%", 3, true, null] },
  quotes: "%REQ(x-q)%",
  details: "%RESPONSE_CODE_DETAILS%",
};
const STDOUT = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const log = (log_format: object) => ({ access_log: [{ name: "l", typed_config: { "@type": STDOUT, log_format } }] });

const logs: Scenario[] = [
  ...(
    [
      ["answered", [get("/up")]],
      ["body", [post(["POST /up HTTP/1.1\r\nhost: hostname\r\ncontent-length: 12\r\n\r\n", 30, "aaaaaabbbbbb"], 300)]],
      ["refused", [get("/dead")]],
      ["no-host", [get("/empty")]],
      ["no-cluster", [get("/missing", "x-cluster: not-there\r\n")]],
      ["no-route", [get("/nowhere")]],
      ["direct", [get("/direct")]],
      ["timeout", [get("/slow")]],
      ["grpc", [{ h2: [{ headers: { ":method": "POST", ":path": "/h2", ":authority": "hostname", "content-type": "application/grpc" } }] }]],
      ["bad-request", [{ send: ["nonsense\r\n\r\n"], wait: 100 }]],
      ["reset", [get("/up", "x-reset: 1\r\n")]],
    ] as [string, ClientSpec[]][]
  ).map(
    ([name, clients]): Scenario => ({
      id: `log-text-${name}`,
      about: "the operators of an access log",
      access_log: FORMAT,
      routes: ROUTES,
      env: { TRACED: "yes" },
      plugins: [p1(['on_request_headers: setprop k va"lue'])],
      clients,
      upstream: {
        up: name === "timeout" ? [400, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] : name === "reset" ? ["@reset"] : CHUNKED_ANSWER,
        h2up: { messages: ["world"], headers: { "x-i": "1" }, trailers: { "grpc-status": "5", "x-t": "2" } },
      },
    }),
  ),
  {
    id: "log-tcp",
    about: "the operators of a TCP listener's access log",
    tcp: true,
    access_log: FORMAT,
    env: { TRACED: "yes" },
    plugins: [p1(["on_downstream_data: setprop k v"])],
    clients: [{ send: ["hello"], wait: 300 }],
    upstream: { tcp: ["world"] },
  },
  ...(
    [
      ["json", { json_format: JSON_FORMAT }],
      ["json-omit", { json_format: JSON_FORMAT, omit_empty_values: true }],
      [
        "text-omit",
        { text_format_source: { inline_string: "[%REQ(x-none)%|%RESPONSE_CODE%|%UPSTREAM_TRANSPORT_FAILURE_REASON%]\n" }, omit_empty_values: true },
      ],
    ] as const
  ).map(
    ([name, format]): Scenario => ({
      id: `log-${name}`,
      about: "forms of an access log",
      routes: ROUTES,
      hcm: log(format),
      plugins: [p1("")],
      clients: [get("/up", 'x-q: a"b\\c\r\n'), { at: 400, ...get("/nowhere") }],
      upstream: { up: CHUNKED_ANSWER },
    }),
  ),
];

const UNICODE = {
  send: ["GET /up HTTP/1.1\r\nhost: h\r\nx-u: \u00c3\u00a9\u00e2\u0082\u00ac\r\n\r\n", 40, "GET /no HTTP/1.1\r\nhost: h\r\n\r\n"],
  wait: 300,
};
const unicode: Scenario[] = (
  [
    ["text", log({ text_format_source: { inline_string: "\u00fc %REQ(x-u)% %REQ(x-u):2% \u20ac\n" } })],
    ["json", log({ json_format: { "\u00fc": "%REQ(x-u)%", text: "\u20ac %REQ(x-u)%" } })],
    [
      "replies",
      {
        local_reply_config: {
          mappers: [
            {
              filter: { status_code_filter: { comparison: { op: "EQ", value: { default_value: 404, runtime_key: "k" } } } },
              body: { inline_string: "nein \u00fc" },
            },
          ],
          body_format: { text_format_source: { inline_string: "\u20ac %LOCAL_REPLY_BODY%" } },
        },
      },
    ],
  ] as const
).map(
  ([name, hcm]): Scenario => ({
    id: `log-unicode-${name}`,
    about: "texts that are not ASCII, of the configuration and of the request",
    plugins: [p1("")],
    hcm,
    routes: [
      { name: "r", match: { prefix: "/up" }, route: { cluster: "up" }, request_headers_to_add: [{ header: { key: "x-copy", value: "\u00fc%REQ(x-u)%" } }] },
    ],
    clients: [UNICODE],
  }),
);

const formats: Scenario[] = (
  [
    ["argument", "%RESPONSE_CODE(a)%"],
    ["length", "%RESPONSE_CODE:3%"],
    ["length-optional", "%START_TIME:3%"],
    ["no-argument", "%REQ%"],
    ["no-argument-length", "%RESP():3%"],
    ["three-headers", "%REQ(a?b?c)%"],
    ["bad-header", "%REQ(a:b)%"],
    ["unknown", "%NOPE%"],
    ["metadata", "%METADATA(NOPE:a)%"],
    ["no-metadata", "%METADATA%"],
    ["no-dynamic-metadata", "%DYNAMIC_METADATA%"],
    ["filter-state", "%FILTER_STATE(a:WHAT)%"],
    ["no-filter-state", "%FILTER_STATE%"],
    ["grpc-status", "%GRPC_STATUS(x)%"],
    ["open", "a%"],
    ["lower-case", "x %protocol%"],
  ] as const
).map(([name, text]): Scenario => {
  const format = { text_format_source: { inline_string: text } };
  return { id: `log-refused-${name}`, about: "a format that Envoy refuses", full: true, plugins: [p1("")], hcm: log(format) };
});

const route = (action: object, config: object = {}) => ({
  hcm: { route_config: { name: "rc", virtual_hosts: [{ name: "v", domains: ["*"], routes: [{ match: { prefix: "/" }, route: action }] }], ...config } },
});
const refusals: Scenario[] = (
  [
    ["cluster", route({ cluster: "nowhere" })],
    ["cluster-unvalidated", route({ cluster: "nowhere" }, { validate_clusters: false })],
    [
      "weighted-cluster",
      route({
        weighted_clusters: {
          clusters: [
            { name: "up", weight: 1 },
            { name: "nowhere", weight: 0 },
          ],
        },
      }),
    ],
  ] as const
).map(([name, fields]): Scenario => ({ id: `no-route-${name}`, about: "a route to a cluster that is not there", full: true, plugins: [p1("")], ...fields }));

const hosts: Scenario[] = [
  ["ignored", { ignore_port_in_host_matching: true }],
  ["counts", {}],
].map(([name, config]): Scenario => {
  const virtual_hosts = [
    { name: "exact", domains: ["h"], routes: [{ name: "r1", match: { prefix: "/" }, route: { cluster: "up" } }] },
    { name: "with port", domains: ["h:80"], routes: [{ name: "r2", match: { prefix: "/" }, route: { cluster: "up" } }] },
  ];
  return {
    id: `no-route-port-${name}`,
    about: "the port of a virtual host's domain",
    plugins: [p1("")],
    access_log: "route=%ROUTE_NAME%",
    hcm: { route_config: { name: "rc", virtual_hosts, ...(config as object) } },
    clients: ["h", "h:80", "h:8080"].map((host, i) => ({ at: i * 100, send: [`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`], wait: 80 })),
  };
});

const comparison = (op: string, value: number) => ({ comparison: { op, value: { default_value: value, runtime_key: "k" } } });
const status = (op: string, value: number) => ({ status_code_filter: comparison(op, value) });

/** By name; each is tried as an access log's and as a mapper's. */
const LOG_FILTERS: Record<string, object> = {
  "status-eq": status("EQ", 403),
  "status-ge": status("GE", 400),
  "status-le": status("LE", 299),
  "status-ne": status("NE", 403),
  "duration-ge": { duration_filter: comparison("GE", 0) },
  "duration-long": { duration_filter: comparison("GE", 60000) },
  "not-health-check": { not_health_check_filter: {} },
  and: { and_filter: { filters: [status("GE", 400), status("LE", 403)] } },
  or: { or_filter: { filters: [status("EQ", 404), status("EQ", 403)] } },
  "header-present": { header_filter: { header: { name: "x-q", present_match: true } } },
  "header-absent": { header_filter: { header: { name: "x-q", present_match: true, invert_match: true } } },
  "header-exact": { header_filter: { header: { name: "x-q", string_match: { exact: "1" } } } },
  "flag-any": { response_flag_filter: {} },
  "flag-nr": { response_flag_filter: { flags: ["NR"] } },
  "grpc-status": { grpc_status_filter: { statuses: ["PERMISSION_DENIED"] } },
  "grpc-status-exclude": { grpc_status_filter: { statuses: ["PERMISSION_DENIED"], exclude: true } },
};

/** A reply of the filter's, one of the upstream's, and no route. */
const seen = [
  ["GET /reply", "x-q: 1\r\n"],
  ["GET /reply", ""],
  ["GET /", ""],
  ["GET /none", "x-q: 2\r\n"],
].map(([line, headers], i) => ({ at: i * 80, send: [`${line} HTTP/1.1\r\nhost: h\r\n${headers}\r\n`], wait: 60 }));
const withNone = [
  { name: "r0", match: { path: "/none" }, direct_response: { status: 404, body: { inline_string: "none" } } },
  { name: "r1", match: { prefix: "/" }, route: { cluster: "up" } },
];
const replies = p1("on_request_headers#1: reply 403 d body -1\non_request_headers#2: reply 403 d body -1");
const LOG = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";

const filtered: Scenario[] = Object.entries(LOG_FILTERS).flatMap(([name, filter]): Scenario[] => [
  {
    id: `log-filter-${name}`,
    about: "an access log with a filter",
    plugins: [replies],
    routes: withNone,
    hcm: {
      access_log: [
        {
          name: "filtered",
          filter,
          typed_config: { "@type": LOG, log_format: { text_format_source: { inline_string: "AL %RESPONSE_CODE% %REQ(:PATH)% %REQ(X-Q)%\n" } } },
        },
      ],
    },
    clients: seen,
  },
  {
    id: `g21-mapper-${name}`,
    about: "a mapper of local replies with a filter",
    plugins: [replies],
    routes: withNone,
    hcm: { local_reply_config: { mappers: [{ filter, status_code: 499 }] } },
    clients: seen,
  },
]);

const option = (key: string, value: string, append_action?: string) => ({ header: { key, value }, ...(append_action ? { append_action } : {}) });
const mapped: Scenario[] = Object.entries({
  add: [option("x-a", "added"), option("x-b", "%RESPONSE_CODE%")],
  overwrite: [option("x-a", "over", "OVERWRITE_IF_EXISTS_OR_ADD"), option("x-c", "new", "OVERWRITE_IF_EXISTS")],
  absent: [option("x-a", "no", "ADD_IF_ABSENT"), option("x-c", "yes", "ADD_IF_ABSENT")],
  odd: [option("content-type", "text/odd"), option("content-length", "7"), option("server", "mine")],
  pseudo: [option(":status", "200")],
  host: [option("Host", "h")],
}).map(([name, headers_to_add]) => ({
  id: `g21-mapper-headers-${name}`,
  about: "headers_to_add of a mapper",
  plugins: [p1("on_request_headers: reply 403 d body -1 x-a 1\non_response_headers: pairs 2")],
  hcm: {
    local_reply_config: {
      mappers: [{ filter: status("EQ", 403), status_code: 418, body: { inline_string: "teapot" }, headers_to_add }],
      body_format: { text_format_source: { inline_string: "<%LOCAL_REPLY_BODY%> %RESPONSE_CODE% %RESP(x-a)%" }, content_type: "text/html" },
    },
  },
}));

const repeated: Scenario[] = [
  {
    id: "log-repeated",
    about: "headers that come twice",
    plugins: [p1("on_log: prop request|headers|x-q")],
    access_log: "%REQ(X-Q)% %REQ(NONE?X-Q)% %RESP(X-R)% %REQ(ACCEPT)% %TRAILER(X-T)%",
    hcm: { http_protocol_options: { enable_trailers: true } },
    clients: [{ send: ["GET / HTTP/1.1\r\nhost: h\r\nx-q: 1\r\naccept: a\r\nx-q: 2\r\naccept: b\r\n\r\n"], wait: 80 }],
    upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-r: 1\r\nx-r: 2\r\n\r\n"] },
  },
];

const TCP_FACTS = [
  ...["upstream|num_endpoints", "upstream|request_attempt_count", "xds|cluster_metadata", "xds|upstream_host_metadata", "request|duration", "response|flags"],
  ...["connection|id", "xds|cluster_name", "upstream|address", "upstream|local_address", "request|protocol", "plugin_name"],
];
const tcp: Scenario[] = [
  {
    id: "tcp-server-reset",
    about: "the host resets the connection",
    tcp: true,
    plugins: [p1("on_downstream_data: buf 2 0 100\non_upstream_data: buf 3 0 100\non_log: propx response|flags")],
    upstream: { tcp: ["world", 40, "@reset"] },
    clients: [{ send: ["hello", 80, "more"], wait: 150 }],
  },
  {
    id: "tcp-properties",
    about: "what a connection tells of itself",
    tcp: true,
    plugins: [
      p1(
        ["on_new_connection", "on_downstream_data#1", "on_upstream_data#1", "on_log"].flatMap((callback) =>
          TCP_FACTS.map((fact) => `${callback}: propx ${fact}`),
        ),
      ),
    ],
    upstream: { tcp: ["world"] },
    clients: [{ send: ["hello", 60, "@close"], wait: 120 }],
  },
];

const statistics: Scenario[] = [
  {
    id: "b13-histograms",
    about: "histograms at the admin port",
    plugins: [
      p1([
        "on_request_headers: metric 2 h",
        ...[0, 1, 2, 3, 5, 8, 13, 99, 100, 101, 1234, 56789, 10000000].map((n) => `on_request_headers: rec $m ${n}`),
        ...["metric 2 n", "rec $m -1", "rec $m -1", "rec $m -250", "metric 2 unused", "metric 0 c", "metric 1 c", "rec $m 5"].map(
          (op) => `on_request_headers: ${op}`,
        ),
      ]),
    ],
    stats: [
      "",
      "&usedonly",
      "&format=prometheus",
      "&format=json",
      "&histogram_buckets=cumulative",
      "&histogram_buckets=disjoint",
      "&type=Histograms",
      "&type=Gauges",
    ].map((query) => `/stats?filter=^wasmcustom${query}`),
    linger: 6000,
  },
];

const hosts404: Scenario[] = [
  {
    id: "a11-no-route",
    about: "what is known of a request that has no route",
    plugins: [
      p1(
        ["on_request_headers", "on_response_headers", "on_log"].flatMap((callback) =>
          ["cluster_name", "route_name", "virtual_host_name", "cluster_metadata"].map((name) => `${callback}: propx xds|${name}`),
        ),
      ),
    ],
    routes: [{ match: { prefix: "/no" }, route: { cluster: "up" } }],
  },
];

const grpcTypes: Scenario[] = ["application/grpc", "application/grpc;x", "application/grpc+proto", "application/grpc-web", "application/grpcx"].map(
  (type, i) => ({
    id: `log-grpc-type-${i}`,
    about: `GRPC_STATUS of a request with content-type ${type}`,
    plugins: [p1("on_request_headers: reply 403 d body -1")],
    access_log: "%GRPC_STATUS% %GRPC_STATUS_NUMBER%",
    clients: [{ send: [`POST / HTTP/1.1\r\nhost: h\r\ncontent-type: ${type}\r\ncontent-length: 0\r\n\r\n`], wait: 80 }],
  }),
);

export const proxy: Group[] = [
  { item: "G21", scenarios: [...filtered, ...mapped] },
  { item: "hosts", scenarios: hosts },
  { item: "routes", scenarios: refusals },
  { item: "HTTP/1", scenarios: codec },
  { item: "access logs", scenarios: [...logs, ...formats, ...unicode, ...grpcTypes, ...repeated] },
  { item: "TCP", scenarios: tcp },
  { item: "statistics", scenarios: [...statistics, ...hosts404] },
];
