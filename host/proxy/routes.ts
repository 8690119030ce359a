// Envoy's route table: virtual hosts by domain, routes in order, and what a route does to a request and its answer.

import { isGrpcType } from "../vm/grpc-status.js";
import type { HeaderMap } from "../vm/headermap.js";
import type { Json, StreamInfo } from "../vm/stream-info.js";
import { readMetadata } from "./config/cluster.js";
import { ConfigError, Fields } from "./config/fields.js";
import type { KnownClusters } from "./config/listener.js";
import type { StreamRoute } from "./connection-manager.js";
import { type HeaderEdit, readEdits } from "./header-edits.js";
import { type HeaderMatch, readHeaderMatch, readStringMatch, type StringMatch } from "./matchers.js";
import { readRegex } from "./regex.js";
import { type RetryPolicy, readRetryPolicy } from "./retry.js";

/** What routing may look at beside the headers. */
interface Facts {
  info: StreamInfo;
}

type Match = (headers: HeaderMap, facts: Facts) => boolean;

/** A configured route, before it meets a request. */
interface RouteConfig {
  match: Match;
  bind(headers: HeaderMap, info: StreamInfo): StreamRoute;
}

interface VirtualHost {
  name: string;
  domains: string[];
  routes: RouteConfig[];
}

export type RouteTable = (headers: HeaderMap, info: StreamInfo) => StreamRoute | undefined;

/** What a route inherits from its virtual host and table. */
interface Inherited {
  virtualHostName: string;
  virtualHostMetadata: Record<string, Json> | undefined;
  requestEdits: HeaderEdit[];
  responseEdits: HeaderEdit[];
  perFilter: Map<string, boolean>;
  bufferLimit: number | undefined;
  retryPolicy: RetryPolicy | undefined;
  attemptCount: { request: boolean; response: boolean };
  clusters: KnownClusters;
  /** Throws where a route names a cluster that is not there. */
  check(kind: "cluster" | "weighted cluster", name: string, at: Fields): void;
}

const readDirection = (fields: Fields, direction: "request" | "response"): HeaderEdit[] =>
  readEdits(fields, `${direction}_headers_to_add`, `${direction}_headers_to_remove`);

function readPerFilter(fields: Fields): Map<string, boolean> {
  const disabled = new Map<string, boolean>();
  for (const [name, json] of fields.map("typed_per_filter_config")) {
    const config = Fields.of(json, `${fields.path}.typed_per_filter_config.${name}`);
    if (config.type === "envoy.config.route.v3.FilterConfig") {
      disabled.set(name, config.bool("disabled") ?? false);
      config.message("config")?.done();
      config.accept("is_optional").done();
    } else if (config.type === "envoy.extensions.filters.http.wasm.v3.Wasm") {
      const reason = `The filter ${name} doesn't support virtual host or route specific configurations`;
      throw new ConfigError(`${config.path}: ${reason}`, reason);
    } else throw new ConfigError(`${config.path}: the node engine does not support ${config.type}`);
  }
  return disabled;
}

