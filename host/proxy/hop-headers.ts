// Headers that concern one hop only, and those that a client must not set: what the connection manager does to them (envoy 1.40, use_remote_address off).
import type { HeaderMap } from "../vm/headermap.js";

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

/** Returns the protocol that the client wants to change to. */
export function cleanRequestHeaders(headers: HeaderMap, { generateRequestId, newId }: { generateRequestId: boolean; newId: () => string }): string | undefined {
  const connection = headers.get("connection");
  const upgrade = connection !== undefined && /(^|,)\s*upgrade\s*(,|$)/i.test(connection) ? headers.get("upgrade")?.toLowerCase() : undefined;
  if (upgrade === undefined) {
    headers.remove("connection");
    headers.remove("upgrade");
  }
  for (const name of ["keep-alive", "proxy-connection", "transfer-encoding"]) headers.remove(name);
  const te = headers.get("te");
  if (te !== undefined && !/(^|,)\s*trailers\s*(;|,|$)/.test(te)) headers.remove("te");
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
