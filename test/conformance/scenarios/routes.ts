// Which route a request takes, and what a route does to it.
import type { Scenario } from "../scenario.js";
import { type Group, p1 } from "./parts.js";

const to = (name: string, match: object) => ({ name, match, route: { cluster: "up" } });
const withHeader = (name: string, header: object) => to(name, { prefix: `/h/${name}`, headers: [{ name: "x-h", ...header }] });
const withQuery = (name: string, parameter: object) => to(name, { prefix: `/q/${name}`, query_parameters: [{ name: "q", ...parameter }] });

/** One request after the other, each on a connection of its own. */
const ask = (...requests: string[]) =>
  requests.map((request, i) => {
    const [target = "/", ...headers] = request.split(" | ");
    return { at: i * 25, send: [`GET ${target} HTTP/1.1\r\nhost: example.org\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`], wait: 100 };
  });

const matching = (name: string, routes: object[], requests: string[]): Scenario => ({
  id: `route-match-${name}`,
  about: `which route matches: ${name}`,
  access_log: "route=%ROUTE_NAME%",
  plugins: [p1("")],
  routes,
  clients: ask(...requests),
});

const HEADER_VALUES = ["", " | x-h: abc", " | x-h: ABC", " | x-h: xabcx", " | x-h:", " | x-h: 5", " | x-h: 10", " | x-h: -1", " | x-h: abc | x-h: def"];
const QUERIES = ["", "?q", "?q=", "?q=abc", "?q=ABC", "?q=x%41", "?q=a+b", "?a=1&q=abc", "?q=1&q=abc", "?Q=abc", "?q=abc#f"];

const HEADER_MATCHES: [string, object][] = [
  ["present", { present_match: true }],
  ["absent", { present_match: false }],
  ["not-present", { present_match: true, invert_match: true }],
  ["exact", { string_match: { exact: "abc" } }],
  ["exact-second", { string_match: { exact: "def" } }],
  ["exact-both", { string_match: { exact: "abc,def" } }],
  ["exact-ci", { string_match: { exact: "abc", ignore_case: true } }],
  ["not-exact", { string_match: { exact: "abc" }, invert_match: true }],
  ["not-exact-missing", { string_match: { exact: "abc" }, invert_match: true, treat_missing_header_as_empty: true }],
  ["empty", { string_match: { exact: "" }, treat_missing_header_as_empty: true }],
  ["prefix", { string_match: { prefix: "ab" } }],
  ["suffix", { string_match: { suffix: "bc" } }],
  ["contains", { string_match: { contains: "abc" } }],
  ["contains-ci", { string_match: { contains: "BC", ignore_case: true } }],
  ["regex", { string_match: { safe_regex: { regex: "[a-c]+" } } }],
  ["range", { range_match: { start: "-5", end: "10" } }],
  ["bare", {}],
];
const QUERY_MATCHES: [string, object][] = [
  ["present", { present_match: true }],
  ["absent", { present_match: false }],
  ["exact", { string_match: { exact: "abc" } }],
  ["prefix", { string_match: { prefix: "ab", ignore_case: true } }],
  ["regex", { string_match: { safe_regex: { regex: "[a-cA-C0-9%]+" } } }],
  ["bare", {}],
];

