// G8–G15, G20–G23: life cycle, statuses, pausing and going on, limits, replies.
import type { Scenario } from "../scenario.js";
import { CHUNKED, CHUNKED_ANSWER, call, each, GET, type Group, LENGTH_ANSWER, PLAIN_CHUNKED, p1, p2, post, resumeByTick, WITH_LENGTH } from "./parts.js";

const sign = (status: number): string => (status < 0 ? `m${-status}` : String(status));

const HEADERS = [0, 1, 2, 3, 4, 5, -1];
const BODY = [0, 1, 2, 3, 4, -1];
const TRAILERS = [0, 1, 2, -1];

const statuses: Scenario[] = [
  ...HEADERS.flatMap((status) =>
    [false, true].flatMap((allow): Scenario[] => [
      {
        id: `g11-request-headers-${sign(status)}-${allow ? "on" : "off"}`,
        about: `on_request_headers = ${status}, resumed by a tick`,
        plugins: [p1([`on_request_headers: ret ${status}`, ...resumeByTick(0, 180)], { allow_stop: allow }), p2],
        clients: [post(CHUNKED, 450)],
      },
      {
        id: `g11-response-headers-${sign(status)}-${allow ? "on" : "off"}`,
        about: `on_response_headers = ${status}, resumed by a tick`,
        plugins: [
          p2,
          p1([`on_response_headers: ret ${status}`, "on_response_headers: tick 180", "on_tick: tick 0", "on_tick: eff $last", "on_tick: continue 1"], {
            allow_stop: allow,
          }),
        ],
        clients: [{ ...GET, wait: 450 }],
        upstream: { up: CHUNKED_ANSWER },
      },
    ]),
  ),
  ...BODY.flatMap((status): Scenario[] => [
    {
      id: `g11-request-body-${sign(status)}`,
      about: `on_request_body = ${status} until the end, with a length`,
      plugins: [p1([`on_request_body: ret ${status}`, "on_request_body?eos: ret 0"]), p2],
      clients: [post(WITH_LENGTH, 350)],
    },
    {
      id: `g11-request-body-${sign(status)}-trailers`,
      about: `on_request_body = ${status}, released by the trailers`,
      plugins: [p1([`on_request_body: ret ${status}`]), p2],
      clients: [post(CHUNKED, 350)],
    },
    {
      id: `g11-response-body-${sign(status)}`,
      about: `on_response_body = ${status} until the end`,
      plugins: [p2, p1([`on_response_body: ret ${status}`, "on_response_body?eos: ret 0"])],
      upstream: { up: LENGTH_ANSWER },
      clients: [{ ...GET, wait: 350 }],
    },
    {
      id: `g11-response-body-${sign(status)}-trailers`,
      about: `on_response_body = ${status}, released by the trailers`,
      plugins: [p2, p1([`on_response_body: ret ${status}`])],
      upstream: { up: CHUNKED_ANSWER },
      clients: [{ ...GET, wait: 350 }],
    },
  ]),
  ...TRAILERS.flatMap((status): Scenario[] => [
    {
      id: `g11-request-trailers-${sign(status)}`,
      about: `on_request_trailers = ${status}, resumed by a tick`,
      plugins: [p1([`on_request_trailers: ret ${status}`, ...resumeByTick(0, 180)]), p2],
      clients: [post(CHUNKED, 450)],
    },
    {
      id: `g11-response-trailers-${sign(status)}`,
      about: `on_response_trailers = ${status}, resumed by a tick`,
      plugins: [p2, p1([`on_response_trailers: ret ${status}`, ...resumeByTick(1, 220)])],
      upstream: { up: CHUNKED_ANSWER },
      clients: [{ ...GET, wait: 450 }],
    },
  ]),
  ...["on_request_headers", "on_request_body#1", "on_request_trailers"].map(
    (callback): Scenario => ({
      id: `g11-stop-flag-${callback.replace(/^on_|#1$/g, "").replaceAll("_", "-")}`,
      about: `a reply in ${callback} that returns 0`,
      plugins: [p1([`${callback}: reply 403 d body -1`, `${callback}: ret 0`]), p2],
      clients: [post(CHUNKED, 350)],
    }),
  ),
];

