// Envoy's format strings, as access logs, header values and local replies use them (%RESPONSE_CODE% and its like).
import { hostname } from "node:os";
import { grpcStatusOf, isGrpcType } from "../vm/grpc-status.js";
import type { HeaderMap } from "../vm/headermap.js";
import type { Json, StreamInfo } from "../vm/stream-info.js";
import { TOKEN, toByteString } from "./byte-string.js";
import { ConfigError } from "./config/fields.js";

/** A text from a stream; `localReply` is the body of the answer that Envoy makes itself. */
export type Format = (info: StreamInfo, localReply?: string) => string;

type Value = string | number | undefined;
type Operator = (info: StreamInfo, localReply: string | undefined) => Value;

const ms = (from: bigint | undefined, to: bigint | undefined): number | undefined =>
  from === undefined || to === undefined ? undefined : Number((to - from) / 1_000_000n);

const ip = (address: string): string => address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
const port = (address: string): string => address.slice(address.lastIndexOf(":") + 1);

function metadataOf(metadata: Record<string, Json> | undefined, argument: string): string | undefined {
  let value: Json | undefined = metadata as Json | undefined;
  for (const key of argument.split(":")) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    value = value[key];
  }
  if (value === undefined) return undefined;
  return typeof value === "string" ? value : JSON.stringify(value);
}

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (n: number) => String(n).padStart(2, "0");

/** What strftime and Envoy call parts of a time, always UTC. */
const TIME_PARTS: Record<string, (date: Date, ns: bigint) => string> = {
  Y: (date) => String(date.getUTCFullYear()),
  y: (date) => two(date.getUTCFullYear() % 100),
  m: (date) => two(date.getUTCMonth() + 1),
  b: (date) => MONTHS[date.getUTCMonth()]!,
  d: (date) => two(date.getUTCDate()),
  e: (date) => String(date.getUTCDate()).padStart(2),
  a: (date) => DAYS[date.getUTCDay()]!,
  H: (date) => two(date.getUTCHours()),
  M: (date) => two(date.getUTCMinutes()),
  S: (date) => two(date.getUTCSeconds()),
  T: (date) => date.toISOString().slice(11, 19),
  F: (date) => date.toISOString().slice(0, 10),
  s: (_date, ns) => String(ns / 1_000_000_000n),
  f: (_date, ns) => fraction(ns, 9),
  z: () => "+0000",
  Z: () => "UTC",
  "%": () => "%",
};

const fraction = (ns: bigint, digits: number): string =>
  String(ns % 1_000_000_000n)
    .padStart(9, "0")
    .slice(0, digits);

function compileTime(format: string, refuse: (what: string) => never): (ns: bigint) => string {
  const dateOf = (ns: bigint) => new Date(Number(ns / 1_000_000n));
  if (format === "") return (ns) => dateOf(ns).toISOString();
  const parts = format.split(/(%[1-9]f|%.)/s).map((part): ((date: Date, ns: bigint) => string) => {
    if (!part.startsWith("%")) return () => part;
    if (part.length === 3) return (_date, ns) => fraction(ns, Number(part[1]));
    return TIME_PARTS[part[1] ?? ""] ?? refuse(`the time format ${part}`);
  });
  return (ns) => parts.map((part) => part(dateOf(ns), ns)).join("");
}

const flags = (info: StreamInfo): string => [...info.flags].join(",") || "-";

const remote = (info: StreamInfo): string => info.connection.remoteAddress;
const local = (info: StreamInfo): string => info.connection.localAddress;

/** What stands behind an operator's name: nothing; perhaps an argument; an argument, and then perhaps a greatest length; the same where `make` says what is missing. */
type Syntax = "plain" | "optional" | "required" | "own words";

interface OperatorKind {
  syntax: Syntax;
  /** `refuse` throws: this is not supported here, or Envoy's own reason for not taking it. */
  make(argument: string, refuse: Refuse): Operator;
}

interface Refuse {
  (what: string): never;
  reason(text: string): never;
}