const match: Scenario[] = [
  matching(
    "path",
    [
      to("exact", { path: "/exact" }),
      to("exact-ci", { path: "/CI", case_sensitive: false }),
      to("separated", { path_separated_prefix: "/sep" }),
      to("separated-ci", { path_separated_prefix: "/SEP2", case_sensitive: false }),
      to("regex", { safe_regex: { regex: "/re/[a-z]+" } }),
      to("regex-ci", { safe_regex: { regex: "(?i)/ri/[[:alpha:]]+" } }),
      to("prefix-ci", { prefix: "/PRE", case_sensitive: false }),
      to("grpc", { prefix: "/grpc", grpc: {} }),
      to("prefix", { prefix: "/a" }),
    ],
    [
      ...["/exact", "/exact?x", "/exact/", "/Exact", "/ci", "/Ci?x=1", "/sep", "/sep/", "/sep/x?y", "/sepx", "/sep?q", "/sep2/A", "/SEP2"],
      ...[
        "/re/abc",
        "/re/abc?x=1",
        "/re/",
        "/re/aB",
        "/RI/xY",
        "/ri/x1",
        "/Pre",
        "/prefix",
        "/ab",
        "/a?b",
        "/A",
        "/",
        "/grpc/x",
        "/grpc/x | content-type: application/grpc",
      ],
      ...["/grpc/x | content-type: application/grpc+proto", "/grpc/x | content-type: application/grpcweb", "/re/%61", "/exact%20"],
    ],
  ),
  ...HEADER_MATCHES.map(([name, header]) =>
    matching(
      `header-${name}`,
      [withHeader(name, header), to("other", { prefix: "/" })],
      HEADER_VALUES.map((value) => `/h/${name}${value}`),
    ),
  ),
  ...QUERY_MATCHES.map(([name, parameter]) =>
    matching(
      `query-${name}`,
      [withQuery(name, parameter), to("other", { prefix: "/" })],
      QUERIES.filter((query) => !query.includes("#")).map((query) => `/q/${name}${query}`),
    ),
  ),
  {
    id: "route-match-hosts",
    about: "which virtual host a request belongs to",
    access_log: "route=%ROUTE_NAME%",
    plugins: [p1("")],
    virtual_hosts: [
      ["star", "*"],
      ["exact", "a.example.org"],
      ["suffix", "*.example.org"],
      ["longer-suffix", "*.b.example.org"],
      ["prefix", "www.*"],
      ["suffix-dash", "*-x.example.org"],
    ].map(([name, domain]) => ({ name, domains: [domain], routes: [to(name!, { prefix: "/" })] })),
    clients: [
      "a.example.org",
      "A.Example.Org",
      "b.example.org",
      "c.b.example.org",
      "www.foo",
      "www.example.org",
      "example.org",
      ".example.org",
      "q-x.example.org",
      "www.",
      "a.example.org:80",
    ].map((host, i) => ({ at: i * 25, send: [`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`], wait: 100 })),
  },
];

const does = (name: string, route: object, requests: string[], more: object = {}): Scenario => ({
  id: `route-${name}`,
  about: "what a route does to a request",
  plugins: [p1(["on_response_headers: pairs 2"])],
  routes: [{ name: "r", match: { prefix: "/old" }, ...route, ...more }, to("other", { prefix: "/" })],
  clients: ask(...requests),
});
const PATHS = ["/old", "/old/x?y=1", "/oldest", "/old?a=b?c"];
const header = (key: string, value: string, append_action?: string, more: object = {}) => ({
  header: { key, value },
  ...(append_action ? { append_action } : {}),
  ...more,
});

