// Answers that Envoy makes itself: their headers, their gRPC form, and what a response must have.
import { grpcStatusOf } from "../vm/grpc-status.js";
import { HeaderMap } from "../vm/headermap.js";
import type { LocalReply } from "../vm/stream-callbacks.js";
import type { StreamInfo } from "../vm/stream-info.js";
import type { HcmConfig } from "./config/listener.js";

interface Circumstances {
  isGrpc: boolean;
  isHead: boolean;
  rewrite(parts: { status: number; headers: HeaderMap; body: string }): { status: number; body: string };
  info: StreamInfo;
}

/** The headers and the body (a byte string) of a local reply. */
export function localReplyMessage(reply: LocalReply, { isGrpc, isHead, rewrite, info }: Circumstances): { headers: HeaderMap; body: string } {
  const headers = new HeaderMap("response");
  headers.add(":status", String(reply.status));
  reply.modifyHeaders?.(headers);
  const { status, body } = rewrite({ status: reply.status, headers, body: reply.body });
  info.responseCode = status;
  if (isGrpc) {
    headers.assign(":status", "200");
    headers.assign("content-type", "application/grpc");
    headers.assign("grpc-status", String(reply.grpcStatus ?? grpcStatusOf(status)));
    headers.remove("content-length");
    if (body !== "" && !isHead) headers.assign("grpc-message", percentEncoded(body.replace(/(?<=})\n$/, "")));
    return { headers, body: "" };
  }
  if (body === "") {
    headers.remove("content-length");
    headers.remove("content-type");
  } else {
    headers.assign("content-length", String(body.length));
    if (!headers.has("content-type")) headers.add("content-type", "text/plain");
  }
  return { headers, body };
}

/** envoy 1.40: bytes outside the printable ASCII range, and "%", are written as %XX in grpc-message. */
function percentEncoded(text: string): string {
  return text.replace(/[^ -$&-~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

/** What is missing in a response that leaves the filters; undefined where nothing is. */
export function checkRequiredResponseHeaders(headers: HeaderMap): string | undefined {
  const status = headers.get(":status");
  // envoy 1.40: a status that is no number counts as none.
  return status === undefined || !/^\d+$/.test(status) ? "missing required header: :status" : undefined;
}

/** envoy 1.40: what is wrong with a request that leaves for an upstream; undefined where nothing is. */
export function checkRequiredRequestHeaders(headers: HeaderMap): string | undefined {
  if (!headers.has(":method")) return "missing required header: :method";
  const isConnect = headers.get(":method") === "CONNECT";
  if (isConnect && headers.has(":path") && !headers.has(":protocol")) return "missing required header: :protocol";
  if (isConnect ? !headers.has(":authority") : !headers.has(":path")) return `missing required header: ${isConnect ? ":authority" : ":path"}`;
  for (const [name, value] of headers.entries()) {
    if (!/^:?[!#$%&'*+.^_`|~0-9A-Za-z-]*$/.test(name)) return `invalid header name: ${name}`;
    if (/[\r\n\0]/.test(value)) return `invalid header value for: ${name}`;
  }
  return undefined;
}

/** local_reply_config: another status, body or form. */
export function mapLocalReply(
  { mappers, bodyFormat }: HcmConfig,
  reply: { status: number; headers: HeaderMap; body: string },
  info: StreamInfo,
): { status: number; body: string } {
  let { status, body } = reply;
  info.responseCode = status;
  let format = bodyFormat;
  let ownType = false;
  const mapper = mappers.find((candidate) => candidate.matches(info, reply.headers));
  if (mapper) {
    const before = reply.headers.get("content-type");
    for (const edit of mapper.edits) edit(reply.headers, info);
    ownType = reply.headers.get("content-type") !== before;
    if (mapper.status !== undefined) {
      status = mapper.status;
      info.responseCode = status;
      reply.headers.assign(":status", String(status));
    }
    if (mapper.body !== undefined) body = mapper.body;
    if (mapper.format) format = { format: mapper.format, contentType: mapper.contentType ?? "text/plain" };
  }
  if (!format) return { status, body };
  // The answer's headers are the stream's only later.
  const present = info.responseHeaders;
  info.responseHeaders = reply.headers;
  body = format.format(info, body);
  if (present) info.responseHeaders = present;
  else delete info.responseHeaders;
  reply.headers.assign("content-length", String(body.length));
  // envoy 1.40: a type that a mapper adds stays.
  if (!ownType) reply.headers.assign("content-type", format.contentType);
  return { status, body };
}