const plain = (operator: Operator): OperatorKind => ({ syntax: "plain", make: () => operator });
const optional = (make: OperatorKind["make"]): OperatorKind => ({ syntax: "optional", make });
const required = (make: OperatorKind["make"]): OperatorKind => ({ syntax: "required", make });
const inOwnWords = (make: OperatorKind["make"]): OperatorKind => ({ syntax: "own words", make });

const header = (mapOf: (info: StreamInfo) => HeaderMap | undefined): OperatorKind =>
  required((argument, refuse) => {
    const names = argument.split("?");
    if (names.length > 2) return refuse.reason(`More than 1 alternative header specified in token: ${argument}`);
    if (names.some((name) => !TOKEN.test(name.replace(/^:/, ""))))
      return refuse.reason("Invalid header configuration. Format string contains invalid characters.");
    const [first = "", other] = names.map((name) => name.toLowerCase());
    // envoy 1.40: of several values the first.
    return (info) => mapOf(info)?.get(first) ?? (other === undefined ? undefined : mapOf(info)?.get(other));
  });

const withoutPort = (address: (info: StreamInfo) => string): OperatorKind =>
  optional((argument, refuse) => (argument === "" ? (info) => ip(address(info)) : refuse("a mask of an address")));

/** envoy 1.40: names of gRPC's statuses. */
const GRPC = [
  ..."OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted FailedPrecondition Aborted".split(" "),
  ..."OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated".split(" "),
];

function grpcStatus(info: StreamInfo): string | undefined {
  const status = info.responseTrailers?.get("grpc-status") ?? info.responseHeaders?.get("grpc-status");
  if (status !== undefined && /^\d+$/.test(status)) return status;
  // envoy 1.40: of the HTTP status, where the request was gRPC.
  if (!isGrpcType(info.requestHeaders?.get("content-type")) || info.responseCode === undefined) return undefined;
  return String(grpcStatusOf(info.responseCode));
}

const snake = (camel: string): string => camel.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();

/** envoy 1.40: as the JSON of a google.protobuf.Any; what a guest has set is bytes, whatever type was declared. */
function typed(value: string): string {
  return JSON.stringify({ "@type": "type.googleapis.com/google.protobuf.BytesValue", value: Buffer.from(value, "latin1").toString("base64") });
}

const METADATA: Record<string, (info: StreamInfo) => Record<string, Json> | undefined> = {
  DYNAMIC: (info) => info.dynamicMetadata,
  CLUSTER: (info) => info.route?.clusterMetadata,
  ROUTE: (info) => info.route?.routeMetadata,
  VIRTUAL_HOST: (info) => info.route?.virtualHostMetadata,
  UPSTREAM_HOST: (info) => info.upstream.hostMetadata,
  LISTENER: (info) => info.listener?.metadata,
};