const actions: Scenario[] = [
  does("rewrite-prefix", { route: { cluster: "up", prefix_rewrite: "/new" } }, PATHS),
  does("rewrite-root", { route: { cluster: "up", prefix_rewrite: "/" } }, PATHS),
  does("rewrite-regex", { route: { cluster: "up", regex_rewrite: { pattern: { regex: "/(o)ld" }, substitution: "/\\1-\\0-$1" } } }, PATHS),
  does("rewrite-host", { route: { cluster: "up", host_rewrite_literal: "other.org" } }, ["/old"]),
  does("rewrite-host-header", { route: { cluster: "up", host_rewrite_header: "x-host" } }, ["/old | x-host: third.org", "/old"]),
  does("redirect-host", { redirect: { host_redirect: "other.org", response_code: "FOUND" } }, PATHS),
  does("redirect-path", { redirect: { path_redirect: "/there" } }, PATHS),
  does("redirect-path-query", { redirect: { path_redirect: "/there?own=1", response_code: "SEE_OTHER" } }, PATHS),
  does("redirect-prefix", { redirect: { prefix_rewrite: "/new", response_code: "PERMANENT_REDIRECT" } }, PATHS),
  does("redirect-https", { redirect: { https_redirect: true, response_code: "TEMPORARY_REDIRECT" } }, ["/old", "/old | x-forwarded-proto: https"]),
  does("redirect-port", { redirect: { port_redirect: 8443, scheme_redirect: "https", strip_query: true } }, PATHS),
  does("direct", { direct_response: { status: 201, body: { inline_string: "h\u00e9llo" } } }, ["/old"]),
  does("direct-empty", { direct_response: { status: 204 } }, ["/old"]),
  does("direct-headers", { direct_response: { status: 200, body: { inline_string: "x" } } }, ["/old"], {
    response_headers_to_add: [header("x-r", "%RESPONSE_CODE%")],
  }),
  does("redirect-headers", { redirect: { path_redirect: "/there" } }, ["/old"], { response_headers_to_add: [header("x-r", "1")] }),
  does("direct-304", { direct_response: { status: 304 } }, ["/old?x"]),
  does("direct-399", { direct_response: { status: 399, body: { inline_string: "no" } } }, ["/old?x"]),
  does("direct-400", { direct_response: { status: 400, body: { inline_string: "no" } } }, ["/old"]),
  does("timeout-asked", { route: { cluster: "up", timeout: "3s" } }, [
    "/old | x-envoy-upstream-rq-timeout-ms: 1500",
    "/old | x-envoy-upstream-rq-timeout-ms: x",
    "/old",
  ]),
  does("timeout-none", { route: { cluster: "up", timeout: "0s" } }, ["/old"]),
  does("headers", { route: { cluster: "up" } }, ["/old", "/old | x-a: 0 | x-b: 0 | x-c: 0 | x-d: 0 | x-gone: 1"], {
    request_headers_to_add: [
      header("x-a", "1"),
      header("x-b", "1", "ADD_IF_ABSENT"),
      header("x-c", "1", "OVERWRITE_IF_EXISTS_OR_ADD"),
      header("x-d", "1", "OVERWRITE_IF_EXISTS"),
      header("x-e", "%PROTOCOL% %REQ(x-none)% 100%% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
      header("x-empty", ""),
      header("x-kept", "", undefined, { keep_empty_value: true }),
    ],
    request_headers_to_remove: ["x-gone", "x-forwarded-proto"],
    response_headers_to_add: [header("x-r", "%RESPONSE_CODE%"), header("content-type", "text/other", "OVERWRITE_IF_EXISTS"), header("server", "mine")],
    response_headers_to_remove: ["content-length"],
  }),
];

const weighted: Scenario[] = [
  {
    id: "route-weighted",
    about: "weighted clusters, the random number given in a header",
    access_log: "route=%ROUTE_NAME% cluster=%UPSTREAM_CLUSTER%",
    plugins: [p1(["on_request_headers: prop cluster_name"])],
    routes: [
      {
        name: "w",
        match: { prefix: "/" },
        route: {
          weighted_clusters: {
            header_name: "x-random",
            clusters: [
              { name: "up", weight: 30 },
              { name: "alt", weight: 0 },
              { name: "empty", weight: 20 },
              { cluster_header: "x-cluster", weight: 50 },
            ],
          },
        },
      },
    ],
    clients: ask(
      ...["0", "29", "30", "49", "130", "4294967296", "18446744073709551615"].map((value) => `/ | x-random: ${value}`),
      "/ | x-random: 77 | x-cluster: alt",
      "/ | x-random: 77 | x-cluster: nowhere",
      "/ | x-random: 77",
    ),
  },
];

const refused = (name: string, routes: object[]): Scenario => ({
  id: `route-refused-${name}`,
  about: "routes that Envoy refuses",
  full: true,
  plugins: [p1("")],
  routes,
});

const refusals: Scenario[] = [
  ["repetition", "*a"],
  ["parenthesis", "("],
  ["class", "[a"],
  ["look-ahead", "a(?=b)"],
  ["back-reference", "(a)\\1"],
  ["repetition-size", "x{2,1}"],
  ["nested", "a**"],
  ["range", "[z-a]"],
  ["named", "(?P<n"],
].map(([name, regex]) => refused(`regex-${name}`, [to("r", { safe_regex: { regex } })]));

export const routing: Group[] = [
  { item: "27 routes", scenarios: [...match, ...actions, ...weighted] },
  { item: "27 routes that are refused", scenarios: refusals },
];