export function readRouteTable(fields: Fields, clusters: KnownClusters): RouteTable {
  const validate = fields.bool("validate_clusters") ?? true;
  const requestEdits = readDirection(fields, "request");
  const responseEdits = readDirection(fields, "response");
  const perFilter = readPerFilter(fields);
  const hosts = fields.list("virtual_hosts").map((host): VirtualHost => {
    const metadata = readMetadata(host.message("metadata"));
    const inherited: Inherited = {
      virtualHostName: host.required("name"),
      virtualHostMetadata: metadata,
      requestEdits: [...readDirection(host, "request"), ...requestEdits],
      responseEdits: [...readDirection(host, "response"), ...responseEdits],
      perFilter: new Map([...perFilter, ...readPerFilter(host)]),
      retryPolicy: readRetries(host),
      attemptCount: { request: host.bool("include_request_attempt_count") ?? false, response: host.bool("include_attempt_count_in_response") ?? false },
      bufferLimit: host.number("request_body_buffer_limit") ?? host.number("per_request_buffer_limit_bytes"),
      clusters,
      check(kind, name, at) {
        const reason = `route: unknown ${kind} '${name}'`;
        if (validate && !clusters.has(name)) throw new ConfigError(`${at.path}: ${reason}`, reason);
      },
    };
    const domains = host.strings("domains").map((domain) => domain.toLowerCase());
    const routes = host.list("routes").map((route) => readRoute(route, inherited));
    host.done();
    return { name: inherited.virtualHostName, domains, routes };
  });
  const ignorePort = fields.bool("ignore_port_in_host_matching") ?? false;
  const name = fields.string("name") ?? "";
  fields.done();
  const seen = new Set<string>();
  for (const domain of hosts.flatMap(({ domains }) => domains)) {
    if (seen.has(domain)) {
      const rule =
        domain === "*" ? "Only a single wildcard domain is permitted" : `Only unique values for domains are permitted. Duplicate entry of domain ${domain}`;
      throw new ConfigError(`${fields.path}.virtual_hosts: ${rule}`, `${rule} in route ${name}`);
    }
    seen.add(domain);
  }
  return (headers, info) => {
    const authority = (headers.get(":authority") ?? "").toLowerCase();
    const host = findHost(hosts, ignorePort ? authority.replace(/:\d+$/, "") : authority);
    info.virtualHostName = host?.name;
    // envoy 1.40: without a path, or the scheme it came by, nothing matches.
    if (!host || !headers.has(":path") || !headers.has("x-forwarded-proto")) return undefined;
    return host.routes.find((route) => route.match(headers, { info }))?.bind(headers, info);
  };
}

/** envoy 1.40: exact, then the longest suffix, then the longest prefix, then "*". */
function findHost(hosts: VirtualHost[], authority: string): VirtualHost | undefined {
  let best: { host: VirtualHost; rank: number } | undefined;
  for (const host of hosts) {
    for (const domain of host.domains) {
      let rank = -1;
      if (domain === authority) rank = 1e9;
      else if (domain === "*") rank = 0;
      else if (domain.startsWith("*") && authority.endsWith(domain.slice(1)) && authority.length >= domain.length) rank = 1e6 + domain.length;
      else if (domain.endsWith("*") && authority.startsWith(domain.slice(0, -1)) && authority.length >= domain.length) rank = 1e3 + domain.length;
      if (rank >= 0 && (!best || rank > best.rank)) best = { host, rank };
    }
  }
  return best?.host;
}

