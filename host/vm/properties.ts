// `proxy_get_property` and `proxy_set_property`: the attributes of a stream. Which of them are there when: facts/envoy-verified.md 7 (envoy 1.40).

import type { Context } from "./context.js";
import { grpcStatusOf } from "./grpc-status.js";
import type { HeaderMap } from "./headermap.js";
import type { FilterStateObject, Json, StreamInfo } from "./stream-info.js";
import { encodeMetadata } from "./struct.js";
import { bytesOf, encodeValue, fromHeaders, fromJson, step, type Value } from "./values.js";

const Ok = 0;
const NotFound = 1;
const BadArgument = 2;
const SerializationFailure = 3;

export const FLAG_BITS: Record<string, number> = {
  LH: 0,
  UH: 1,
  UT: 2,
  LR: 3,
  UR: 4,
  UF: 5,
  UC: 6,
  UO: 7,
  NR: 8,
  DI: 9,
  FI: 10,
  RL: 11,
  UAEX: 12,
  RLSE: 13,
  DC: 14,
  URX: 15,
  SI: 16,
  IH: 17,
  DPE: 18,
  UMSDR: 19,
  RFCF: 20,
  NFCF: 21,
  DT: 22,
  UPE: 23,
  NC: 24,
  OM: 25,
  DF: 26,
  DR: 28,
};

/** Attributes that exist only with TLS, which this engine does not terminate. */
const TLS_ONLY = [
  "tls_version",
  "subject_local_certificate",
  "subject_peer_certificate",
  "dns_san_local_certificate",
  "dns_san_peer_certificate",
  "uri_san_local_certificate",
  "uri_san_peer_certificate",
  "sha256_peer_certificate_digest",
  "peer_certificate",
];

type Attributes = Record<string, (context: Context, info: StreamInfo) => Value | undefined>;

const int = (value: number): Value => ({ int: BigInt(value) });
const uint = (value: number): Value => ({ uint: BigInt(value) });
const portOf = (address: string | undefined): Value | undefined =>
  address === undefined ? undefined : int(Number(address.slice(address.lastIndexOf(":") + 1)));
const header = (name: string) => (context: Context) => context.readableMap(0)?.joined(name);
const duration = (from: bigint | undefined, to: bigint | undefined): Value | undefined =>
  from === undefined || to === undefined ? undefined : { duration: to - from };

/** envoy 1.40: empty where a guest took it away. */
function targetOf(context: Context): string | undefined {
  const map = context.readableMap(0);
  return map && (map.get(":path") ?? "");
}

const REQUEST: Attributes = {
  path: header(":path"),
  url_path: (context) => targetOf(context)?.split("?", 1)[0],
  host: header(":authority"),
  scheme: header(":scheme"),
  method: header(":method"),
  referer: header("referer"),
  useragent: header("user-agent"),
  id: header("x-request-id"),
  query(context) {
    const path = targetOf(context);
    if (path === undefined) return undefined;
    const at = path.indexOf("?");
    return at < 0 ? "" : path.slice(at + 1).split("#", 1)[0];
  },
  headers: (context) => lookAt(context.readableMap(0)),
  headers_bytes: (context) => int(context.readableMap(0)?.byteSize ?? 0),
  time: (_context, info) => ({ timestamp: info.startWall }),
  size(context, info) {
    const length = context.readableMap(0)?.get("content-length");
    return int(length !== undefined && /^\d+$/.test(length) ? Number(length) : info.bytesReceived);
  },
  total_size: (context, info) => int(info.bytesReceived + (context.readableMap(0)?.byteSize ?? 0)),
  // envoy 1.40: a TCP connection has none.
  duration: (_context, info) => (info.protocol === undefined ? undefined : duration(info.startMonotonic, info.endMonotonic)),
  protocol: (_context, info) => info.protocol,
};

