// envoy.config.cluster.v3.Cluster: hosts, how one is picked, how to speak to it.
import { isIP } from "node:net";
import type { PluginConfig } from "../../vm/plugin.js";
import type { Json } from "../../vm/stream-info.js";
import { HTTP2_DEFAULTS, type Http2Settings } from "../http2-session.js";
import { ConfigError, type Fields } from "./fields.js";
import { readPlugin } from "./wasm.js";

export interface HostConfig {
  host: string;
  port: number;
  weight: number;
  priority: number;
  metadata?: Record<string, Json>;
  healthy: boolean;
}

export type HostSource = { header: string } | { metadata: { namespace: string; path: string[] } };

export type Balancing =
  | { kind: "round_robin" | "random" | "least_request" | "ring_hash" | "maglev" }
  | { kind: "original_dst"; header: string | undefined }
  | { kind: "override_host"; sources: HostSource[]; fallback: Balancing }
  | {
      kind: "subset";
      selectors: string[][];
      fallback: "NO_FALLBACK" | "ANY_ENDPOINT" | "DEFAULT_SUBSET";
      defaultSubset: Record<string, Json>;
      inner: Balancing;
    };

export interface ClusterConfig {
  name: string;
  hosts: HostConfig[];
  balancing: Balancing;
  connectTimeoutMs: number;
  /** Speaks HTTP/2. */
  http2: Http2Settings | undefined;
  enableTrailers: boolean;
  bufferLimit: number;
  tls: { sni: string | undefined } | undefined;
  /** Upstream filters; the codec behind them is implied. */
  filters: { name: string; plugin: PluginConfig }[];
  metadata?: Record<string, Json>;
}

export function readMetadata(fields: Fields | undefined): Record<string, Json> | undefined {
  if (!fields) return undefined;
  const metadata = (fields.json_("filter_metadata") ?? {}) as Record<string, Json>;
  fields.done();
  return metadata;
}

/** A socket address; its host is a number, except where `names` are looked up. Throws ConfigError. */
export function readAddress(
  fields: Fields | undefined,
  path: string,
  names: "names" | "no names" | "no names listened to" = "no names listened to",
): { host: string; port: number } {
  const socket = fields?.message("socket_address");
  if (!socket) throw new ConfigError(`${path}: the node engine supports socket_address only`);
  const address = { host: socket.required("address"), port: socket.port("port_value") };
  if (names !== "names" && isIP(address.host) === 0) {
    const advice = names === "no names" ? ". Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'" : "";
    const reason = `malformed IP address: ${address.host}${advice}`;
    throw new ConfigError(`${socket.path}.address: ${reason}`, reason);
  }
  socket.choice("protocol", ["TCP"], "TCP");
  socket.accept("ipv4_compat").done();
  fields!.done();
  return address;
}

const HEALTH = ["UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED"] as const;

function readHosts(assignment: Fields | undefined, names: "names" | "no names"): HostConfig[] {
  if (!assignment) return [];
  const hosts: HostConfig[] = [];
  assignment.accept("cluster_name");
  for (const locality of assignment.list("endpoints")) {
    const priority = locality.number("priority") ?? 0;
    for (const entry of locality.list("lb_endpoints")) {
      const endpoint = entry.message("endpoint");
      const metadata = readMetadata(entry.message("metadata"));
      const health = entry.choice("health_status", HEALTH, "UNKNOWN");
      hosts.push({
        ...readAddress(endpoint?.message("address"), `${entry.path}.endpoint.address`, names),
        weight: entry.number("load_balancing_weight") ?? 1,
        priority,
        healthy: health !== "UNHEALTHY" && health !== "TIMEOUT" && health !== "DRAINING",
        ...(metadata ? { metadata } : {}),
      });
      endpoint?.accept("hostname").done();
      entry.done();
    }
    locality.accept("locality", "load_balancing_weight").done();
  }
  assignment.done();
  return hosts;
}

const POLICY = "envoy.extensions.load_balancing_policies.";