const OPERATORS: Record<string, OperatorKind> = {
  RESPONSE_CODE: plain((info) => info.responseCode ?? 0),
  RESPONSE_CODE_DETAILS: optional((argument) => (info) => (argument ? info.responseCodeDetails : info.responseCodeDetails?.replace(/[ \t-\r]/g, "_"))),
  RESPONSE_FLAGS: plain(flags),
  CONNECTION_TERMINATION_DETAILS: plain((info) => info.connection.terminationDetails),
  UPSTREAM_CLUSTER: plain((info) => info.upstreamCluster),
  UPSTREAM_CLUSTER_RAW: plain((info) => info.upstreamCluster),
  UPSTREAM_HOST: plain((info) => info.upstream.host),
  UPSTREAM_REMOTE_ADDRESS: plain((info) => info.upstream.remoteAddress),
  UPSTREAM_LOCAL_ADDRESS: plain((info) => info.upstream.localAddress),
  UPSTREAM_TRANSPORT_FAILURE_REASON: plain((info) => info.upstream.transportFailure?.replace(/[ \t-\r]/g, "_")),
  UPSTREAM_REQUEST_ATTEMPT_COUNT: plain((info) => info.upstream.attempts),
  BYTES_RECEIVED: plain((info) => info.bytesReceived),
  BYTES_SENT: plain((info) => info.bytesSent),
  DURATION: plain((info) => ms(info.startMonotonic, info.endMonotonic)),
  REQUEST_DURATION: plain((info) => ms(info.startMonotonic, info.lastRequestByte)),
  RESPONSE_DURATION: plain((info) => ms(info.startMonotonic, info.firstUpstreamReceived)),
  RESPONSE_TX_DURATION: plain((info) => ms(info.firstUpstreamReceived, info.lastResponseByte)),
  START_TIME: optional((format, refuse) => {
    const time = compileTime(format, refuse);
    return (info) => time(info.startWall);
  }),
  PROTOCOL: plain((info) => info.protocol),
  ROUTE_NAME: plain((info) => info.route?.routeName || undefined),
  VIRTUAL_CLUSTER_NAME: plain(() => undefined),
  REQ: header((info) => info.requestHeaders),
  REQUEST_HEADER: header((info) => info.requestHeaders),
  RESP: header((info) => info.responseHeaders),
  RESPONSE_HEADER: header((info) => info.responseHeaders),
  TRAILER: header((info) => info.responseTrailers),
  DYNAMIC_METADATA: required((path) => (info) => metadataOf(info.dynamicMetadata, path)),
  METADATA: inOwnWords((argument, refuse) => {
    const [kind = "", ...path] = argument.split(":");
    const source = METADATA[kind] ?? refuse.reason(`${kind} is not supported type of metadata`);
    return (info) => metadataOf(source(info), path.join(":"));
  }),
  FILTER_STATE: inOwnWords((argument, refuse) => {
    const [key = "", kind = "TYPED"] = argument.split(":");
    if (key === "") return refuse.reason("Invalid filter state configuration, key cannot be empty.");
    if (kind === "FIELD") return refuse("FIELD of %FILTER_STATE%");
    if (kind !== "PLAIN" && kind !== "TYPED") return refuse.reason("Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.");
    return (info) => {
      const object = info.filterState.get(key);
      return object && (kind === "PLAIN" ? object.value : typed(object.value));
    };
  }),
  DOWNSTREAM_REMOTE_ADDRESS: plain(remote),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: plain(remote),
  DOWNSTREAM_LOCAL_ADDRESS: plain(local),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: withoutPort(remote),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: withoutPort(remote),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: withoutPort(local),
  DOWNSTREAM_REMOTE_PORT: plain((info) => port(remote(info))),
  DOWNSTREAM_LOCAL_PORT: plain((info) => port(local(info))),
  CONNECTION_ID: plain((info) => info.connection.id),
  GRPC_STATUS: optional((kind, refuse) => {
    if (!["", "CAMEL_STRING", "SNAKE_STRING", "NUMBER"].includes(kind))
      return refuse.reason(`GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: ${kind}`);
    return (info) => {
      const status = grpcStatus(info);
      if (status === undefined || kind === "NUMBER") return status;
      const name = GRPC[Number(status)];
      return name === undefined ? status : kind === "SNAKE_STRING" ? snake(name) : name;
    };
  }),
  GRPC_STATUS_NUMBER: plain((info) => {
    const status = grpcStatus(info);
    return status === undefined ? undefined : Number(status);
  }),
  HOSTNAME: plain(() => hostname()),
  ENVIRONMENT: required((name) => () => process.env[name]),
  // envoy 1.40: an access log knows of none, and that is an empty text.
  LOCAL_REPLY_BODY: plain((_info, body) => body ?? ""),
  STREAM_ID: plain((info) => info.requestHeaders?.get("x-request-id")),
  REQUESTED_SERVER_NAME: optional((argument, refuse) => (argument === "" ? () => undefined : refuse("an argument of %REQUESTED_SERVER_NAME%"))),
};

/** Names of the operators that are supported. */
export const FORMAT_OPERATORS = Object.keys(OPERATORS);

/** envoy 1.40: the default access log. */
export const DEFAULT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

