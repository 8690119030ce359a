// G1, G2, G16–G19 and the cells of table B4: encodings, maps and buffers, and which of them there are in each callback.
import type { Scenario } from "../scenario.js";
import { CHUNKED, CHUNKED_ANSWER, call, each, GET, type Group, LENGTH_ANSWER, PLAIN_CHUNKED, p1, p2, post, resumeByTick } from "./parts.js";

const MAPS = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const BUFFERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/** Everything that can be asked of maps and buffers. Asking for a size may make trailers, so that comes last. */
const EVERYTHING = [
  ...MAPS.flatMap((map) => [`get ${map} :path`, `get ${map} :status`, `get ${map} x-nope`, `pairs ${map}`]),
  ...BUFFERS.flatMap((buffer) => [`buf ${buffer} 0 20`, `bufstatus ${buffer}`]),
  ...MAPS.flatMap((map) => [`add ${map} x-cell 1`, `replace ${map} x-cell 2`, `get ${map} x-cell`, `remove ${map} x-cell`]),
  ...BUFFERS.filter((buffer) => buffer > 1).map((buffer) => `setbuf ${buffer} 0 0 x`),
  ...MAPS.map((map) => `size ${map}`),
];

const EXCHANGE = { clients: [post(CHUNKED, 450)], upstream: { up: CHUNKED_ANSWER } };

const cell = (name: string, callback: string, extra: string[] = [], fields: Partial<Scenario> = {}): Scenario => ({
  id: `b4-cell-${name}`,
  topic: "B4",
  about: `every map and buffer in ${callback}`,
  plugins: [p1([...extra, ...each(callback, ...EVERYTHING)])],
  ...EXCHANGE,
  ...fields,
});

const GRPC = { h2up: { messages: ["world"], headers: { "x-i": "1" }, trailers: { "grpc-status": "0", "x-t": "2" } } };

