// What the flaky server can do to a download. Each is a function of the file, ready for `serve`.
import { STATUS_CODES } from "node:http";
import { gzipSync } from "node:zlib";
import type { Behaviour, Call } from "./server.js";

type Headers = Record<string, string | number>;

/** The whole file, as it should be. No ranges. */
export function whole(file: Buffer, headers: Headers = {}): Behaviour {
  return ({ response }) => void response.writeHead(200, { "content-length": file.length, ...headers }).end(file);
}

/** The whole file in chunks, without its length. */
export function chunked(file: Buffer, headers: Headers = {}): Behaviour {
  return ({ response }) => {
    response.writeHead(200, headers);
    response.write(file.subarray(0, file.length >> 1));
    response.end(file.subarray(file.length >> 1));
  };
}

/** The first behaviour for the first request, and so on; the last one stays. */
export function inTurn(...behaviours: Behaviour[]): Behaviour {
  return (call) => behaviours[Math.min(call.number, behaviours.length) - 1]!(call);
}

/** Bytes as they stand, past Node's HTTP. */
function raw({ socket }: Call, ...parts: (string | Buffer)[]): Promise<void> {
  return new Promise((resolve) => socket.write(Buffer.concat(parts.map((part) => Buffer.from(part))), () => resolve()));
}

function head(status: string, headers: Headers): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status}\r\n${lines.join("")}\r\n`;
}

/** Announces the whole file and closes after `bytes` of it. */
export function truncated(file: Buffer, bytes: number, headers: Headers = {}): Behaviour {
  return async (call) => {
    await raw(call, head("200 OK", { "Content-Length": file.length, ...headers }), file.subarray(0, bytes));
    call.socket.end();
  };
}

/** Sends `bytes` of the file as one chunk and closes without the last chunk. */
export function truncatedChunks(file: Buffer, bytes: number, headers: Headers = {}): Behaviour {
  return async (call) => {
    await raw(call, head("200 OK", { "Transfer-Encoding": "chunked", ...headers }), `${bytes.toString(16)}\r\n`, file.subarray(0, bytes), "\r\n");
    call.socket.end();
  };
}

/** As a proxy does that lost its upstream: `bytes` of the file, ended in good order. */
export function shortChunks(file: Buffer, bytes: number, headers: Headers = {}): Behaviour {
  return ({ response }) => {
    response.writeHead(200, headers);
    response.write(file.subarray(0, bytes));
    response.end();
  };
}

/** Neither length nor chunks: the end of the connection is the end of the file. */
export function untilClose(file: Buffer, bytes = file.length): Behaviour {
  return async (call) => {
    await raw(call, head("200 OK", { Connection: "close" }), file.subarray(0, bytes));
    call.socket.end();
  };
}

/** Resets the connection after `bytes` of the file. `framing` false: without a length. */
export function reset(file: Buffer, bytes: number, framing = true): Behaviour {
  return async (call) => {
    await raw(call, head("200 OK", framing ? { "Content-Length": file.length } : { Connection: "close" }), file.subarray(0, bytes));
    // The client has to see the bytes: a reset may overtake them.
    setTimeout(() => call.socket.resetAndDestroy(), 5);
  };
}

/** Sends `bytes` of the file and then nothing, with the connection open. */
export function stalled(file: Buffer, bytes: number): Behaviour {
  return (call) => raw(call, head("200 OK", { "Content-Length": file.length }), file.subarray(0, bytes));
}

/** Never answers. */
export function silent(): Behaviour {
  return () => undefined;
}

/** Closes without an answer. */
export function hangUp(): Behaviour {
  return ({ socket }) => void socket.end();
}

/** Something that is not HTTP. */
export function garbage(): Behaviour {
  return async (call) => {
    await raw(call, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    call.socket.end();
  };
}

/** Says that the file has `length` bytes, sends all it has, and closes. */
export function declares(file: Buffer, length: number): Behaviour {
  return async (call) => {
    await raw(call, head("200 OK", { "Content-Length": length }), file);
    call.socket.end();
  };
}

/** A page in place of the file, with status 200. */
export function loginPage(): Behaviour {
  return ({ response }) => void response.writeHead(200, { "content-type": "text/html" }).end("<!DOCTYPE html><html><title>Log in</title></html>");
}

/** A status without a file. */
export function status(code: number, headers: Headers = {}): Behaviour {
  return ({ response }) => void response.writeHead(code, headers).end(`${code}`);
}

export function redirect(location: string, code = 302): Behaviour {
  return ({ response }) => void response.writeHead(code, { location }).end();
}

/** The file in pieces of `size` bytes, one every `ms`. */
export function drip(file: Buffer, size: number, ms: number): Behaviour {
  return ({ response }) => {
    response.writeHead(200, { "content-length": file.length });
    let at = 0;
    const timer = setInterval(() => {
      response.write(file.subarray(at, at + size));
      at += size;
      if (at < file.length) return;
      clearInterval(timer);
      response.end();
    }, ms);
    response.on("close", () => clearInterval(timer));
  };
}

export interface RangedOptions {
  etag?: string;
  lastModified?: string;
  /** Closes after this many bytes of each answer. */
  cut?: number;
  /** In place of the first byte that was asked for, in Content-Range and in the body. */
  wrongStart?: number;
  /** In place of the size of the file in Content-Range. */
  wrongTotal?: number;
  /** Answers ranges without looking at If-Range. */
  ignoreIfRange?: boolean;
  headers?: Headers;
}

/** A server that has ranges (RFC 9110 §14), with ways to get them wrong. */
export function ranged(file: Buffer, options: RangedOptions = {}): Behaviour {
  const validators: Headers = {
    "Accept-Ranges": "bytes",
    Date: new Date().toUTCString(),
    ...(options.etag ? { ETag: options.etag } : {}),
    ...(options.lastModified ? { "Last-Modified": options.lastModified } : {}),
    ...options.headers,
  };
  return async (call) => {
    const { range, "if-range": condition } = call.request.headers;
    const asked = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? Number.NaN);
    const valid = condition === undefined || options.ignoreIfRange || condition === options.etag || condition === options.lastModified;
    if (Number.isNaN(asked) || !valid) return send(call, 200, file, validators, options.cut);
    if (asked >= file.length) return send(call, 416, Buffer.alloc(0), { "Content-Range": `bytes */${file.length}` });
    const start = options.wrongStart ?? asked;
    const contentRange = `bytes ${start}-${file.length - 1}/${options.wrongTotal ?? file.length}`;
    return send(call, 206, file.subarray(start), { ...validators, "Content-Range": contentRange }, options.cut);
  };
}

/** A whole answer leaves the connection fit for the next request; a cut one is written past Node, which would not have it. */
async function send(call: Call, code: number, body: Buffer, headers: Headers, cut = body.length): Promise<void> {
  const all = { "Content-Length": body.length, ...headers };
  if (cut >= body.length) return void call.response.writeHead(code, all).end(body);
  await raw(call, head(`${code} ${STATUS_CODES[code]}`, all), body.subarray(0, cut));
  call.socket.end();
}

/** Only for those who give user and password. */
export function guarded(user: string, password: string, then: Behaviour): Behaviour {
  const expected = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  return (call) => {
    if (call.request.headers.authorization === expected) return then(call);
    call.response.writeHead(401, { "www-authenticate": 'Basic realm="files"' }).end("who are you?");
  };
}

/** The file with a content coding that nobody asked for. */
export function encoded(file: Buffer, coding = "gzip"): Behaviour {
  return whole(gzipSync(file), { "content-encoding": coding });
}