function parse(unicode: string, path: string): (string | Operator)[] {
  const text = toByteString(unicode);
  const parts: (string | Operator)[] = [];
  let at = 0;
  while (at < text.length) {
    const begin = text.indexOf("%", at);
    if (begin < 0) break;
    if (begin > at) parts.push(text.slice(at, begin));
    const command = /^%(?:%|([A-Z_0-9]+)(?:\((.*?)\))?(?::(\d+))?%)/s.exec(text.slice(begin));
    if (!command) {
      const reason = `Incorrect configuration: ${text}. Couldn't find valid command at position ${begin}`;
      throw new ConfigError(`${path}: ${reason}`, reason);
    }
    const [whole, name, argument = "", limit] = command;
    at = begin + whole.length;
    parts.push(name === undefined ? "%" : operatorOf(name, argument, limit, path));
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

function operatorOf(name: string, argument: string, limit: string | undefined, path: string): Operator {
  const refuse = ((what: string): never => {
    throw new ConfigError(`${path}: the node engine does not support ${what}`, `Not supported field in StreamInfo: ${name}`);
  }) as Refuse;
  refuse.reason = (reason) => {
    throw new ConfigError(`${path}: ${reason}`, reason);
  };
  const kind = Object.hasOwn(OPERATORS, name) ? OPERATORS[name]! : refuse(`%${name}%`);
  if (kind.syntax === "plain" && (argument !== "" || limit !== undefined)) refuse.reason(`${name} does not take any parameters or length`);
  if (kind.syntax === "required" && argument === "") refuse.reason(`${name} requires parameters`);
  if (kind.syntax === "optional" && limit !== undefined) refuse.reason(`${name} does not allow length to be specified.`);
  const operator = kind.make(argument, refuse);
  if (limit === undefined) return operator;
  return (info, body) => {
    const value = operator(info, body);
    return value === undefined ? undefined : String(value).slice(0, Number(limit));
  };
}

/** Compiles a format text. A value that is not there is "-", or nothing with `omitEmpty`. Throws ConfigError for what is not supported. */
export function compileFormat(text: string, path: string, omitEmpty = false): Format {
  return formatOf(parse(text, path), omitEmpty);
}

function formatOf(parts: (string | Operator)[], omitEmpty: boolean): Format {
  if (parts.every((part) => typeof part === "string")) {
    const whole = parts.join("");
    return () => whole;
  }
  const empty = omitEmpty ? "" : "-";
  return (info, localReply) => parts.map((part) => (typeof part === "string" ? part : String(part(info, localReply) ?? empty))).join("");
}

/** A json_format: numbers stay numbers where an operator stands alone; keys are sorted, and a line ends with a line break (envoy 1.40). With `omitEmpty` what is null is left out. */
export function compileJson(json: Json, path: string, omitEmpty = false): Format {
  const compiled = compileValue(json, path, omitEmpty);
  return (info, localReply) => `${JSON.stringify(compiled(info, localReply))}\n`;
}

function compileValue(json: Json, path: string, omitEmpty: boolean): (info: StreamInfo, localReply?: string) => Json {
  if (typeof json === "string") {
    const parts = parse(json, path);
    const [only] = parts;
    if (parts.length === 1 && typeof only === "function") return (info, localReply) => only(info, localReply) ?? null;
    return formatOf(parts, omitEmpty);
  }
  const stays = (value: Json) => !omitEmpty || value !== null;
  if (Array.isArray(json)) {
    const items = json.map((item) => compileValue(item, path, omitEmpty));
    return (info, localReply) => items.map((item) => item(info, localReply)).filter(stays);
  }
  if (typeof json === "object" && json !== null) {
    const entries = Object.entries(json)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [toByteString(key), compileValue(value, path, omitEmpty)] as const);
    return (info, localReply) => {
      const values = entries.map(([key, value]) => [key, value(info, localReply)] as const);
      return Object.fromEntries(values.filter(([, value]) => stays(value)));
    };
  }
  return () => json;
}