function readPolicies(policy: Fields): Balancing {
  const [first] = policy.list("policies");
  if (!first) return policy.fail("policies", "is empty");
  policy.done();
  const extension = first.message("typed_extension_config");
  const config = extension?.message("typed_config");
  if (!extension || !config) return first.fail("typed_extension_config", "is missing");
  extension.accept("name").done();
  first.done();
  return readPolicy(config);
}

const SIMPLE: Record<string, "round_robin" | "random" | "least_request" | "ring_hash" | "maglev"> = {
  [`${POLICY}round_robin.v3.RoundRobin`]: "round_robin",
  [`${POLICY}random.v3.Random`]: "random",
  [`${POLICY}least_request.v3.LeastRequest`]: "least_request",
  [`${POLICY}ring_hash.v3.RingHash`]: "ring_hash",
  [`${POLICY}maglev.v3.Maglev`]: "maglev",
};

/** Names of the load balancing policies that are supported. */
export const POLICIES = [...Object.keys(SIMPLE), `${POLICY}override_host.v3.OverrideHost`, `${POLICY}subset.v3.Subset`];

function readPolicy(config: Fields): Balancing {
  const simple = SIMPLE[config.type];
  if (simple) {
    config.done();
    return { kind: simple };
  }
  if (config.type === `${POLICY}override_host.v3.OverrideHost`) {
    const sources = config.list("override_host_sources").map((source): HostSource => {
      const header = source.string("header");
      const key = source.message("metadata");
      source.done();
      if (header !== undefined) return { header };
      if (!key) return source.fail("header", "is missing");
      const found = { metadata: { namespace: key.required("key"), path: key.list("path").map((step) => step.required("key")) } };
      key.done();
      return found;
    });
    const fallback = config.message("fallback_policy");
    const inner: Balancing = fallback ? readPolicies(fallback) : { kind: "round_robin" };
    config.done();
    return { kind: "override_host", sources, fallback: inner };
  }
  if (config.type === `${POLICY}subset.v3.Subset`) {
    const inner = config.message("subset_lb_policy");
    return readSubset(config, inner ? readPolicies(inner) : { kind: "round_robin" });
  }
  throw new ConfigError(`${config.path}: the node engine does not support ${config.type}; it supports ${POLICIES.join(", ")}`);
}

function readSubset(config: Fields, inner: Balancing): Balancing {
  const selectors = config.list("subset_selectors").map((selector) => {
    const keys = selector.strings("keys");
    selector.done();
    return keys.sort();
  });
  const fallback = config.choice("fallback_policy", ["NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"], "NO_FALLBACK");
  const defaultSubset = (config.json_("default_subset") ?? {}) as Record<string, Json>;
  config.done();
  return { kind: "subset", selectors, fallback, defaultSubset, inner };
}

const LB = ["ROUND_ROBIN", "LEAST_REQUEST", "RING_HASH", "RANDOM", "CLUSTER_PROVIDED", "MAGLEV"] as const;

function readBalancing(fields: Fields, type: string): Balancing {
  const policy = fields.choice("lb_policy", LB, "ROUND_ROBIN");
  for (const name of ["ring_hash_lb_config", "maglev_lb_config", "least_request_lb_config", "round_robin_lb_config"]) fields.message(name)?.done();
  const original = fields.message("original_dst_lb_config");
  const header = original?.bool("use_http_header") ? (original.string("http_header_name") ?? "x-envoy-original-dst-host") : undefined;
  original?.done();
  if (type === "ORIGINAL_DST") return { kind: "original_dst", header };
  if (policy === "CLUSTER_PROVIDED") return fields.fail("lb_policy", "CLUSTER_PROVIDED goes with type ORIGINAL_DST");
  const modern = fields.message("load_balancing_policy");
  const inner: Balancing = modern ? readPolicies(modern) : { kind: policy.toLowerCase() as "round_robin" };
  const subset = fields.message("lb_subset_config");
  return subset ? readSubset(subset, inner) : inner;
}