const RESPONSE: Attributes = {
  code: (_context, info) => (info.responseCode === undefined ? undefined : int(info.responseCode)),
  code_details: (_context, info) => info.responseCodeDetails,
  flags: (_context, info) => int([...info.flags].reduce((bits, flag) => bits + 2 ** FLAG_BITS[flag]!, 0)),
  grpc_status(context, info) {
    const status =
      (context.readableMap(3) ?? info.responseTrailers)?.get("grpc-status") ?? (context.readableMap(2) ?? info.responseHeaders)?.get("grpc-status");
    if (status !== undefined) return int(Number(status));
    // envoy 1.40: mapped from the HTTP status where there is none, for responses that are no gRPC too.
    return info.responseCode === undefined ? undefined : int(grpcStatusOf(info.responseCode));
  },
  headers: (context) => lookAt(context.readableMap(2)),
  headers_bytes: (context) => int(context.readableMap(2)?.byteSize ?? 0),
  trailers: (context) => lookAt(context.readableMap(3)),
  size: (_context, info) => int(info.bytesSent),
  total_size: (context, info) => int(info.bytesSent + (context.readableMap(2)?.byteSize ?? 0) + (context.readableMap(3)?.byteSize ?? 0)),
  backend_latency: (_context, info) => duration(info.firstUpstreamSent, info.lastUpstreamReceived),
};

const CONNECTION: Attributes = {
  id: (_context, info) => uint(info.connection.id),
  mtls: () => false,
  requested_server_name: () => "",
  termination_details: (_context, info) => info.connection.terminationDetails,
  transport_failure_reason: () => undefined,
  ...none(TLS_ONLY),
};

const UPSTREAM: Attributes = {
  address: (_context, { upstream }) => upstream.host,
  port: (_context, { upstream }) => portOf(upstream.host),
  local_address: (_context, { upstream }) => upstream.localAddress,
  locality: (_context, { upstream }) => (upstream.host === undefined ? undefined : { bytes: new Uint8Array(0) }),
  transport_failure_reason: (_context, { upstream }) => (upstream.host === undefined ? undefined : (upstream.transportFailure ?? "")),
  cx_pool_ready_duration: (_context, { upstream }) => (upstream.readyNanoseconds === undefined ? undefined : { duration: upstream.readyNanoseconds }),
  request_attempt_count: (_context, { upstream }) => uint(upstream.attempts),
  num_endpoints: (_context, { upstream, upstreamCluster }) => (upstreamCluster === undefined ? undefined : uint(upstream.endpoints)),
  ...none(TLS_ONLY),
};

const ADDRESSES = (address: (info: StreamInfo) => string): Attributes => ({
  address: (_context, info) => address(info),
  port: (_context, info) => portOf(address(info)),
});

const XDS: Attributes = {
  node: (context) => nodeOf(context),
  // envoy 1.40: of the cluster that the route leads to, where there is one; a TCP connection has no route.
  cluster_name: (_context, { route, upstreamCluster }) => (upstreamCluster === undefined ? undefined : bytesOf(route?.clusterName ?? upstreamCluster)),
  cluster_metadata: (_context, { route, upstreamCluster }) => (upstreamCluster === undefined ? undefined : metadataOf(route?.clusterMetadata)),
  route_name: (_context, { route }) => (route ? bytesOf(route.routeName) : undefined),
  route_metadata: (_context, { route }) => route && metadataOf(route.routeMetadata),
  virtual_host_name(_context, { route, virtualHostName }) {
    const name = route?.virtualHostName ?? virtualHostName;
    return name === undefined ? undefined : bytesOf(name);
  },
  virtual_host_metadata: (_context, { route }) => metadataOf(route?.virtualHostMetadata),
  upstream_host_metadata: (_context, { upstream }) => (!upstream.picked ? undefined : upstream.hostMetadata ? metadataOf(upstream.hostMetadata) : null),
  upstream_host_locality_metadata: (_context, { upstream }) => (upstream.picked ? null : undefined),
  filter_chain_name: () => "",
  listener_metadata: (_context, info) => metadataOf(info.listener?.metadata),
  listener_direction: (_context, info) => int(info.listener?.direction ?? 0),
};

