// What may stand in the header blocks of HTTP/2 (RFC 9113 8.2, 8.3), with the two kinds of faults that envoy 1.40 tells apart.
import { HeaderMap, type MapKind } from "../vm/headermap.js";

export type Field = readonly [name: string, value: string];

/** Envoy's words for what it finds: a field that is wrong, or fields that do not go together. */
export type Fault = "http2.invalid.header.field" | "http2.violation.of.messaging.rule";

const INVALID: Fault = "http2.invalid.header.field";
const VIOLATION: Fault = "http2.violation.of.messaging.rule";

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be in a value.
const BAD_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/;
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PATH = /^[\x21-\x7e\x80-\xff]+$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+\-.]*$/;
const AUTHORITY = /^[!$%&'()*+,\-./0-9:;=A-Z[\]_a-z~]+$/;

/** Headers that HTTP/2 does not know. */
const OF_CONNECTIONS = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

const PSEUDO: Record<"request" | "response" | "trailers", Record<string, RegExp>> = {
  request: { ":method": METHOD, ":path": PATH, ":scheme": SCHEME, ":authority": AUTHORITY },
  response: { ":status": /^\d{3}$/ },
  trailers: {},
};

function fieldsFault(fields: readonly Field[], kind: keyof typeof PSEUDO): Fault | undefined {
  const pseudo = PSEUDO[kind];
  const seen = new Set<string>();
  let regular = false;
  for (const [name, value] of fields) {
    if (name.charCodeAt(0) === 58) {
      if (regular || seen.has(name) || !Object.hasOwn(pseudo, name) || !pseudo[name]!.test(value)) return INVALID;
      seen.add(name);
      continue;
    }
    regular = true;
    if (!NAME.test(name) || BAD_VALUE.test(value) || OF_CONNECTIONS.has(name)) return INVALID;
    if (name === "te" && value.toLowerCase() !== "trailers") return INVALID;
    if (name === "host" && kind === "request" && !AUTHORITY.test(value)) return INVALID;
    if (name !== "content-length") continue;
    if (seen.has(name) || !/^\d{1,19}$/.test(value)) return INVALID;
    seen.add(name);
  }
  return undefined;
}

export function requestFault(fields: readonly Field[], endStream: boolean): Fault | undefined {
  const fault = fieldsFault(fields, "request");
  if (fault) return fault;
  const value = (wanted: string) => fields.find(([name]) => name === wanted)?.[1];
  const [method, path, authority] = [value(":method"), value(":path"), value(":authority") ?? value("host")];
  if (method === undefined || authority === undefined) return VIOLATION;
  if (method === "CONNECT") return path === undefined && value(":scheme") === undefined ? undefined : VIOLATION;
  if (path === undefined || value(":scheme") === undefined) return VIOLATION;
  if (!path.startsWith("/") && !(path === "*" && method === "OPTIONS")) return VIOLATION;
  const length = value("content-length");
  return endStream && length !== undefined && Number(length) !== 0 ? VIOLATION : undefined;
}

export function responseFault(fields: readonly Field[]): Fault | undefined {
  const fault = fieldsFault(fields, "response");
  if (fault) return fault;
  const status = fields.find(([name]) => name === ":status")?.[1];
  return status === undefined || status === "101" || status < "100" ? INVALID : undefined;
}

/** Trailers end a message. */
export const trailersFault = (fields: readonly Field[], endStream: boolean): Fault | undefined =>
  fieldsFault(fields, "trailers") ?? (endStream ? undefined : VIOLATION);

/** envoy 1.40: pieces of a cookie are one header, at the end; `host` is the authority where there is none. */
export function toMap(kind: MapKind, fields: readonly Field[]): HeaderMap {
  const map = new HeaderMap(kind);
  const isRequest = kind === "request";
  const cookies: string[] = [];
  const hasAuthority = isRequest && fields.some(([name]) => name === ":authority");
  for (const [name, value] of fields) {
    if (isRequest && name === "cookie") cookies.push(value);
    else if (name !== "host" || !hasAuthority) map.add(name, value);
  }
  if (cookies.length > 0) map.add("cookie", cookies.join("; "));
  return map;
}
