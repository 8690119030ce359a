// Envoy's format strings, as access logs, header values and local replies use them (%RESPONSE_CODE% and its like).
import { hostname } from "node:os";
import type { HeaderMap } from "../vm/headermap.js";
import type { Json, StreamInfo } from "../vm/stream-info.js";
import { ConfigError } from "./config/fields.js";

/** A text from a stream; `localReply` is the body of the answer that Envoy makes itself. */
export type Format = (info: StreamInfo, localReply?: string) => string;

type Value = string | number | undefined;
type Operator = (info: StreamInfo, localReply: string | undefined) => Value;

const ms = (from: bigint | undefined, to: bigint | undefined): number | undefined =>
  from === undefined || to === undefined ? undefined : Number((to - from) / 1_000_000n);

const ip = (address: string): string => address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
const port = (address: string): string => address.slice(address.lastIndexOf(":") + 1);

function headerOf(map: HeaderMap | undefined, argument: string): string | undefined {
  const [first = "", other] = argument.split("?");
  return map?.joined(first.toLowerCase()) ?? (other === undefined ? undefined : map?.joined(other.toLowerCase()));
}

function metadataOf(metadata: Record<string, Json> | undefined, argument: string): string | undefined {
  let value: Json | undefined = metadata as Json | undefined;
  for (const key of argument.split(":")) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    value = value[key];
  }
  if (value === undefined) return undefined;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function time(ns: bigint, format: string | undefined): string {
  const date = new Date(Number(ns / 1_000_000n));
  if (!format) return date.toISOString();
  const two = (n: number) => String(n).padStart(2, "0");
  const fraction = (digits: number) =>
    String(ns % 1_000_000_000n)
      .padStart(9, "0")
      .slice(0, digits);
  const parts: Record<string, string> = {
    Y: String(date.getUTCFullYear()),
    m: two(date.getUTCMonth() + 1),
    d: two(date.getUTCDate()),
    H: two(date.getUTCHours()),
    M: two(date.getUTCMinutes()),
    S: two(date.getUTCSeconds()),
    T: `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`,
    F: `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`,
    s: String(ns / 1_000_000_000n),
    f: fraction(9),
    "3f": fraction(3),
    "6f": fraction(6),
    "9f": fraction(9),
    Z: "UTC",
    "%": "%",
  };
  return format.replace(/%(\df|.)/g, (whole, key: string) => parts[key] ?? whole);
}

const flags = (info: StreamInfo): string => [...info.flags].join(",") || "-";

const remote = (info: StreamInfo): string => info.connection.remoteAddress;
const local = (info: StreamInfo): string => info.connection.localAddress;