const ROOTS: Record<string, Attributes> = {
  request: REQUEST,
  response: RESPONSE,
  connection: CONNECTION,
  upstream: UPSTREAM,
  source: ADDRESSES((info) => info.connection.remoteAddress),
  destination: ADDRESSES((info) => info.connection.localAddress),
  xds: XDS,
};

function none(names: string[]): Attributes {
  return Object.fromEntries(names.map((name) => [name, () => undefined]));
}

function lookAt(map: HeaderMap | undefined): Value | undefined {
  return map && fromHeaders(map);
}

function metadataOf(metadata: Record<string, Json> | undefined): Value {
  const value = metadata ?? {};
  return {
    bytes: encodeMetadata(value),
    field: (name) => (name === "filter_metadata" ? fromJson(value) : name === "typed_filter_metadata" ? { map: [] } : undefined),
  };
}

function nodeOf(context: Context): Value {
  const { node } = context.vm.env;
  const fields: Record<string, Value> = {
    id: bytesOf(node.id),
    cluster: bytesOf(node.cluster),
    metadata: fromJson(node.metadata as Record<string, Json>),
    user_agent_name: "envoy",
    locality: { bytes: new Uint8Array(0), field: (name) => (["region", "zone", "sub_zone"].includes(name) ? "" : undefined) },
  };
  return { bytes: node.encoded, field: (name) => fields[name] };
}

function filterStateValue(object: FilterStateObject): Value {
  return object.value;
}

/** The first part of a path; undefined where no attribute has that name (something a filter has set may have it). */
export function rootValue(context: Context, name: string): Value | undefined {
  const info = context.observed;
  const attributes = ROOTS[name];
  if (attributes && info) return { look: (field) => attributes[field]?.(context, info), names: Object.keys(attributes) };
  if (name === "xds") return { look: (field) => (field === "node" ? nodeOf(context) : undefined), names: ["node"] };
  if (name === "plugin_name") return bytesOf(context.root.plugin.name);
  if (name === "plugin_root_id") return bytesOf(context.root.plugin.rootId);
  if (name === "plugin_vm_id") return bytesOf(context.root.plugin.vm.vmId);
  if (!info) return undefined;
  if (name === "connection_id") return uint(info.connection.id);
  if (name === "metadata") return metadataOf(info.dynamicMetadata);
  if (name === "filter_state") return { look: (key) => (info.filterState.has(key) ? filterStateValue(info.filterState.get(key)!) : undefined), names: [] };
  // envoy 1.40: the upstream's filter state comes into being with the connection.
  if (name === "upstream_filter_state") return info.upstream.remoteAddress !== undefined ? { look: () => undefined, names: [] } : undefined;
  const set = info.filterState.get(`wasm.${name}`);
  return set?.fromWasm ? filterStateValue(set) : undefined;
}

/** The property's bytes, or a status. */
export function getProperty(context: Context, path: string): Uint8Array | number {
  const parts = (path.endsWith("\0") ? path.slice(0, -1) : path).split("\0");
  if (path === "") return SerializationFailure;
  let value = rootValue(context, parts[0]!);
  for (let i = 1; i < parts.length && value !== undefined; i++) value = step(value, parts[i]!);
  if (value === undefined) return NotFound;
  return encodeValue(value) ?? SerializationFailure;
}

/** envoy 1.40: writes filter state under "wasm." and the path as it is. */
export function setProperty(context: Context, key: string, value: string): number {
  const info = context.stream;
  if (!info) return NotFound;
  const name = `wasm.${key}`;
  const present = info.filterState.get(name);
  if (present?.readOnly) return BadArgument;
  const declared = context.root.declared?.get(key);
  info.filterState.set(name, { value, fromWasm: true, readOnly: declared?.readOnly ?? false, ...(declared ? { type: declared.type } : {}) });
  return Ok;
}
