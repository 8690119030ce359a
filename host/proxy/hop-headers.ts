// Headers that concern one hop only, and those that a client must not set: what the connection manager does to them (envoy 1.40, use_remote_address off).
import type { HeaderMap } from "../vm/headermap.js";
import type { Protocol } from "./codec.js";

/** What an outsider may not tell Envoy's router. */
const INTERNAL = [
  "x-envoy-internal",
  "x-envoy-retriable-status-codes",
  "x-envoy-retriable-header-names",
  "x-envoy-retry-on",
  "x-envoy-retry-grpc-on",
  "x-envoy-max-retries",
  "x-envoy-upstream-alt-stat-name",
  "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-upstream-rq-per-try-timeout-ms",
  "x-envoy-upstream-rq-timeout-alt-response",
  "x-envoy-expected-rq-timeout-ms",
  "x-envoy-force-trace",
  "x-envoy-ip-tags",
  "x-envoy-original-url",
  "x-envoy-hedge-on-per-try-timeout",
];

const NOT_NAMES = new Set(["close", "http2-settings", "keep-alive", "upgrade"]);
/** Whoever has these removed hides where a request comes from. */
const NEVER_REMOVED = new Set(["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
const MAX_NAMES = 9;
const MAX_TE = 255;

const tokensOf = (value: string | undefined): string[] =>
  value === undefined
    ? []
    : value
        .split(",")
        .map((token) => token.trim().toLowerCase())
        .filter((token) => token !== "");

/** Whether `connection` says a word (in lower case). */
export const connectionSays = (headers: HeaderMap, word: string): boolean => tokensOf(headers.get("connection")).includes(word);

/** RFC 9110 7.6.1: what `connection` names goes with it. Returns false for a request that names what it must not (envoy 1.40: http1.connection_header_rejected). */
export function removeNamedByConnection(headers: HeaderMap): boolean {
  const value = headers.get("connection");
  if (value === undefined) return true;
  const names = tokensOf(value);
  if (names.length > MAX_NAMES) return false;
  for (const name of names) {
    if (NOT_NAMES.has(name) || name === "connection") continue;
    if (NEVER_REMOVED.has(name) || name.startsWith(":")) return false;
    if (name !== "te") headers.remove(name);
    else if ((headers.get("te")?.length ?? 0) > MAX_TE) return false;
    else keepTrailersOnly(headers);
  }
  return true;
}

/** Of what `te` can say, only this concerns the upstream too. */
function keepTrailersOnly(headers: HeaderMap): void {
  const te = headers.get("te");
  if (te === undefined || te === "trailers") return;
  if (tokensOf(te).includes("trailers")) headers.assign("te", "trailers");
  else headers.remove("te");
}

/** The client wants the connection to end with the response. */
export function asksToClose(headers: HeaderMap, protocol: Protocol): boolean {
  const tokens = [...tokensOf(headers.get("connection")), ...tokensOf(headers.get("proxy-connection"))];
  return tokens.includes("close") || (protocol === "HTTP/1.0" && !tokens.includes("keep-alive"));
}

/** Returns the protocol that the client wants to change to. */
export function cleanRequestHeaders(headers: HeaderMap, { generateRequestId, newId }: { generateRequestId: boolean; newId: () => string }): string | undefined {
  const upgrade = connectionSays(headers, "upgrade") ? headers.get("upgrade")?.toLowerCase() : undefined;
  if (upgrade === undefined) {
    headers.remove("connection");
    headers.remove("upgrade");
  }
  for (const name of ["keep-alive", "proxy-connection", "transfer-encoding"]) headers.remove(name);
  keepTrailersOnly(headers);
  for (const name of INTERNAL) headers.remove(name);
  if (!headers.has(":scheme")) headers.add(":scheme", "http");
  if (!headers.has("x-forwarded-proto")) headers.add("x-forwarded-proto", "http");
  if (generateRequestId && !headers.has("x-request-id")) headers.add("x-request-id", newId());
  return upgrade;
}

export function cleanResponseHeaders(headers: HeaderMap, upgraded: boolean): void {
  if (!upgraded) {
    headers.remove("connection");
    headers.remove("upgrade");
  }
  for (const name of ["keep-alive", "proxy-connection", "transfer-encoding"]) headers.remove(name);
}