/** Operators by name; those with an argument get it between brackets. */
const OPERATORS: Record<string, (argument: string) => Operator> = {
  RESPONSE_CODE: () => (info) => info.responseCode ?? 0,
  RESPONSE_CODE_DETAILS: () => (info) => info.responseCodeDetails?.replace(/\s/g, "_"),
  RESPONSE_FLAGS: () => flags,
  CONNECTION_TERMINATION_DETAILS: () => (info) => info.connection.terminationDetails,
  UPSTREAM_CLUSTER: () => (info) => info.upstreamCluster,
  UPSTREAM_CLUSTER_RAW: () => (info) => info.upstreamCluster,
  UPSTREAM_HOST: () => (info) => info.upstream.remoteAddress,
  UPSTREAM_REMOTE_ADDRESS: () => (info) => info.upstream.remoteAddress,
  UPSTREAM_LOCAL_ADDRESS: () => (info) => info.upstream.localAddress,
  UPSTREAM_TRANSPORT_FAILURE_REASON: () => (info) => info.upstream.transportFailure?.replace(/\s/g, "_"),
  UPSTREAM_REQUEST_ATTEMPT_COUNT: () => (info) => info.upstream.attempts,
  BYTES_RECEIVED: () => (info) => info.bytesReceived,
  BYTES_SENT: () => (info) => info.bytesSent,
  DURATION: () => (info) => ms(info.startMonotonic, info.endMonotonic),
  REQUEST_DURATION: () => (info) => ms(info.startMonotonic, info.lastRequestByte),
  RESPONSE_DURATION: () => (info) => ms(info.startMonotonic, info.firstUpstreamReceived),
  RESPONSE_TX_DURATION: () => (info) => ms(info.firstUpstreamReceived, info.lastResponseByte),
  START_TIME: (format) => (info) => time(info.startWall, format || undefined),
  PROTOCOL: () => (info) => info.protocol,
  ROUTE_NAME: () => (info) => info.route?.routeName || undefined,
  VIRTUAL_CLUSTER_NAME: () => () => undefined,
  REQ: (name) => (info) => headerOf(info.requestHeaders, name),
  REQUEST_HEADER: (name) => (info) => headerOf(info.requestHeaders, name),
  RESP: (name) => (info) => headerOf(info.responseHeaders, name),
  RESPONSE_HEADER: (name) => (info) => headerOf(info.responseHeaders, name),
  TRAILER: (name) => (info) => headerOf(info.responseTrailers, name),
  DYNAMIC_METADATA: (path) => (info) => metadataOf(info.dynamicMetadata, path),
  METADATA(argument) {
    const [kind = "", ...path] = argument.split(":");
    return (info) =>
      metadataOf(kind === "ROUTE" ? info.route?.routeMetadata : kind === "CLUSTER" ? info.route?.clusterMetadata : info.dynamicMetadata, path.join(":"));
  },
  FILTER_STATE(argument) {
    const [key = "", kind] = argument.split(":");
    return (info) => {
      const object = info.filterState.get(key);
      return object && (kind === "PLAIN" ? object.value : JSON.stringify(object.value));
    };
  },
  DOWNSTREAM_REMOTE_ADDRESS: () => remote,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: () => remote,
  DOWNSTREAM_LOCAL_ADDRESS: () => local,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: () => (info) => ip(remote(info)),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: () => (info) => ip(remote(info)),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: () => (info) => ip(local(info)),
  DOWNSTREAM_REMOTE_PORT: () => (info) => port(remote(info)),
  DOWNSTREAM_LOCAL_PORT: () => (info) => port(local(info)),
  CONNECTION_ID: () => (info) => info.connection.id,
  GRPC_STATUS: () => (info) => info.responseTrailers?.get("grpc-status") ?? info.responseHeaders?.get("grpc-status"),
  GRPC_STATUS_NUMBER: () => (info) => info.responseTrailers?.get("grpc-status") ?? info.responseHeaders?.get("grpc-status"),
  HOSTNAME: () => () => hostname(),
  ENVIRONMENT: (name) => () => process.env[name],
  LOCAL_REPLY_BODY: () => (_info, body) => body,
  STREAM_ID: () => (info) => info.requestHeaders?.get("x-request-id"),
  REQUESTED_SERVER_NAME: () => () => undefined,
};

/** Names of the operators that are supported. */
export const FORMAT_OPERATORS = Object.keys(OPERATORS);

/** envoy 1.40: the default access log. */
export const DEFAULT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

function parse(text: string, path: string): (string | Operator)[] {
  const parts: (string | Operator)[] = [];
  const pattern = /%(?:%|([A-Z_]+)(?:\(((?:[^()]|\([^()]*\))*)\))?(?::(\d+))?%)/g;
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > at) parts.push(text.slice(at, match.index));
    at = match.index + match[0].length;
    const [, name, argument = "", limit] = match;
    if (name === undefined) {
      parts.push("%");
      continue;
    }
    const make = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
    if (!make) throw new ConfigError(`${path}: the node engine does not support %${name}%`, `Not supported field in StreamInfo: ${name}`);
    const operator = make(argument);
    parts.push(limit === undefined ? operator : (info, body) => String(operator(info, body) ?? "-").slice(0, Number(limit)));
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

/** Compiles a format text. A value that is not there is "-". Throws ConfigError for an operator that is not supported. */
export function compileFormat(text: string, path: string): Format {
  const parts = parse(text, path);
  if (parts.every((part) => typeof part === "string")) {
    const whole = parts.join("");
    return () => whole;
  }
  return (info, localReply) => parts.map((part) => (typeof part === "string" ? part : String(part(info, localReply) ?? "-"))).join("");
}

/** A json_format: numbers stay numbers where an operator stands alone; keys are sorted, and a line ends with a line break (envoy 1.40). */
export function compileJson(json: Json, path: string): Format {
  const compiled = compileValue(json, path);
  return (info, localReply) => `${JSON.stringify(compiled(info, localReply))}\n`;
}

function compileValue(json: Json, path: string): (info: StreamInfo, localReply?: string) => Json {
  if (typeof json === "string") {
    const parts = parse(json, path);
    const [only] = parts;
    if (parts.length === 1 && typeof only === "function") return (info, localReply) => only(info, localReply) ?? null;
    const format = compileFormat(json, path);
    return (info, localReply) => format(info, localReply);
  }
  if (Array.isArray(json)) {
    const items = json.map((item) => compileValue(item, path));
    return (info, localReply) => items.map((item) => item(info, localReply));
  }
  if (typeof json === "object" && json !== null) {
    const entries = Object.entries(json)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [key, compileValue(value, path)] as const);
    return (info, localReply) => Object.fromEntries(entries.map(([key, value]) => [key, value(info, localReply)]));
  }
  return () => json;
}