const cells: Scenario[] = [
  cell("context-create", "on_context_create"),
  cell("request-headers", "on_request_headers"),
  cell("request-body", "on_request_body#1"),
  cell("request-body-end", "on_request_body?eos", [], { clients: [post(PLAIN_CHUNKED, 450)] }),
  cell("request-trailers", "on_request_trailers"),
  cell("response-headers", "on_response_headers"),
  cell("response-body", "on_response_body#1"),
  cell("response-body-end", "on_response_body?eos", [], { upstream: { up: LENGTH_ANSWER } }),
  cell("response-trailers", "on_response_trailers"),
  cell("log", "on_log"),
  cell("done", "on_done"),
  cell("delete", "on_delete"),
  cell("vm-start", "on_vm_start"),
  cell("configure", "on_configure"),
  cell("tick", "on_tick", ["on_request_headers: tick 60", "on_tick: tick 0"]),
  cell("tick-held-headers", "on_tick", ["on_request_headers: ret 4", "on_request_headers: tick 300", "on_tick: tick 0", "on_tick: eff $last"], {
    clients: [post(CHUNKED, 900)],
  }),
  cell("tick-held-body", "on_tick", ["on_request_body: ret 1", "on_request_body: tick 60", "on_request_trailers: ret 1", "on_tick: eff $last"], {
    clients: [post(CHUNKED, 600)],
  }),
  cell("tick-held-response", "on_tick", ["on_response_headers: ret 4", "on_response_headers: tick 200", "on_tick: tick 0", "on_tick: eff $last"], {
    clients: [post(CHUNKED, 900)],
  }),
  cell("queue-ready", "on_queue_ready", ["on_configure: qreg q1", "on_request_headers: qres '' q1", "on_request_headers: qenq $q one"]),
  cell("http-call", "on_http_call_response", [`on_request_headers: ${call()}`], {
    upstream: { up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], alt: CHUNKED_ANSWER },
  }),
  cell("http-call-effective", "on_http_call_response", [`on_request_headers: ${call()}`, "on_request_headers: ret 1", "on_http_call_response: eff $last"], {
    upstream: { alt: CHUNKED_ANSWER },
    clients: [{ send: ["GET / HTTP/1.1\r\nhost: h\r\n\r\n"], wait: 500 }],
  }),
  cell("http-call-failed", "on_http_call_response", [`on_request_headers: ${call("alt", 1000)}`], {
    upstream: { alt: ["HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\naaaaa", 40, "@reset"], up: [200, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
  }),
  cell("grpc-receive", "on_grpc_receive", ["on_request_headers: grpc h2up 1000 s m x"], {
    upstream: { ...GRPC, up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
  }),
  cell("grpc-initial-metadata", "on_grpc_receive_initial_metadata", ["on_request_headers: grpcstream h2up s m"], {
    upstream: { h2up: { ...GRPC.h2up, on: "headers" }, up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    volatile: true,
  }),
  cell("grpc-trailing-metadata", "on_grpc_receive_trailing_metadata", ["on_request_headers: grpcstream h2up s m"], {
    upstream: { h2up: { ...GRPC.h2up, on: "headers" }, up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
  }),
  cell("grpc-close", "on_grpc_close", ["on_request_headers: grpc dead 1000 s m x"], {
    upstream: { up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
  }),
  ...(["on_new_connection", "on_downstream_data#1", "on_upstream_data#1", "on_downstream_connection_close", "on_upstream_connection_close"] as const).map(
    (callback): Scenario => ({
      id: `b4-cell-tcp-${callback.replace(/^on_|#1$/g, "").replaceAll("_", "-")}`,
      topic: "B4",
      about: `every map and buffer in ${callback}`,
      tcp: true,
      plugins: [p1(each(callback, ...EVERYTHING))],
      clients: [{ send: ["hello", 60, "again"], wait: 150 }],
      upstream: { tcp: ["world"] },
    }),
  ),
];

/** What is left of the request's and the response's headers in later callbacks, by the status of the callback that had them. */
const later: Scenario[] = [0, 1, 3, 4].flatMap((status) =>
  [false, true].map(
    (allow): Scenario => ({
      id: `b4-later-${status}-${allow ? "on" : "off"}`,
      topic: "B4",
      about: `request headers in all later callbacks after on_request_headers = ${status}, allow_on_headers_stop_iteration ${allow ? "on" : "off"}, resumed by a tick`,
      plugins: [
        p1(
          [
            `on_request_headers: ret ${status}`,
            ...(status === 0 ? [] : resumeByTick(0, 250)),
            ...["on_request_body", "on_request_trailers", "on_response_headers", "on_response_body", "on_response_trailers", "on_log", "on_done"].flatMap(
              (callback) => each(callback, "get 0 :path", "add 0 x-late 1", "pairs 0", "get 2 :status"),
            ),
          ],
          { allow_stop: allow },
        ),
      ],
      clients: [post(CHUNKED, 700)],
      upstream: { up: CHUNKED_ANSWER },
    }),
  ),
);

const bodies: Scenario[] = [0, 1, 2, 3].flatMap((status) => [
  {
    id: `b4-body-${status}`,
    topic: "B4",
    about: `the body's buffer in each callback and from a tick, on_request_body = ${status}`,
    plugins: [
      p1([
        `on_request_body: ret ${status}`,
        ...each("on_request_body", "bufstatus 0", "buf 0 0 100"),
        "on_request_headers: tick 110",
        "on_tick: tick 0",
        "on_tick: eff $last",
        ...each("on_tick", "bufstatus 0", "buf 0 0 100", "setbuf 0 0 0 Z"),
        "on_request_trailers: bufstatus 0",
        "on_request_trailers: buf 0 0 100",
      ]),
      p2,
    ],
    clients: [post(CHUNKED, 400)],
  },
  {
    id: `b4-response-body-${status}`,
    topic: "B4",
    about: `the response body's buffer, on_response_body = ${status}`,
    plugins: [
      p1([
        `on_response_body: ret ${status}`,
        ...each("on_response_body", "bufstatus 1", "buf 1 0 100", "bufstatus 0"),
        "on_response_trailers: buf 1 0 100",
        "on_response_trailers: ret 0",
      ]),
      p2,
    ],
    clients: [{ ...GET, wait: 400 }],
    upstream: { up: CHUNKED_ANSWER },
  },
]);

const encodings: Scenario[] = [
  {
    id: "g01-pairs-bytes",
    about: "the bytes of a map's pairs, written and read",
    plugins: [
      p1(
        each("on_response_headers", "setpairs 2 :status 200 a 1 bb ''", "pairshex 2", "pairs 2", "tracemalloc 1", "pairs 7", "pairs 3", "get 2 bb", "get 2 a"),
      ),
    ],
  },
  ...(
    [
      ["count-1024", "setpairsn 2 1024"],
      ["count-1025", "setpairsn 2 1025"],
      ["trailing-byte", "setpairshex 2 0100000001000000010000006100310000"],
      ["missing-nul", "setpairshex 2 010000000100000001000000613178"],
      ["length-overflow", "setpairshex 2 01000000ffffffff010000006100310000"],
      ["value-overflow", "setpairshex 2 0100000001000000f0ffffff61003100"],
      ["count-overflow", "setpairshex 2 ffffffff01000000010000006100310000"],
      ["short", "setpairshex 2 0100"],
      ["empty", "setpairshex 2 ''"],
      ["zero", "setpairshex 2 00000000"],
      ["good", "setpairshex 2 010000000100000001000000610031 00".replaceAll(" ", "")],
    ] as const
  ).map(
    ([name, operation]): Scenario => ({
      id: `g02-pairs-${name}`,
      about: `set_header_map_pairs with an encoding: ${name}`,
      plugins: [p1(each("on_response_headers", operation, "size 2", "get 2 a", "get 2 x-n7", "replace 2 :status 200"))],
    }),
  ),
  {
    id: "g03-property-paths",
    about: "paths of properties: separators, ends, nothing",
    plugins: [
      p1(
        each(
          "on_request_headers",
          "prop request|path",
          "prop request|path|",
          "prop |request|path",
          "prop request||path",
          "prop request|headers|:path",
          "prop request|headers|HOST",
          "prop request|headers|host",
          "prop ''",
          "prop |",
          "prop request|path|x",
          "propx request|size",
          "propx connection|mtls",
          "propx response|flags",
          "prop nope",
          "prop plugin_name|x",
        ),
      ),
    ],
  },
];

const NAMES = {
  request:
    ":authority :method :path :scheme host content-type content-length content-encoding connection te upgrade via expect user-agent referer x-request-id x-forwarded-for x-forwarded-host x-forwarded-port authorization cache-control pragma if-match if-none-match if-modified-since if-range origin accept accept-encoding accept-language cookie set-cookie x-foo range date server location forwarded traceparent x-envoy-retry-on x-envoy-attempt-count grpc-timeout grpc-encoding",
  trailers: "grpc-status grpc-message grpc-encoding x-foo content-length content-type via date",
};

const mapRules: Scenario[] = [
  {
    id: "g17-merge-request",
    about: "which names of a request join their values",
    plugins: [p1(NAMES.request.split(" ").map((name) => `on_request_headers: merge 0 ${name}`))],
    clients: [{ ...GET, wait: 250 }],
  },
  {
    id: "g17-merge-request-trailers",
    about: "which names of request trailers join their values",
    plugins: [p1(NAMES.trailers.split(" ").map((name) => `on_request_trailers: merge 1 ${name}`))],
    clients: [post(CHUNKED, 400)],
  },
  {
    id: "g17-merge-response-trailers",
    about: "which names of response trailers join their values",
    plugins: [p1(NAMES.trailers.split(" ").map((name) => `on_response_trailers: merge 3 ${name}`))],
    upstream: { up: CHUNKED_ANSWER },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g17-order",
    about: "where added and replaced headers stand",
    plugins: [
      p1([
        ...each(
          "on_request_headers",
          "replace 0 :path /a",
          "add 0 x-a 1",
          "add 0 x-a 2",
          "get 0 x-a",
          "replace 0 x-a 3",
          "add 0 x-b ''",
          "get 0 x-b",
          "remove 0 x-nope",
          "remove 0 x-b",
          "add 0 X-Mixed v",
          "get 0 x-MIXED",
          "pairs 0",
        ),
        ...each("on_response_headers", "replace 2 :status 201", "add 2 x-a 1", "add 2 content-type b", "replace 2 content-length 5", "pairs 2"),
      ]),
      p2,
    ],
  },
  {
    id: "g17-authority",
    about: "host and :authority are one",
    plugins: [
      p1(
        each(
          "on_request_headers",
          "get 0 host",
          "replace 0 host other",
          "get 0 :authority",
          "pairs 0",
          "remove 0 host",
          "get 0 :authority",
          "add 0 host back",
          "pairs 0",
        ),
      ),
    ],
  },
  {
    id: "g17-empty-values",
    about: "empty values of inline and other headers",
    plugins: [
      p1(
        each(
          "on_request_headers",
          "add 0 accept ''",
          "get 0 accept",
          "add 0 accept a",
          "get 0 accept",
          "add 0 accept ''",
          "get 0 accept",
          "add 0 x-e ''",
          "add 0 x-e b",
          "get 0 x-e",
          "pairs 0",
        ),
      ),
    ],
  },
];

const edits = [
  "0 0 XY",
  "0 2 XY",
  "0 5 XY",
  "0 100 XY",
  "5 0 XY",
  "5 5 XY",
  "100 0 XY",
  "2 0 XY",
  "2 2 XY",
  "4 9 XY",
  "0 -1 XY",
  "-1 0 XY",
  "0 0 ''",
  "0 3 ''",
  "0 100 ''",
];

const buffers: Scenario[] = edits.flatMap((edit, i) => [
  {
    id: `g18-request-${String(i).padStart(2, "0")}`,
    about: `set_buffer_bytes(${edit}) on the first piece of a request`,
    plugins: [p1([`on_request_body#1: setbuf 0 ${edit}`, "on_request_body#1: buf 0 0 100", "on_request_body#1: bufstatus 0"]), p2],
    clients: [post(PLAIN_CHUNKED)],
  },
  {
    id: `g18-whole-${String(i).padStart(2, "0")}`,
    about: `set_buffer_bytes(${edit}) on a whole body that is held`,
    plugins: [p1(["on_request_body: ret 1", "on_request_body?eos: ret 0", `on_request_body?eos: setbuf 0 ${edit}`, "on_request_body?eos: buf 0 0 100"]), p2],
    clients: [post(PLAIN_CHUNKED)],
  },
]);

const trailers: Scenario[] = (["add 1 x-t 1", "replace 1 x-t 1", "setpairs 1 x-t 1 x-u 2", "size 1", "get 1 x-t", "remove 1 x-t"] as const).flatMap(
  (operation, i) => [
    {
      id: `g19-request-${i}`,
      about: `trailers of a request made by "${operation}" in its last body callback`,
      plugins: [p1([`on_request_body?eos: ${operation}`, "on_request_body#1: add 1 x-early 1"]), p2],
      clients: [post(PLAIN_CHUNKED)],
    },
    {
      id: `g19-response-${i}`,
      about: `trailers of a response made by "${operation.replace(" 1 ", " 3 ")}" in its last body callback`,
      plugins: [p2, p1([`on_response_body?eos: ${operation.replace(" 1 ", " 3 ")}`, "on_response_body#1: add 3 x-early 1"])],
      upstream: { up: ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 40, "5\r\naaaaa\r\n", 40, "0\r\n\r\n"] },
    },
  ],
);

const shapes: Scenario[] = [
  {
    id: "g16-h2-end-on-data",
    about: "HTTP/2: END_STREAM behind the data, trailers, nothing",
    plugins: [p1("")],
    clients: [{ h2: [{ headers: { ":method": "POST", ":path": "/", ":authority": "h" }, body: ["aaaaa", 60, "bbbbb"] }] }],
  },
  {
    id: "g16-h2-headers-only",
    about: "HTTP/2: END_STREAM on the headers",
    plugins: [p1("on_request_headers: pairs 0")],
    clients: [{ h2: [{ headers: { ":method": "GET", ":path": "/x", ":authority": "h", "x-a": "1" } }] }],
  },
  {
    id: "g16-h2-trailers",
    about: "HTTP/2: trailers both ways",
    plugins: [p1("on_request_trailers: pairs 1\non_response_trailers: pairs 3")],
    clients: [{ h2: [{ headers: { ":method": "POST", ":path": "/", ":authority": "h" }, body: ["aaaaa"], trailers: { "x-t": "1" } }] }],
    upstream: { up: CHUNKED_ANSWER },
  },
  {
    id: "g16-one-write",
    about: "headers and body in one write",
    plugins: [p1("")],
    clients: [post(["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\naaaaa"])],
  },
  {
    id: "g16-chunks-in-one-write",
    about: "several chunks in one write",
    plugins: [p1("on_request_body: buf 0 0 50")],
    clients: [post(["POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-t: 1\r\n\r\n"])],
  },
  {
    id: "g16-pipelined",
    about: "two requests in one write",
    plugins: [p1("on_request_headers: get 0 :path")],
    clients: [{ send: ["GET /1 HTTP/1.1\r\nhost: h\r\n\r\nGET /2 HTTP/1.1\r\nhost: h\r\n\r\n"], wait: 300 }],
  },
];

export const maps: Group[] = [
  { item: "1–3 serialization", scenarios: encodings },
  { item: "B4 every cell", scenarios: [...cells, ...later, ...bodies] },
  { item: "16 end of stream", scenarios: shapes },
  { item: "17 maps", scenarios: mapRules },
  { item: "18 buffers", scenarios: buffers },
  { item: "19 trailers", scenarios: trailers },
];