const pausing: Scenario[] = [
  {
    id: "g12-off",
    about: "headers 1 without the option: one body callback with everything after the resume",
    plugins: [p1(["on_request_headers: ret 1", "on_request_body: buf 0 0 100", ...resumeByTick(0, 250)], { allow_stop: false }), p2],
    clients: [post(CHUNKED, 450)],
  },
  {
    id: "g12-off-h2",
    about: "the same over HTTP/2",
    plugins: [p1(["on_request_headers: ret 1", "on_request_body: buf 0 0 100", ...resumeByTick(0, 200)], { allow_stop: false }), p2],
    clients: [{ h2: [{ headers: { ":method": "POST", ":path": "/", ":authority": "h" }, body: ["aaaaa", 40, "bbbbb"], trailers: { "x-t": "1" } }] }],
  },
  {
    id: "g13-on",
    about: "headers 1 with the option: headers changed while the body comes",
    plugins: [
      p1(["on_request_headers: ret 1", "on_request_body: ret 1", "on_request_body#2: replace 0 x-late 1", "on_request_trailers: replace 0 x-later 2"], {
        allow_stop: true,
      }),
      p2,
    ],
    clients: [post(CHUNKED, 350)],
  },
  {
    id: "g13-on-response",
    about: "the same on the way back",
    plugins: [
      p2,
      p1(
        [
          "on_response_headers: ret 1",
          "on_response_body: ret 1",
          "on_response_body#2: replace 2 x-late 1",
          "on_response_body#2: remove 2 content-length",
          "on_response_body?eos: ret 0",
        ],
        { allow_stop: true },
      ),
    ],
    upstream: { up: LENGTH_ANSWER },
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g13-on-whole-body-replaced",
    about: "held headers, whole body replaced, length corrected",
    plugins: [
      p1(
        [
          "on_request_headers: ret 1",
          "on_request_body: ret 1",
          "on_request_body?eos: setbuf 0 0 100 REPLACED",
          "on_request_body?eos: replace 0 content-length 8",
          "on_request_body?eos: ret 0",
        ],
        { allow_stop: true },
      ),
      p2,
    ],
    clients: [post(WITH_LENGTH, 350)],
  },
  ...[1, 2, 3].map(
    (status): Scenario => ({
      id: `g14-sizes-${status}`,
      about: `sizes of three pieces with status ${status}, all forwarded at the end`,
      plugins: [p1([`on_request_body: ret ${status}`, "on_request_body: bufstatus 0", "on_request_body?eos: ret 0"]), p2],
      clients: [
        post(
          [
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
            40,
            "5\r\naaaaa\r\n",
            40,
            "5\r\nbbbbb\r\n",
            40,
            "5\r\nccccc\r\n",
            40,
            "0\r\n\r\n",
          ],
          400,
        ),
      ],
    }),
  ),
  ...(
    [
      [
        "header-call",
        [
          "on_request_headers: ret 1",
          `on_request_headers: ${call()}`,
          "on_http_call_response: eff $last",
          "on_http_call_response: replace 0 x-called 1",
          "on_http_call_response: continue 0",
        ],
        false,
      ],
      [
        "header-call-on",
        [
          "on_request_headers: ret 1",
          `on_request_headers: ${call()}`,
          "on_request_body: ret 1",
          "on_request_trailers: ret 1",
          "on_http_call_response: eff $last",
          "on_http_call_response: replace 0 x-called 1",
          "on_http_call_response: buf 0 0 100",
          "on_http_call_response: continue 0",
        ],
        true,
      ],
      [
        "body-call",
        [
          `on_request_body#1: ${call()}`,
          "on_request_body: ret 1",
          "on_request_trailers: ret 1",
          "on_http_call_response: eff $last",
          "on_http_call_response: buf 0 0 100",
          "on_http_call_response: continue 0",
        ],
        false,
      ],
      [
        "body-call-watermark",
        [
          `on_request_body#1: ${call()}`,
          "on_request_body: ret 2",
          "on_request_trailers: ret 1",
          "on_http_call_response: eff $last",
          "on_http_call_response: buf 0 0 100",
          "on_http_call_response: continue 0",
        ],
        false,
      ],
      [
        "trailers-call",
        [
          `on_request_trailers: ${call()}`,
          "on_request_trailers: ret 1",
          "on_http_call_response: eff $last",
          "on_http_call_response: pairs 1",
          "on_http_call_response: add 1 x-more 2",
          "on_http_call_response: continue 0",
        ],
        false,
      ],
      [
        "two-calls",
        [
          "on_request_headers: ret 1",
          `on_request_headers: ${call()}`,
          `on_request_headers: ${call()}`,
          "on_http_call_response!2: eff $last",
          "on_http_call_response!2: continue 0",
        ],
        false,
      ],
      [
        "call-then-reply",
        [
          "on_request_headers: ret 1",
          `on_request_headers: ${call()}`,
          "on_http_call_response: eff $last",
          "on_http_call_response: reply 401 d no -1 x-why call",
        ],
        false,
      ],
      [
        "call-then-close",
        ["on_request_headers: ret 1", `on_request_headers: ${call()}`, "on_http_call_response: eff $last", "on_http_call_response: close 0"],
        false,
      ],
      [
        "call-chain",
        [
          "on_request_headers: ret 1",
          `on_request_headers: ${call()}`,
          `on_http_call_response!1: ${call()}`,
          "on_http_call_response!2: eff $last",
          "on_http_call_response!2: continue 0",
        ],
        false,
      ],
    ] as const
  ).map(
    ([name, script, allow]): Scenario => ({
      id: `combo-${name}`,
      about: `pausing and a callout: ${name}`,
      plugins: [p1([...script], { allow_stop: allow }), p2],
      clients: [post(CHUNKED, 500)],
      upstream: { alt: [200, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"] },
    }),
  ),
  ...(
    [
      [
        "response-call",
        [
          "on_response_headers: ret 1",
          `on_response_headers: ${call()}`,
          "on_http_call_response: eff $last",
          "on_http_call_response: replace 2 x-called 1",
          "on_http_call_response: continue 1",
        ],
      ],
      [
        "response-body-call",
        [
          `on_response_body#1: ${call()}`,
          "on_response_body: ret 1",
          "on_response_trailers: ret 1",
          "on_http_call_response: eff $last",
          "on_http_call_response: buf 1 0 100",
          "on_http_call_response: continue 1",
        ],
      ],
      [
        "response-call-then-reply",
        ["on_response_headers: ret 1", `on_response_headers: ${call()}`, "on_http_call_response: eff $last", "on_http_call_response: reply 502 d bad -1"],
      ],
      [
        "both-ways",
        [
          "on_request_headers: ret 1",
          `on_request_headers: ${call()}`,
          "on_http_call_response!1: eff $last",
          "on_http_call_response!1: continue 0",
          "on_response_headers: ret 1",
          `on_response_headers: ${call()}`,
          "on_http_call_response!2: eff $last",
          "on_http_call_response!2: continue 1",
        ],
      ],
    ] as const
  ).map(
    ([name, script]): Scenario => ({
      id: `combo-${name}`,
      about: `pausing the response for a callout: ${name}`,
      plugins: [p2, p1([...script])],
      clients: [{ ...GET, wait: 600 }],
      upstream: { up: CHUNKED_ANSWER, alt: [200, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"] },
    }),
  ),
  {
    id: "combo-continue-after-trailers",
    about: "going on with a request that has gone on long ago: its trailers leave again, and the upstream answers what it cannot read (found by test/fuzz)",
    plugins: [p1([`on_request_body#1: ${call()}`, "on_response_headers: ret 3", "on_http_call_response: eff $last", "on_http_call_response: continue 0"])],
    clients: [post(CHUNKED, 540)],
    upstream: { up: CHUNKED_ANSWER, alt: [140, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"] },
  },
  ...[0, 1].flatMap((direction) => {
    const side = direction === 0 ? "request" : "response";
    const goOn = ["on_http_call_response: eff $last", `on_http_call_response: continue ${direction}`];
    const first = [`on_${side}_body: buf ${direction} 0 100`, `on_${side}_body#1: ${call()}`, `on_${side}_body#1: ret 1`, ...goOn];
    const body = [20, "aaa", 100, "bbb", 100, "ccc", 100, "ddd"];
    return (
      [
        ["passed", []],
        ["changed", [`on_${side}_body#2: setbuf ${direction} 0 1 XY`]],
        ["held-again", [`on_${side}_body#2: ret 1`]],
        ["held-and-called-again", [`on_${side}_body#2: ret 1`, `on_${side}_body#2: ${call()}`]],
        ["watermark", [`on_${side}_body#2: ret 2`, `on_${side}_body#2: ${call()}`]],
        ["dropped", [`on_${side}_body#2: ret 3`]],
        ["trailers-held", [`on_${side}_body#3: ret 1`, `on_${side}_trailers: ret 1`, `on_${side}_trailers: ${call()}`]],
      ] as const
    ).flatMap(([name, more]) =>
      [false, true].map(
        (after): Scenario => ({
          id: `combo-more-after-${side}-body-${name}${after ? "-second" : ""}`,
          about: "what comes after a body that was held for a callout and went on (envoyproxy/envoy#46842)",
          plugins: after ? [p2, p1([...first, ...more])] : [p1([...first, ...more]), p2],
          clients: [direction === 0 ? { send: ["POST /p HTTP/1.1\r\nhost: h\r\ncontent-length: 12\r\n\r\n", ...body], wait: 600 } : { ...GET, wait: 600 }],
          upstream: {
            up: direction === 0 ? LENGTH_ANSWER : ["HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n", ...body],
            alt: [30, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
          },
        }),
      ),
    );
  }),
  ...(["request_headers: close 0", "response_headers: close 1", "response_body: close 1"] as const).map(
    (script): Scenario => ({
      id: `h17-close-${script.slice(0, script.indexOf(":"))}`,
      about: "an upstream filter closes the stream",
      upstream_filters: [{ name: "u", root_id: "ru", vm_id: "vu", script: `on_${script}` }],
      plugins: [p1("")],
    }),
  ),
  {
    id: "combo-two-pausing",
    about: "two filters that both wait for a callout in the header phase",
    plugins: [
      p1(["on_request_headers: ret 1", `on_request_headers: ${call()}`, "on_http_call_response: eff $last", "on_http_call_response: continue 0"]),
      {
        name: "p2",
        root_id: "r2",
        vm_id: "v2",
        script: `on_request_headers: ret 1\non_request_headers: ${call()}\non_http_call_response: eff $last\non_http_call_response: replace 0 x-two 1\non_http_call_response: continue 0`,
      },
    ],
    clients: [post(CHUNKED, 600)],
    upstream: { alt: [200, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
  },
  {
    id: "combo-h2-response",
    about: "HTTP/2 client, response held and replaced",
    plugins: [
      p1(
        [
          "on_response_headers: ret 1",
          "on_response_body: ret 1",
          "on_response_body?eos: setbuf 1 0 100 NEW",
          "on_response_body?eos: remove 2 content-length",
          "on_response_body?eos: ret 0",
        ],
        { allow_stop: true },
      ),
    ],
    clients: [{ h2: [{ headers: { ":method": "GET", ":path": "/", ":authority": "h" } }] }],
    upstream: { up: LENGTH_ANSWER },
  },
];

const big = (bytes: number) => `@rep ${bytes} a`;

const limits: Scenario[] = [
  ...[1, 2].map(
    (status): Scenario => ({
      id: `g15-request-${status}`,
      about: `request over the limit with status ${status}`,
      listener: { per_connection_buffer_limit_bytes: 1000 },
      plugins: [p1([`on_request_body: ret ${status}`, "on_request_body?eos: ret 0"]), p2],
      clients: [post(["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1500\r\n\r\n", 40, big(900), 60, big(600)], 350)],
    }),
  ),
  ...[3, 4].map(
    (status): Scenario => ({
      id: `g15-request-headers-${status}`,
      about: `request held in its headers with ${status}, over the limit`,
      listener: { per_connection_buffer_limit_bytes: 1000 },
      plugins: [p1([`on_request_headers: ret ${status}`, ...resumeByTick(0, 250)]), p2],
      clients: [post(["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1500\r\n\r\n", 40, big(900), 60, big(600)], 500)],
    }),
  ),
  ...[1, 2].map(
    (status): Scenario => ({
      id: `g15-response-held-${status}`,
      about: `response over the limit, headers held, body status ${status}`,
      listener: { per_connection_buffer_limit_bytes: 1000 },
      plugins: [p1(["on_response_headers: ret 1", `on_response_body: ret ${status}`, "on_response_body?eos: ret 0"], { allow_stop: true })],
      upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 1500\r\n\r\n", 40, big(900), 60, big(600)] },
      clients: [{ ...GET, wait: 350 }],
    }),
  ),
  {
    id: "g15-exactly",
    about: "a body of exactly the limit",
    listener: { per_connection_buffer_limit_bytes: 1000 },
    plugins: [p1(["on_request_body: ret 1", "on_request_body?eos: ret 0"])],
    clients: [post(["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n", 40, big(1000)], 300)],
  },
  {
    id: "g15-in-one",
    about: "a body over the limit in one piece",
    listener: { per_connection_buffer_limit_bytes: 1000 },
    plugins: [p1(["on_request_body: ret 1", "on_request_body?eos: ret 0"])],
    clients: [post(["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1500\r\n\r\n", 40, big(1500)], 300)],
  },
];

const REPLY_PLACES = [
  "on_context_create",
  "on_request_headers",
  "on_request_body#1",
  "on_request_body?eos",
  "on_request_trailers",
  "on_response_headers",
  "on_response_body#1",
  "on_response_trailers",
];
const place = (callback: string): string => callback.replace(/^on_/, "").replace("#1", "").replace("?eos", "-end").replaceAll("_", "-");

const replies: Scenario[] = [
  ...REPLY_PLACES.map(
    (callback): Scenario => ({
      id: `g20-reply-${place(callback)}`,
      about: `a reply in ${callback}, filters before and behind`,
      plugins: [
        { ...p2, name: "p0", root_id: "r0", vm_id: "v0" },
        p1([`${callback}: reply 418 why%20not body -1 x-h 1`, "on_response_headers: pairs 2", "on_log: prop response|code_details"]),
        p2,
      ],
      clients: [post(CHUNKED, 450)],
      upstream: { up: CHUNKED_ANSWER },
    }),
  ),
  ...REPLY_PLACES.slice(1, 6).map(
    (callback): Scenario => ({
      id: `g20-head-${place(callback)}`,
      about: `a reply to HEAD in ${callback}`,
      plugins: [p1([`${callback}: reply 403 d body -1`, "on_response_headers: pairs 2"])],
      clients: [{ send: ["HEAD / HTTP/1.1\r\nhost: h\r\n\r\n"], wait: 250 }],
    }),
  ),
  ...(["on_request_headers", "on_response_headers"] as const).map(
    (callback): Scenario => ({
      id: `g20-grpc-${place(callback)}`,
      about: `a reply to a gRPC request in ${callback}`,
      plugins: [p1([`${callback}: reply 403 d %22bad%20%e4%22 7`, "on_response_headers: pairs 2"])],
      clients: [{ h2: [{ headers: { ":method": "POST", ":path": "/s/m", ":authority": "h", "content-type": "application/grpc" }, body: ["x"] }] }],
    }),
  ),
  ...[200, 204, 301, 304, 404, 429, 500, 503, 599].map(
    (status): Scenario => ({
      id: `g20-status-${status}`,
      about: `a reply with status ${status}, body and without`,
      plugins: [p1([`on_request_headers#1: prop request|path`, `on_request_headers: reply ${status} d '' -1`, "on_response_headers: pairs 2"])],
    }),
  ),
  ...[...REPLY_PLACES.slice(1), "on_response_body?eos"].map(
    (callback): Scenario => ({
      id: `g20-close-${place(callback)}`,
      about: `close_stream in ${callback}`,
      plugins: [p1([`${callback}: close ${callback.includes("response") ? 1 : 0}`]), p2],
      clients: [post(CHUNKED, 450)],
      upstream: { up: callback.endsWith("?eos") ? [...CHUNKED_ANSWER.slice(0, -1), "0\r\n\r\n"] : CHUNKED_ANSWER },
    }),
  ),
  {
    id: "g21-call-reply-no-context",
    about: "a reply from a callout's callback without the effective context: nothing",
    plugins: [p1(["on_request_headers: ret 1", `on_request_headers: ${call()}`, "on_http_call_response: reply 401 d no -1"])],
    clients: [{ ...GET, wait: 300 }],
    upstream: { alt: ["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] },
  },
  {
    id: "g21-own-response-headers-changed",
    about: "a reply whose own response callbacks change it",
    plugins: [
      p1([
        "on_request_headers: reply 403 d body -1",
        "on_response_headers: replace 2 :status 200",
        "on_response_headers: add 2 x-mine 1",
        "on_response_body: setbuf 1 0 100 four",
      ]),
      p2,
    ],
  },
  {
    id: "g22-twice-body",
    about: "two replies in one body callback",
    plugins: [p1(["on_request_body#1: reply 403 first one -1", "on_request_body#1: reply 418 second two -1"]), p2],
    clients: [post(PLAIN_CHUNKED)],
  },
  {
    id: "g22-reply-in-response-of-reply",
    about: "a reply in the response callbacks of a reply",
    plugins: [p1(["on_request_headers: reply 403 first one -1", "on_response_headers: reply 418 second two -1"]), p2],
  },
  {
    id: "g23-continue-then-reply-tick",
    about: "continue, then reply, in one tick",
    plugins: [
      p1([
        "on_request_headers: ret 1",
        "on_request_headers: tick 60",
        "on_tick: tick 0",
        "on_tick: eff $last",
        "on_tick: continue 0",
        "on_tick: reply 403 d body -1",
      ]),
      p2,
    ],
    clients: [{ ...GET, wait: 350 }],
  },
  {
    id: "g23-reply-then-continue-tick",
    about: "reply, then continue, in one tick",
    plugins: [
      p1([
        "on_request_headers: ret 1",
        "on_request_headers: tick 60",
        "on_tick: tick 0",
        "on_tick: eff $last",
        "on_tick: reply 403 d body -1",
        "on_tick: continue 0",
      ]),
      p2,
    ],
    clients: [{ ...GET, wait: 350 }],
  },
];

const life: Scenario[] = [
  {
    id: "g08-start",
    about: "buffers while it starts",
    plugins: [
      p1(
        [
          ...each("on_root_create", "buf 6 0 20", "buf 7 0 20"),
          ...each("on_vm_start", "buf 6 0 20", "buf 7 0 20", "bufstatus 7"),
          ...each("on_configure", "buf 6 0 20", "buf 7 0 20", "setbuf 7 0 1 x", "setbuf 6 0 1 x"),
          ...each("on_request_headers", "buf 6 0 20", "buf 7 0 20"),
        ],
        { vm_script: "vmconf" },
      ),
    ],
  },
  { id: "g09-done-0", about: "on_done = 0 of streams is ignored", plugins: [p1("on_done: ret 0")] },
  {
    id: "g09-tcp-end",
    about: "TCP: the end of a connection, two filters",
    tcp: true,
    plugins: [p1(""), p2],
    clients: [{ send: ["hello"], wait: 150 }],
    upstream: { tcp: ["world"] },
  },
  {
    id: "g09-root-done-0-then-done",
    about: "root on_done = 0, then proxy_done from a tick",
    plugins: [p1(["on_done: ret 0", "on_request_headers: tick 40", "on_tick: done"])],
    clients: [{ ...GET, wait: 150 }],
  },
  {
    id: "g10-never-seen",
    about: "a filter behind one that answers",
    plugins: [p1("on_request_headers: reply 200 d x -1"), { ...p2, script: "on_log: pairs 0\non_log: pairs 2\non_log: get 2 :status\non_done: get 0 :path" }],
  },
  {
    id: "g10-client-aborts",
    about: "the client goes while the request is held",
    plugins: [p1("on_request_headers: ret 1\non_log: prop response|code_details\non_log: prop response|code"), p2],
    clients: [{ ...GET, wait: 60 }],
    linger: 150,
  },
  {
    id: "g10-client-aborts-body",
    about: "the client goes in mid-body",
    plugins: [p1("on_request_body: ret 1"), p2],
    clients: [{ send: ["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n", 40, "aaaaa"], wait: 60 }],
    linger: 150,
  },
  {
    id: "g10-upstream-resets-mid-body",
    about: "the upstream goes in mid-response",
    plugins: [p1("on_log: prop response|code_details"), p2],
    upstream: { up: ["HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\naaaaa", 60, "@reset"] },
    clients: [{ ...GET, wait: 300 }],
  },
];

export const flow: Group[] = [
  { item: "8–10 life cycle", scenarios: life },
  { item: "11 statuses", scenarios: statuses },
  { item: "12–14 pausing", scenarios: pausing },
  { item: "15 limits", scenarios: limits },
  { item: "20–23 replies", scenarios: replies },
];
