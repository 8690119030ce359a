// HTTP/2 on the wire: frames, header blocks and ends of streams that a codec of its own has to treat as Envoy's does.
import type { ClientSpec, Scenario, Step } from "../scenario.js";
import { each, GET, type Group, p1 } from "./parts.js";

const u32 = (n: number) => String.fromCharCode((n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255);
const frame = (type: number, flags: number, stream: number, payload = ""): string =>
  `${u32(payload.length).slice(1)}${String.fromCharCode(type, flags)}${u32(stream)}${payload}`;
const int7 = (n: number): string => {
  if (n < 127) return String.fromCharCode(n);
  let out = String.fromCharCode(127);
  n -= 127;
  while (n >= 128) {
    out += String.fromCharCode((n % 128) + 128);
    n = Math.floor(n / 128);
  }
  return out + String.fromCharCode(n);
};
/** A header block of literals. */
const hpack = (fields: string[][]): string => fields.map(([k, v]) => `\x00${int7(k!.length)}${k}${int7(v!.length)}${v}`).join("");
const PREFACE = `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${frame(4, 0, 0)}`;
const pseudo = (method = "GET", more: string[][] = []): string[][] => [
  [":method", method],
  [":scheme", "http"],
  [":path", "/p?q=1"],
  [":authority", "h"],
  ...more,
];
/** HEADERS; flags 4 END_HEADERS, 5 with END_STREAM. */
const H = (fields: string[][], flags = 5, stream = 1) => frame(1, flags, stream, hpack(fields));
const D = (text: string, end = false, stream = 1) => frame(0, end ? 1 : 0, stream, text);
const RST = (code: number, stream = 1) => frame(3, 0, stream, u32(code));
const GOAWAY = (last: number, code = 0) => frame(7, 0, 0, u32(last) + u32(code));
const raw = (steps: Step[], wait = 250): ClientSpec => ({ send: [PREFACE, ...steps], wait, frames: true });

const h2 = (name: string, steps: Step[], script: string[] = [], fields: Partial<Scenario> = {}): Scenario => ({
  id: `h2-${name}`,
  plugins: [p1(["on_request_headers: pairs 0", "on_request_trailers: pairs 1", "on_response_headers: pairs 2", ...script])],
  clients: [raw(steps)],
  ...fields,
});

const post = (more: string[][] = []) => H(pseudo("POST", more), 4);

const downstream: Scenario[] = [
  h2("data-frames", [post(), 40, D("aaa"), 40, D("bbb"), 40, D("ccc", true)], ["on_request_body: buf 0 0 100"]),
  h2("data-empty-end", [post(), 40, D("aaa"), 40, D("", true)], ["on_request_body: buf 0 0 100"]),
  h2("data-empty-middle", [post(), 40, D(""), 40, D("aaa"), 40, D("", true)], ["on_request_body: buf 0 0 100"]),
  h2("all-in-one", [post() + D("aaa") + D("bbb") + D("", true)], ["on_request_body: buf 0 0 100"]),
  h2("headers-data-end-in-one", [post() + D("aaa", true)], ["on_request_body: buf 0 0 100"]),
  h2("padded", [post(), 40, frame(0, 8, 1, "\x05abc\0\0\0\0\0"), 40, D("", true)], ["on_request_body: buf 0 0 100"]),
  h2("trailers", [
    post(),
    40,
    D("aaa"),
    40,
    H(
      [
        ["x-t", "1"],
        ["x-t", "2"],
      ],
      5,
    ),
  ]),
  h2("trailers-only", [post(), 40, H([["x-t", "1"]], 5)]),
  h2("trailers-in-one", [post() + D("aaa") + H([["x-t", "1"]], 5)]),
  h2("trailers-no-end", [post(), 40, D("aaa"), 40, H([["x-t", "1"]], 4), 40, D("", true)]),
  h2("trailers-pseudo", [post(), 40, D("aaa"), 40, H([[":path", "1"]], 5)]),
  h2("trailers-empty", [post(), 40, D("aaa"), 40, H([], 5)]),
  ...[0, 5, 7, 8].flatMap((code) => [
    h2(`rst-${code}-paused`, [H(pseudo()), 60, RST(code)], ["on_request_headers: ret 1"]),
    h2(`rst-${code}-body`, [post(), 40, D("aaa"), 40, RST(code)], []),
  ]),
  h2("rst-upstream-slow", [H(pseudo()), 60, RST(8)], [], { upstream: { up: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] } }),
  h2("rst-mid-response", [H(pseudo()), 60, RST(8)], [], { upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\naaaaa", 150, "bbbbb"] } }),
  h2(
    "rst-callout",
    [H(pseudo()), 60, RST(8)],
    [
      "on_request_headers: http alt 1000 '' :method GET :path /c :authority a",
      "on_request_headers: ret 1",
      ...each("on_http_call_response", "eff $last", "continue 0"),
    ],
    {
      upstream: { alt: [150, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
    },
  ),
  h2("rst-then-next", [H(pseudo()) + RST(8) + H(pseudo(), 5, 3)]),
  h2("data-then-rst-in-one", [post() + D("aaa") + RST(8)]),
  h2("end-then-rst-in-one", [post() + D("aaa", true) + RST(8)]),
  h2("goaway-client", [H(pseudo()), GOAWAY(0)], [], { upstream: { up: [80, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] } }),
  h2("close-tcp", [H(pseudo()), 40, "@close"], [], { upstream: { up: [80, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] } }),
  h2("close-tcp-body", [post(), 40, D("aaa"), 40, "@close"]),
  ...(
    [
      ["connection", [["connection", "close"]]],
      ["connection-ka", [["connection", "keep-alive"]]],
      ["te-gzip", [["te", "gzip"]]],
      ["te-trailers", [["te", "trailers"]]],
      ["upper", [["X-Upper", "1"]]],
      ["transfer-encoding", [["transfer-encoding", "chunked"]]],
      ["keep-alive", [["keep-alive", "1"]]],
      ["upgrade", [["upgrade", "websocket"]]],
      ["proxy-connection", [["proxy-connection", "close"]]],
      ["host-too", [["host", "other"]]],
      ["host-same", [["host", "h"]]],
      [
        "cookies",
        [
          ["cookie", "a=1"],
          ["x-a", "1"],
          ["cookie", "b=2"],
          ["cookie", "c=3"],
        ],
      ],
      [
        "repeated",
        [
          ["x-a", "1"],
          ["x-b", ""],
          ["x-a", "2"],
        ],
      ],
      ["space-value", [["x-a", " v "]]],
      ["empty-name", [["", "v"]]],
      ["name-space", [["x a", "v"]]],
      ["name-underscore", [["x_a", "v"]]],
      ["value-nul", [["x-a", "a\0b"]]],
      ["value-lf", [["x-a", "a\nb"]]],
      ["value-high", [["x-a", "a\xe4b"]]],
      ["value-ctl", [["x-a", "a\x01b"]]],
      ["expect", [["expect", "100-continue"]]],
      ["content-length-0", [["content-length", "0"]]],
      ["content-length-5", [["content-length", "5"]]],
      ["content-length-bad", [["content-length", "x"]]],
      [
        "content-length-two",
        [
          ["content-length", "0"],
          ["content-length", "0"],
        ],
      ],
      [
        "pseudo-late",
        [
          ["x-a", "1"],
          [":path", "/x"],
        ],
      ],
      ["pseudo-unknown", [[":foo", "1"]]],
      ["pseudo-twice", [[":path", "/2"]]],
      [
        "xff",
        [
          ["x-forwarded-for", "1.2.3.4"],
          ["x-forwarded-proto", "https"],
          ["x-request-id", "a b"],
        ],
      ],
      ["big", [["x-big", "a".repeat(12000)]]],
    ] as [string, string[][]][]
  ).map(([name, more]) => h2(`header-${name}`, [H(pseudo("GET", more)), 30, H(pseudo(), 5, 3)])),
  h2("pseudo-after", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      ["x-a", "1"],
      [":path", "/"],
      [":authority", "h"],
    ]),
  ]),
  h2("authority-missing", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
    ]),
  ]),
  h2("authority-host-only", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
      ["host", "hh"],
    ]),
  ]),
  h2("authority-empty", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", ""],
    ]),
  ]),
  h2("authority-bad", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "a b"],
    ]),
  ]),
  h2("authority-userinfo", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "u@h"],
    ]),
  ]),
  h2("path-missing", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":authority", "h"],
    ]),
  ]),
  h2("path-empty", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", ""],
      [":authority", "h"],
    ]),
  ]),
  h2("path-star", [
    H([
      [":method", "OPTIONS"],
      [":scheme", "http"],
      [":path", "*"],
      [":authority", "h"],
    ]),
  ]),
  h2("path-relative", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "x/y"],
      [":authority", "h"],
    ]),
  ]),
  h2("path-space", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/a b"],
      [":authority", "h"],
    ]),
  ]),
  h2("path-fragment", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/a#b"],
      [":authority", "h"],
    ]),
  ]),
  h2("path-high", [
    H([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/a\xe4"],
      [":authority", "h"],
    ]),
  ]),
  h2("scheme-missing", [
    H([
      [":method", "GET"],
      [":path", "/"],
      [":authority", "h"],
    ]),
  ]),
  h2("scheme-https", [
    H([
      [":method", "GET"],
      [":scheme", "https"],
      [":path", "/"],
      [":authority", "h"],
    ]),
  ]),
  h2("scheme-odd", [
    H([
      [":method", "GET"],
      [":scheme", "ftp"],
      [":path", "/"],
      [":authority", "h"],
    ]),
  ]),
  h2("method-missing", [
    H([
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "h"],
    ]),
  ]),
  h2("method-bad", [
    H([
      [":method", "G T"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "h"],
    ]),
  ]),
  h2("method-own", [
    H([
      [":method", "FOO"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "h"],
    ]),
  ]),
  h2("connect", [
    H(
      [
        [":method", "CONNECT"],
        [":authority", "h:80"],
      ],
      4,
    ),
    60,
    D("abc"),
    60,
    D("", true),
  ]),
  h2("connect-extended", [
    H(
      [
        [":method", "CONNECT"],
        [":protocol", "websocket"],
        [":scheme", "http"],
        [":path", "/"],
        [":authority", "h"],
      ],
      4,
    ),
    60,
    D("abc", true),
  ]),
  h2("head", [H(pseudo("HEAD"))], [], { upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"] } }),
  h2("length-too-much", [post([["content-length", "2"]]), 30, D("aaa", true)]),
  h2("length-too-little", [post([["content-length", "5"]]), 30, D("aaa", true)]),
  h2("large-headers", [
    H(
      pseudo(
        "GET",
        Array.from({ length: 7 }, (_, i) => [`x-${i}`, "a".repeat(2000)]),
      ),
    ),
  ]),
  h2("many-headers", [
    H(
      pseudo(
        "GET",
        Array.from({ length: 101 }, (_, i) => [`x-${i}`, "a"]),
      ),
    ),
    30,
    H(pseudo(), 5, 3),
  ]),
  h2("huge-headers", [
    frame(
      1,
      1,
      1,
      hpack(
        pseudo(
          "GET",
          Array.from({ length: 6 }, (_, i) => [`x-${i}`, "a".repeat(2000)]),
        ),
      ),
    ),
    ...Array.from({ length: 5 }, (_, j) => frame(9, j === 4 ? 4 : 0, 1, hpack(Array.from({ length: 6 }, (_, i) => [`y-${j}-${i}`, "a".repeat(2000)])))),
    30,
    H(pseudo(), 5, 3),
  ]),
  h2("even-stream", [H(pseudo(), 5, 2)]),
  h2("data-idle-stream", [D("x", true, 5)]),
  h2("data-after-end", [H(pseudo(), 5, 1) + D("x", true, 1)], [], { upstream: { up: [80, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] } }),
  h2("ping", [frame(6, 0, 0, "12345678"), H(pseudo())]),
  h2("two-streams", [H(pseudo(), 5, 1) + H(pseudo(), 5, 3)], [], {
    upstream: { up: [["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"], [60, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb"]] },
  }),
  h2("reply-headers", [post(), 40, D("aaa"), 40, D("bbb", true)], ["on_request_headers: reply 403 det body -1 x-a 1"]),
  h2("reply-headers-get", [H(pseudo())], ["on_request_headers: reply 403 det body -1 x-a 1 connection close transfer-encoding chunked"]),
  h2("reply-body", [post(), 40, D("aaa"), 40, D("bbb", true)], ["on_request_body#1: reply 403 det body -1", "on_request_body: ret 1"]),
  h2("reply-body-empty", [post(), 40, D("aaa"), 40, D("bbb", true)], ["on_request_body#1: reply 403 det '' -1", "on_request_body: ret 1"]),
  h2("early-response", [post(), 40, D("aaa"), 80, D("bbb", true)], [], {
    upstream: { up: { on: "headers", respond: ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] } },
  }),
  h2("close-request", [H(pseudo())], ["on_request_headers: close 0", "on_request_headers: ret 1"]),
  h2("close-response-headers", [H(pseudo())], ["on_response_headers: close 1"]),
  h2("close-response-body", [H(pseudo())], ["on_response_body: close 1"]),
  h2("trap-request", [H(pseudo())], ["on_request_headers: trap"]),
  h2("trap-response", [H(pseudo())], ["on_response_headers: trap"]),
  h2("trap-response-body", [H(pseudo())], ["on_response_body: trap"], {
    upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\naaaaa", 50, "bbbbb"] },
  }),
  h2("upstream-reset-mid", [H(pseudo())], [], { upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\naaaaa", 50, "@reset"] } }),
  h2("upstream-close-mid", [H(pseudo())], [], { upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\naaaaa", 50, "@close"] } }),
  h2("upstream-hop-headers", [H(pseudo())], [], {
    upstream: {
      up: [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-a\r\nx-a: 1\r\nkeep-alive: 3\r\nupgrade: foo\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\nok",
      ],
    },
  }),
  ...["3", "timeout=5", "timeout=5, x", "max=1", "x=1", "timeout"].flatMap((value, i) => {
    const upstream = { up: [`HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: ${value}\r\n\r\nok`] };
    return [
      h2(`upstream-keep-alive-${i}`, [H(pseudo())], [], { upstream }),
      h2(`upstream-keep-alive-${i}-http1`, [], [], { upstream, clients: [{ ...GET, wait: 100 }] }),
    ];
  }),
  h2("body-grows", [post([["content-length", "3"]]), 40, D("aaa", true)], ["on_request_body: setbuf 0 0 0 xx"]),
  h2("response-grows", [H(pseudo())], ["on_response_body: setbuf 1 0 0 xx"]),
  h2("response-shrinks", [H(pseudo())], ["on_response_body: setbuf 1 0 3 x"]),
  h2(
    "add-odd-response",
    [H(pseudo())],
    each("on_response_headers", "add 2 Upper V", "add 2 x-empty ''", "add 2 connection close", "add 2 te x", "add 2 :foo x", "add 2 x-lf a%0ab", "pairs 2"),
  ),
  h2("resp-status-removed", [H(pseudo())], ["on_response_headers: remove 2 :status"]),
  h2("resp-status-odd", [H(pseudo())], ["on_response_headers: replace 2 :status 999"]),
  h2("resp-status-100", [H(pseudo())], ["on_response_headers: replace 2 :status 100"]),
  h2("resp-status-204-body", [H(pseudo())], ["on_response_headers: replace 2 :status 204"]),
  h2("trailer-added", [H(pseudo())], ["on_response_trailers: add 3 x-add 1", "on_response_trailers: pairs 3"], {
    upstream: { up: ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n"] },
  }),
  h2("shutdown-midway", [H(pseudo())], [], { upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\naaaaa", 400, "bbbbb"] }, term_at: 150 }),
];

/** Bytes that belong nowhere, in the middle of an exchange. */
const junk = (name: string, steps: Step[]): Scenario => ({
  id: `h2-junk-${name}`,
  plugins: [p1("")],
  clients: [{ send: [PREFACE, 30, ...steps], wait: 300, frames: true }],
  upstream: { up: [100, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] },
});
const request = H([
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/p"],
  [":authority", "h"],
]);

const nonsense: Scenario[] = [
  junk("idle", ["HTTP/1.1 junk junk junk\r\n\r\n"]),
  junk("stream", [request, 20, "HTTP/1.1 junk junk junk\r\n\r\n"]),
  junk("frame-size", [request, 20, frame(0, 0, 1, "x".repeat(20000))]),
  junk("window", [request, 20, frame(8, 0, 0, u32(0))]),
  junk("window-overflow", [request, 20, frame(8, 0, 0, u32(0x7fffffff))]),
  junk("rst-idle", [request, 20, frame(3, 0, 7, u32(8))]),
  junk("data-0", [request, 20, frame(0, 0, 0, "x")]),
  junk("settings-bad", [request, 20, frame(4, 0, 0, "\x00\x02\x00\x00\x00\x05")]),
  junk("hpack-bad", [frame(1, 5, 1, "\xff\xff\xff\xff\xff\xff")]),
  junk("unknown-frame", [frame(0x55, 0, 0, "abc"), request]),
  junk("priority", [frame(2, 0, 1, "\0\0\0\0\x0f"), request]),
  junk("push-promise", [request, 20, frame(5, 4, 1, u32(2))]),
  junk("continuation-alone", [frame(9, 4, 1, "")]),
];

/** What a filter makes of a response that goes to a client of HTTP/2. */
const answers: Scenario[] = [
  ...(
    [
      ["bad-name", "add 2 x%20a v"],
      ["bad-value", "add 2 x-a a%0ab"],
      ["pseudo", "add 2 :foo v"],
      ["method", "add 2 :method v"],
      ["te", "add 2 te gzip"],
      ["http2-settings", "add 2 http2-settings x"],
      ["content-length-twice", "add 2 content-length 3"],
      ["content-type-twice", "add 2 content-type c"],
      ["status-twice", "add 2 :status 204"],
      ["status-101", "replace 2 :status 101"],
      ["status-304", "replace 2 :status 304"],
      ["status-205", "replace 2 :status 205"],
      ["status-99", "replace 2 :status 99"],
      ["status-600", "replace 2 :status 600"],
      ["empty-name", "add 2 '' v"],
      ["high", "add 2 x-a a%e4b"],
      ["server", "add 2 age 1"],
      ["age-twice", "add 2 x-x 1"],
      ["etag-twice", "add 2 etag 2"],
      ["location-twice", "add 2 location b"],
    ] as const
  ).map(
    ([name, op]): Scenario => ({
      id: `h2-answer-${name}`,
      plugins: [p1([`on_response_headers: ${op}`, "on_response_headers: pairs 2"])],
      clients: [{ h2: [{ headers: { ":path": "/", ":authority": "h" } }] }],
      upstream: {
        up: ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: a\r\nage: 3\r\nage: 4\r\netag: 1\r\nlocation: a\r\nx-x: 0\r\nx-x: 9\r\n\r\nhello"],
      },
    }),
  ),
];

/** A cluster of HTTP/2 whose host sends frames as they stand here. */
const RAWH2 = {
  name: "rawh2",
  type: "STATIC",
  connect_timeout: "1s",
  load_assignment: {
    cluster_name: "rawh2",
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: "127.0.0.1", port_value: 21006 } } } }] }],
  },
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};
const SET = frame(4, 0, 0) + frame(4, 1, 0);
const up = (name: string, tcp: Step[], script: string[] = [], fields: Partial<Scenario> = {}): Scenario => ({
  id: `h2-up-${name}`,
  plugins: [
    p1([
      "on_response_headers: pairs 2",
      "on_response_body: buf 1 0 100",
      "on_response_trailers: pairs 3",
      "on_response_trailers: prop response|trailers|x-t",
      "on_log: prop response|code_details",
      "on_log: propx response|flags",
      ...script,
    ]),
  ],
  clusters: [RAWH2],
  routes: [{ name: "r0", match: { prefix: "/" }, route: { cluster: "rawh2" } }],
  upstream: { tcp: [SET, 30, ...tcp] },
  clients: [{ ...GET, wait: 300 }],
  ...fields,
});
const ok = [[":status", "200"]];
const upstream: Scenario[] = [
  up("ok", [H(ok, 4), 30, D("hello"), 30, D(" you", true)]),
  up("ok-in-one", [H(ok, 4) + D("hello") + D(" you", true)]),
  up("empty-end", [H(ok, 4), 30, D("hello"), 30, D("", true)]),
  up("trailers", [
    H(ok, 4),
    30,
    D("hello"),
    30,
    H(
      [
        ["x-t", "1"],
        ["x-t", "2"],
      ],
      5,
    ),
  ]),
  up("trailers-in-one", [H(ok, 4) + D("hello") + H([["x-t", "1"]], 5)]),
  up("headers-only", [H(ok, 5)]),
  up("rst-first", [RST(2)]),
  up("rst-refused", [RST(7)]),
  up("rst-no-error", [RST(0)]),
  up("rst-after-headers", [H(ok, 4), 30, RST(2)]),
  up("rst-after-data", [H(ok, 4), 30, D("hello"), 30, RST(8)]),
  up("rst-no-error-after-data", [H(ok, 4), 30, D("hello"), 30, RST(0)]),
  up("goaway-refuse", [GOAWAY(0)]),
  up("goaway-then-answer", [GOAWAY(1), 30, H(ok, 4) + D("hello", true)]),
  up("goaway-error", [GOAWAY(1, 2), 30, H(ok, 4) + D("hello", true)]),
  up("goaway-mid", [H(ok, 4) + D("hel"), 30, GOAWAY(1), 30, D("lo", true)]),
  up("close-first", ["@close"]),
  up("close-mid", [H(ok, 4) + D("hel"), 30, "@close"]),
  up("reset-mid", [H(ok, 4) + D("hel"), 30, "@reset"]),
  up("reset-first", ["@reset"]),
  up("1xx", [
    H(
      [
        [":status", "103"],
        ["link", "x"],
      ],
      4,
    ),
    30,
    H(ok, 4) + D("hello", true),
  ]),
  up("no-status", [H([["x-a", "1"]], 4) + D("hello", true)]),
  up("status-bad", [H([[":status", "abc"]], 4) + D("hello", true)]),
  up("upper", [
    H(
      [
        [":status", "200"],
        ["X-A", "1"],
      ],
      4,
    ) + D("hello", true),
  ]),
  up("connection", [
    H(
      [
        [":status", "200"],
        ["connection", "close"],
      ],
      4,
    ) + D("hello", true),
  ]),
  up("te", [
    H(
      [
        [":status", "200"],
        ["transfer-encoding", "chunked"],
      ],
      4,
    ) + D("hello", true),
  ]),
  up("length-wrong", [
    H(
      [
        [":status", "200"],
        ["content-length", "3"],
      ],
      4,
    ) + D("hello", true),
  ]),
  up("length-short", [
    H(
      [
        [":status", "200"],
        ["content-length", "9"],
      ],
      4,
    ) + D("hello", true),
  ]),
  up("cookies", [
    H(
      [
        [":status", "200"],
        ["set-cookie", "a=1"],
        ["x-a", "1"],
        ["set-cookie", "b=2"],
        ["x-a", "2"],
        ["content-length", "5"],
      ],
      4,
    ) + D("hello", true),
  ]),
  up("data-first", [D("hello", true)]),
  up("204-body", [H([[":status", "204"]], 4) + D("hello", true)]),
  up("junk", ["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]),
  up(
    "grpc-client",
    [
      H(
        [
          [":status", "200"],
          ["content-type", "application/grpc"],
        ],
        4,
      ) + D("\0\0\0\0\x01a"),
      20,
      H([["grpc-status", "0"]], 5),
    ],
    [],
    {
      clients: [{ h2: [{ headers: { ":method": "POST", ":path": "/s/m", "content-type": "application/grpc", te: "trailers" }, body: ["\0\0\0\0\x01a"] }] }],
    },
  ),
  up(
    "grpc-client-rst",
    [
      H(
        [
          [":status", "200"],
          ["content-type", "application/grpc"],
        ],
        4,
      ),
      20,
      RST(2),
    ],
    [],
    {
      clients: [{ h2: [{ headers: { ":method": "POST", ":path": "/s/m", "content-type": "application/grpc", te: "trailers" }, body: ["\0\0\0\0\x01a"] }] }],
    },
  ),
  up("early-response", [H(ok, 4) + D("hello", true), 20, RST(0)], [], {
    clients: [{ send: ["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n", 80, "aaaaa", 80, "bbbbb"], wait: 200 }],
  }),
  up("early-response-no-rst", [H(ok, 4) + D("hello", true)], [], {
    clients: [{ send: ["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n", 80, "aaaaa", 80, "bbbbb"], wait: 200 }],
  }),
  up(
    "h1-te-to-h2",
    [H(ok, 4) + D("hello", true)],
    [
      "on_request_headers: pairs 0",
      "on_request_headers: add 0 connection close",
      "on_request_headers: add 0 transfer-encoding chunked",
      "on_request_headers: add 0 Upper x",
    ],
    { clients: [{ send: ["GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: te\r\n\r\n"], wait: 200 }] },
  ),
];

const limits: Scenario[] = [
  {
    id: "h2-trailers-all-removed",
    about: "a filter takes the trailers away, both ways",
    plugins: [p1(["on_request_trailers: remove 1 x-t", "on_request_trailers: pairs 1", "on_response_trailers: remove 3 x-t", "on_response_trailers: pairs 3"])],
    routes: [
      { match: { path: "/up" }, route: { cluster: "h2up" } },
      { match: { prefix: "/" }, route: { cluster: "up" } },
    ],
    clients: [
      { h2: [{ headers: { ":method": "POST", ":path": "/up", ":authority": "h" }, body: ["abc"], trailers: { "x-t": "1" } }] },
      { at: 100, h2: [{ headers: { ":path": "/", ":authority": "h" } }] },
    ],
    upstream: { up: ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n"] },
  },
  {
    id: "h2-max-streams",
    plugins: [p1("")],
    hcm: { http2_protocol_options: { max_concurrent_streams: 1 } },
    clients: [{ h2: [{ headers: { ":path": "/1", ":authority": "h" } }, { at: 10, headers: { ":path": "/2", ":authority": "h" } }] }],
    upstream: { up: [60, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
  },
];

export const http2: Group[] = [{ item: "HTTP/2", scenarios: [...downstream, ...nonsense, ...answers, ...upstream, ...limits] }];
