// What stands behind a cluster in a test: a function from Request to Response, or a way in which there is no answer.

/** Answers a request. May wait, stream its body, or throw `reset()`. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** A cluster that speaks HTTP/2, as gRPC needs. */
export interface Http2Handler {
  http2: Handler;
}

/** Connections to it are refused. */
export const refused = Symbol("refused");

/** A cluster without hosts. */
export const noHosts = Symbol("no hosts");

export type ClusterSpec = Handler | Http2Handler | typeof refused | typeof noHosts;

/** Thrown by a handler: the connection breaks instead of an answer. */
export class ResetError extends Error {}

/** `throw reset()` in a handler breaks the connection before there is an answer. */
export function reset(): ResetError {
  return new ResetError("connection reset");
}

/** Serves a cluster over HTTP/2. */
export function http2(handler: Handler): Http2Handler {
  return { http2: handler };
}

const trailersOfMessages = new WeakMap<object, Record<string, string>>();

/** Gives a response trailers. The body is sent chunked then. */
export function withTrailers(response: Response, trailers: Record<string, string>): Response {
  trailersOfMessages.set(response, trailers);
  return response;
}

/** Trailers of a response (once its body was read) or of a request in a handler. */
export function trailersOf(message: Request | Response): Record<string, string> {
  return trailersOfMessages.get(message) ?? {};
}

export function setTrailers(message: Request | Response, trailers: Record<string, string>): void {
  trailersOfMessages.set(message, trailers);
}

/** A gRPC response: messages without their frames, then a status. */
export function grpcResponse(messages: (Uint8Array | string)[], status = 0, message = ""): Response {
  const frames = messages.map((text) => {
    const payload = typeof text === "string" ? Buffer.from(text) : text;
    const frame = Buffer.alloc(5 + payload.length);
    frame.writeUInt32BE(payload.length, 1);
    frame.set(payload, 5);
    return frame;
  });
  const response = new Response(Buffer.concat(frames), { headers: { "content-type": "application/grpc" } });
  return withTrailers(response, { "grpc-status": String(status), ...(message ? { "grpc-message": message } : {}) });
}

/** The messages of a gRPC request or response body. */
export function grpcMessages(body: ArrayBuffer): Uint8Array[] {
  const bytes = Buffer.from(body);
  const messages: Uint8Array[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const size = bytes.readUInt32BE(at + 1);
    messages.push(bytes.subarray(at + 5, at + 5 + size));
    at += 5 + size;
  }
  return messages;
}