const WINDOWS = ["initial_stream_window_size", "initial_connection_window_size"] as const;

/** Http2ProtocolOptions; its defaults where there are none. */
export function readHttp2(fields: Fields | undefined): Http2Settings {
  const [streamWindow = HTTP2_DEFAULTS.streamWindow, connectionWindow = HTTP2_DEFAULTS.connectionWindow] = WINDOWS.map((name) => {
    const size = fields?.number(name);
    if (size !== undefined && !(Number.isInteger(size) && size >= 65535 && size <= 0x7fffffff)) fields!.fail(name, "must be from 65535 to 2147483647");
    return size;
  });
  const settings = { streamWindow, connectionWindow, maxConcurrentStreams: fields?.number("max_concurrent_streams") ?? HTTP2_DEFAULTS.maxConcurrentStreams };
  fields?.done();
  return settings;
}

const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

function readProtocol(fields: Fields): Pick<ClusterConfig, "http2" | "enableTrailers" | "filters"> {
  const result: Pick<ClusterConfig, "http2" | "enableTrailers" | "filters"> = { http2: undefined, enableTrailers: false, filters: [] };
  const all = fields.message("typed_extension_protocol_options");
  const options = all?.message(HTTP_OPTIONS);
  all?.done();
  if (!options) return result;
  const explicit = options.message("explicit_http_config");
  const http1 = explicit?.message("http_protocol_options");
  const http2 = explicit?.message("http2_protocol_options");
  result.http2 = http2 && readHttp2(http2);
  result.enableTrailers = http1?.bool("enable_trailers") ?? false;
  http1?.done();
  explicit?.done();
  for (const filter of options.list("http_filters")) {
    const name = filter.required("name");
    const config = filter.message("typed_config");
    if (config?.type === "envoy.extensions.filters.http.wasm.v3.Wasm") {
      const plugin = config.message("config");
      result.filters.push({ name, plugin: plugin ? readPlugin(plugin) : config.fail("config", "is missing") });
    } else if (config?.type !== "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec") {
      throw new ConfigError(`${filter.path}: the node engine does not support ${config?.type ?? name} as an upstream filter`);
    }
    config.done();
    filter.done();
  }
  const common = options.message("common_http_protocol_options");
  common?.accept("idle_timeout", "max_requests_per_connection").done();
  options.done();
  return result;
}

export function readCluster(fields: Fields): ClusterConfig {
  const type = fields.choice("type", ["STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"], "STATIC");
  if (type === "EDS") fields.fail("type", "the node engine does not support EDS");
  const socket = fields.message("transport_socket");
  const tlsConfig = socket?.message("typed_config");
  if (tlsConfig && tlsConfig.type !== "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")
    throw new ConfigError(`${tlsConfig.path}: the node engine does not support ${tlsConfig.type}`);
  const sni = tlsConfig?.string("sni");
  tlsConfig?.done();
  socket?.accept("name").done();
  const metadata = readMetadata(fields.message("metadata"));
  const http2Legacy = fields.message("http2_protocol_options");
  const protocol = readProtocol(fields);
  const cluster: ClusterConfig = {
    name: fields.required("name"),
    hosts: readHosts(fields.message("load_assignment"), type === "STATIC" ? "no names" : "names"),
    balancing: readBalancing(fields, type),
    connectTimeoutMs: fields.duration("connect_timeout") ?? 5000,
    ...protocol,
    http2: protocol.http2 ?? (http2Legacy && readHttp2(http2Legacy)),
    bufferLimit: fields.number("per_connection_buffer_limit_bytes") ?? 1 << 20,
    tls: tlsConfig ? { sni } : undefined,
    ...(metadata ? { metadata } : {}),
  };
  // Names are looked up by the system here, whenever a connection is made.
  fields.accept("dns_lookup_family", "dns_refresh_rate", "respect_dns_ttl", "alt_stat_name").done();
  return cluster;
}