function readMatch(fields: Fields): { match: Match; path: { kind: "prefix" | "other"; prefix: string } } {
  const sensitive = fields.bool("case_sensitive") ?? true;
  const fold = (text: string) => (sensitive ? text : text.toLowerCase());
  const withoutQuery = (path: string) => path.split(/[?#]/, 1)[0]!;
  const prefix = fields.string("prefix");
  const path = fields.string("path");
  const separated = fields.string("path_separated_prefix");
  const regex = fields.message("safe_regex");
  let onPath: StringMatch;
  if (prefix !== undefined) onPath = (value) => fold(value).startsWith(fold(prefix));
  else if (path !== undefined) onPath = (value) => fold(withoutQuery(value)) === fold(path);
  else if (separated !== undefined)
    onPath = (value) => {
      const only = fold(withoutQuery(value));
      return only === fold(separated) || only.startsWith(`${fold(separated)}/`);
    };
  else if (regex) {
    const pattern = readRegex(regex);
    onPath = (value) => pattern.matches(withoutQuery(value));
  } else return fields.fail("prefix", "is missing (prefix, path, path_separated_prefix or safe_regex)");
  const headerMatches: HeaderMatch[] = fields.list("headers").map(readHeaderMatch);
  const queries = fields.list("query_parameters").map(readQueryMatch);
  const states = fields.list("filter_state").map((state) => {
    const key = state.required("key");
    const string = state.message("string_match");
    if (!string) return state.fail("string_match", "is missing");
    const test = readStringMatch(string);
    state.done();
    return (info: StreamInfo) => {
      const object = info.filterState.get(key);
      return object !== undefined && test(object.value);
    };
  });
  const fraction = readFraction(fields.message("runtime_fraction"));
  const grpc = fields.message("grpc");
  grpc?.done();
  fields.done();
  const match: Match = (headers, { info }) =>
    onPath(headers.get(":path")!) &&
    (!grpc || isGrpcType(headers.get("content-type"))) &&
    headerMatches.every((test) => test(headers)) &&
    queries.every((test) => test(headers.get(":path")!)) &&
    states.every((test) => test(info)) &&
    (fraction === undefined || Math.random() < fraction);
  return { match, path: { kind: prefix === undefined && separated === undefined ? "other" : "prefix", prefix: prefix ?? separated ?? path ?? "" } };
}

function readQueryMatch(fields: Fields): StringMatch {
  const name = fields.required("name");
  const string = fields.message("string_match");
  const present = fields.bool("present_match");
  fields.done();
  const test = string ? readStringMatch(string) : undefined;
  return (path) => {
    const value = new URLSearchParams(path.split("?").slice(1).join("?")).get(name);
    if (value === null) return present === false;
    return test ? test(value) : present !== false;
  };
}

function readFraction(fields: Fields | undefined): number | undefined {
  if (!fields) return undefined;
  const value = fields.message("default_value");
  fields.accept("runtime_key").done();
  const numerator = value?.number("numerator") ?? 0;
  const denominator = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 }[
    value?.choice("denominator", ["HUNDRED", "TEN_THOUSAND", "MILLION"], "HUNDRED") ?? "HUNDRED"
  ];
  value?.done();
  return numerator / denominator;
}

function readRoute(fields: Fields, inherited: Inherited): RouteConfig {
  const matchFields = fields.message("match");
  if (!matchFields) return fields.fail("match", "is missing");
  const { match, path } = readMatch(matchFields);
  const routeName = fields.string("name") ?? "";
  const metadata = readMetadata(fields.message("metadata"));
  const requestEdits = [...readDirection(fields, "request"), ...inherited.requestEdits];
  const responseEdits = [...readDirection(fields, "response"), ...inherited.responseEdits];
  const perFilter = new Map([...inherited.perFilter, ...readPerFilter(fields)]);
  const requestBufferLimit = fields.number("request_body_buffer_limit") ?? fields.number("per_request_buffer_limit_bytes") ?? inherited.bufferLimit;
  const action = readAction(fields, path, inherited);
  fields.accept("decorator", "stat_prefix").done();
  return {
    match,
    bind(headers, info) {
      const clusterName = action.clusterName?.(headers) ?? "";
      return {
        facts: {
          routeName,
          virtualHostName: inherited.virtualHostName,
          clusterName,
          ...(metadata ? { routeMetadata: metadata } : {}),
          ...(inherited.virtualHostMetadata ? { virtualHostMetadata: inherited.virtualHostMetadata } : {}),
          ...withClusterMetadata(inherited.clusters.get(clusterName)),
        },
        filterDisabled: (name) => perFilter.get(name),
        requestBufferLimit,
        clusterName: () => clusterName,
        clusterNotFoundStatus: action.clusterNotFoundStatus,
        timeoutMs: action.timeoutMs,
        idleTimeoutMs: action.idleTimeoutMs,
        directResponse: action.directResponse,
        redirect: action.redirect,
        metadataMatch: action.metadataMatch,
        hash: (map) => action.hash?.(map),
        retryPolicy: action.retryPolicy ?? inherited.retryPolicy,
        attemptCount: inherited.attemptCount,
        finalizeRequestHeaders(map) {
          for (const edit of requestEdits) edit(map, info);
          action.rewrite?.(map);
        },
        finalizeResponseHeaders(map) {
          for (const edit of responseEdits) edit(map, info);
        },
      };
    },
  };
}

function withClusterMetadata(metadata: Record<string, Json> | undefined) {
  return metadata ? { clusterMetadata: metadata } : {};
}

function readRetries(fields: Fields): RetryPolicy | undefined {
  const policy = fields.message("retry_policy");
  return policy && readRetryPolicy(policy);
}

interface Action {
  retryPolicy?: RetryPolicy | undefined;
  clusterName?: (headers: HeaderMap) => string;
  clusterNotFoundStatus: number;
  timeoutMs: number;
  idleTimeoutMs?: number | undefined;
  directResponse?: { status: number; body: string } | undefined;
  redirect?: (headers: HeaderMap) => { status: number; location: string };
  metadataMatch?: Record<string, Json> | undefined;
  hash?: (headers: HeaderMap) => string | undefined;
  rewrite?: (headers: HeaderMap) => void;
}

type PathMatch = { kind: "prefix" | "other"; prefix: string };

function readAction(fields: Fields, path: PathMatch, inherited: Inherited): Action {
  const none = { clusterNotFoundStatus: 503, timeoutMs: 0 };
  const direct = fields.message("direct_response");
  if (direct) {
    const body = direct.message("body");
    const text = body?.string("inline_string") ?? Buffer.from(body?.string("inline_bytes") ?? "", "base64").toString("latin1");
    body?.done();
    const status = direct.number("status") ?? direct.fail("status", "is missing");
    direct.done();
    return { ...none, directResponse: { status, body: Buffer.from(text, "utf8").toString("latin1") } };
  }
  const redirect = fields.message("redirect");
  if (redirect) return { ...none, redirect: readRedirect(redirect, path) };
  const route = fields.message("route");
  if (!route) return fields.fail("route", "is missing (route, redirect or direct_response)");
  const rewrite = readRewrite(route, path);
  const action: Action = {
    clusterName: readCluster(route, inherited),
    clusterNotFoundStatus: { SERVICE_UNAVAILABLE: 503, NOT_FOUND: 404, INTERNAL_SERVER_ERROR: 500 }[
      route.choice("cluster_not_found_response_code", ["SERVICE_UNAVAILABLE", "NOT_FOUND", "INTERNAL_SERVER_ERROR"], "SERVICE_UNAVAILABLE")
    ],
    timeoutMs: route.duration("timeout") ?? 15_000,
    idleTimeoutMs: route.duration("idle_timeout"),
    metadataMatch: readMetadata(route.message("metadata_match"))?.["envoy.lb"] as Record<string, Json> | undefined,
    hash: readHash(route),
    retryPolicy: readRetries(route),
    ...(rewrite ? { rewrite } : {}),
  };
  route.done();
  return action;
}

function readCluster(route: Fields, { check }: Inherited): (headers: HeaderMap) => string {
  const cluster = route.string("cluster");
  if (cluster !== undefined) {
    check("cluster", cluster, route);
    return () => cluster;
  }
  const header = route.string("cluster_header")?.toLowerCase();
  if (header !== undefined) return (headers) => headers.get(header) ?? "";
  const weighted = route.message("weighted_clusters");
  if (!weighted) return route.fail("cluster", "is missing (cluster, cluster_header or weighted_clusters)");
  const randomHeader = weighted.string("header_name")?.toLowerCase();
  const entries = weighted.list("clusters").map((entry) => {
    const name = entry.string("name");
    const fromHeader = entry.string("cluster_header")?.toLowerCase();
    const weight = entry.number("weight") ?? 0;
    if (name !== undefined) check("weighted cluster", name, entry);
    entry.done();
    return { weight, name: (headers: HeaderMap) => (fromHeader === undefined ? (name ?? "") : (headers.get(fromHeader) ?? "")) };
  });
  weighted.accept("total_weight").done();
  const total = entries.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return weighted.fail("clusters", "the weights add up to nothing");
  return (headers) => {
    const given = randomHeader === undefined ? undefined : headers.get(randomHeader);
    let at = given !== undefined && /^\d+$/.test(given) ? Number(BigInt(given) % BigInt(total)) : Math.floor(Math.random() * total);
    for (const { weight, name } of entries) {
      if (at < weight) return name(headers);
      at -= weight;
    }
    return entries[0]!.name(headers);
  };
}

function readHash(route: Fields): (headers: HeaderMap) => string | undefined {
  const policies = route.list("hash_policy").map((policy) => {
    const header = policy.message("header");
    const name = header?.required("header_name").toLowerCase();
    header?.done();
    // envoy 1.40: what a wasm filter sets has no hash.
    policy.message("filter_state")?.accept("key").done();
    const terminal = policy.bool("terminal") ?? false;
    policy.done();
    return { name, terminal };
  });
  return (headers) => {
    const found: string[] = [];
    for (const { name, terminal } of policies) {
      const value = name === undefined ? undefined : headers.joined(name);
      if (value !== undefined) found.push(value);
      if (terminal && found.length > 0) break;
    }
    return found.length > 0 ? found.join("\0") : undefined;
  };
}

/** A path with another beginning. */
function replacePrefix(path: string, match: PathMatch, prefix: string): string {
  return match.kind === "prefix" ? prefix + path.slice(match.prefix.length) : prefix + path.slice(path.split("?", 1)[0]!.length);
}

function readRewrite(route: Fields, match: PathMatch): ((headers: HeaderMap) => void) | undefined {
  const prefix = route.string("prefix_rewrite");
  const regex = route.message("regex_rewrite");
  const hostLiteral = route.string("host_rewrite_literal");
  const hostHeader = route.string("host_rewrite_header")?.toLowerCase();
  const substitute = regex && readSubstitution(regex);
  if (prefix === undefined && !substitute && hostLiteral === undefined && hostHeader === undefined) return undefined;
  return (headers) => {
    const path = headers.get(":path");
    if (path !== undefined && (prefix !== undefined || substitute)) {
      if (!headers.has("x-envoy-original-path")) headers.add("x-envoy-original-path", path);
      headers.assign(":path", substitute ? substitute(path) : replacePrefix(path, match, prefix!));
    }
    const host = hostLiteral ?? (hostHeader === undefined ? undefined : headers.get(hostHeader));
    if (!host) return;
    headers.assign("x-envoy-original-host", headers.get(":authority") ?? "");
    headers.assign(":authority", host);
  };
}

function readSubstitution(fields: Fields): (path: string) => string {
  const pattern = fields.message("pattern");
  const regex = pattern ? readRegex(pattern) : fields.fail("pattern", "is missing");
  const substitution = fields.string("substitution") ?? "";
  fields.done();
  return (path) => {
    const [only = "", ...query] = path.split("?");
    return [regex.replace(only, substitution), ...query].join("?");
  };
}

const REDIRECT_CODES = { MOVED_PERMANENTLY: 301, FOUND: 302, SEE_OTHER: 303, TEMPORARY_REDIRECT: 307, PERMANENT_REDIRECT: 308 } as const;

function readRedirect(fields: Fields, match: PathMatch): (headers: HeaderMap) => { status: number; location: string } {
  const status = REDIRECT_CODES[fields.choice("response_code", Object.keys(REDIRECT_CODES) as (keyof typeof REDIRECT_CODES)[], "MOVED_PERMANENTLY")];
  const host = fields.string("host_redirect");
  const port = fields.number("port_redirect");
  const path = fields.string("path_redirect");
  const prefix = fields.string("prefix_rewrite");
  const https = fields.bool("https_redirect") ?? false;
  const scheme = fields.string("scheme_redirect");
  const strip = fields.bool("strip_query") ?? false;
  fields.done();
  return (headers) => {
    const authority = host ?? headers.get(":authority") ?? "";
    const name = port === undefined ? authority : `${authority.replace(/:\d+$/, "")}:${port}`;
    const old = headers.get(":path") ?? "/";
    const query = old.includes("?") && !strip ? old.slice(old.indexOf("?")) : "";
    let target = strip ? old.split("?", 1)[0]! : old;
    if (path !== undefined) target = path.includes("?") ? path : path + query;
    else if (prefix !== undefined) target = replacePrefix(target, match, prefix);
    return { status, location: `${scheme ?? (https ? "https" : "http")}://${name}${target}` };
  };
}
