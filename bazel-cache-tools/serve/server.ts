// The HTTP server: read-only, answers with verified entries of the cache and nothing else.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import { Failure } from "../../host/cli/failure.js";
import type { Digest } from "../cache/digest.js";
import type { Catalogue } from "./catalogue.js";
import { downloaderConfig } from "./downloader-config.js";
import { htmlPage, jsonPage } from "./page.js";
import { answerFor } from "./ranges.js";
import { type Asked, parseTarget } from "./request-url.js";
import type { VerifiedFile, VerifiedFiles } from "./verified-files.js";

export interface ServeInput {
  host: string;
  /** 0: any free one. */
  port: number;
  catalogue: Catalogue;
  files: VerifiedFiles;
  /** One line for each answer. */
  log(line: string): void;
}

export interface Serving {
  /** The one that was taken, where any free one was asked for. */
  port: number;
  /** Takes no more requests, and waits for the open ones, at most so long (ms). */
  close(patience: number): Promise<void>;
}

/** Throws a Failure where it cannot listen. */
export async function serve(input: ServeInput): Promise<Serving> {
  const server = createServer((request, response) => void answer(request, response, input));
  // Node takes no letters beyond ASCII in a request line, and Bazel sends them as declared (4.2.3): it goes on to the next URL then.
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) return socket.destroy();
    input.log(`bad request: ${error.message}`);
    socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  });
  await listen(server, input);
  return {
    port: (server.address() as AddressInfo).port,
    close: (patience) =>
      new Promise((resolve) => {
        const end = setTimeout(() => server.closeAllConnections(), patience);
        server.close(() => {
          clearTimeout(end);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

export function baseUrl(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}/`;
}

const LISTEN_REASONS: Record<string, string> = {
  EADDRINUSE: "the port is taken; choose another with --port (0: any free one)",
  EACCES: "no permission for that port; choose one from 1024 on with --port",
  EADDRNOTAVAIL: "this machine has no such address; choose another with --host (0.0.0.0: all it has)",
  ENOTFOUND: "there is no such host; choose another with --host (0.0.0.0: all this machine has)",
};

function listen(server: Server, { host, port }: ServeInput): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(new Failure(`${host}:${port}: ${LISTEN_REASONS[error.code ?? ""] ?? error.message}`)));
    server.listen(port, host, resolve);
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, input: ServeInput): Promise<void> {
  const start = performance.now();
  const before = request.socket.bytesWritten;
  response.once("close", () => {
    const whole = response.writableFinished;
    const bodiless = request.method === "HEAD" || response.statusCode === 304;
    const sent = !whole ? request.socket.bytesWritten - before : bodiless ? 0 : Number(response.getHeader("content-length"));
    const time = Math.round(performance.now() - start);
    input.log(`${request.method} ${printable(request.url ?? "")} ${response.statusCode} ${sent} bytes ${time} ms${whole ? "" : ", broken off"}`);
  });
  // Nothing is read of what clients send along.
  request.resume();
  try {
    await respond(request, response, input);
  } catch (error) {
    if (response.headersSent || response.destroyed) response.destroy();
    else sendText(request, response, 500, "This server failed; its log says how.");
    if (!response.destroyed || (error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") input.log(`error: ${(error as Error).message}`);
  }
}

async function respond(request: IncomingMessage, response: ServerResponse, input: ServeInput): Promise<void> {
  const { method, url = "" } = request;
  if (method !== "GET" && method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    return sendText(request, response, 405, "This mirror is read-only: GET and HEAD.");
  }
  if (url === "/" || url.startsWith("/?")) return sendPage(request, response, input);
  const asked = parseTarget(url);
  if (!asked) return sendText(request, response, 400, "Ask for /<host>/<path>: the original URL without https://.");
  for (const digest of input.catalogue.find(asked)) {
    const file = await input.files.open(digest);
    if (file) return sendFile(request, response, digest, file);
  }
  sendText(request, response, 404, notFound(asked));
}

async function sendFile(request: IncomingMessage, response: ServerResponse, digest: Digest, file: VerifiedFile): Promise<void> {
  const { handle, size, lastModified, touch } = file;
  try {
    const etag = `"${digest.algorithm}-${digest.hex}"`;
    const { headers, method = "" } = request;
    const answer = answerFor(
      {
        method,
        range: headers.range,
        ifRange: headers["if-range"] as string | undefined,
        ifNoneMatch: headers["if-none-match"],
        ifModifiedSince: headers["if-modified-since"],
      },
      { size, etag, lastModified },
    );
    response.statusCode = answer.status;
    response.setHeader("ETag", etag);
    response.setHeader("Last-Modified", new Date(lastModified).toUTCString());
    response.setHeader("Accept-Ranges", "bytes");
    if (answer.status === 416) {
      response.setHeader("Content-Range", `bytes */${size}`);
      return sendText(request, response, 416, `There are ${size} bytes.`);
    }
    if (method === "GET") touch();
    if (answer.status === 304) return void response.end();
    const { first, last } = answer.status === 206 ? answer : { first: 0, last: size - 1 };
    if (answer.status === 206) response.setHeader("Content-Range", `bytes ${first}-${last}/${size}`);
    response.setHeader("Content-Type", "application/octet-stream");
    response.setHeader("Content-Length", last - first + 1);
    if (method === "HEAD" || size === 0) return void response.end();
    await pipeline(handle.createReadStream({ start: first, end: last, highWaterMark: 256 * 1024, autoClose: false }), response);
  } finally {
    await handle.close();
  }
}

function sendPage(request: IncomingMessage, response: ServerResponse, { catalogue }: ServeInput): void {
  const entries = catalogue.list();
  const asJson = /\bapplication\/json\b/i.test(request.headers.accept ?? "");
  response.setHeader("Vary", "Accept");
  response.setHeader("Cache-Control", "no-cache");
  if (asJson) {
    send(request, response, "application/json", jsonPage(entries));
    return;
  }
  response.setHeader("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  send(request, response, "text/html; charset=utf-8", htmlPage(entries, downloaderConfig(`http://${request.headers.host ?? "HOST:PORT"}/`)));
}

function notFound({ spellings }: Asked): string {
  const url = printable(spellings[0]!);
  return `Nothing here for https://${url}

Either it is not in this server's cache, or the server knows no URL of it. On the server:
  bazel-cache fetch WORKSPACE                     gets all that a workspace declares
  bazel-cache seed FILE --url 'https://${url}'
  bazel-cache serve WORKSPACE                     knows the URLs that a workspace declares`;
}

function sendText(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  send(request, response, "text/plain; charset=utf-8", `${text}\n`);
}

function send(request: IncomingMessage, response: ServerResponse, type: string, text: string): void {
  response.setHeader("Content-Type", type);
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Content-Length", Buffer.byteLength(text));
  response.end(request.method === "HEAD" ? undefined : text);
}

/** What a request names must not steer the terminal that shows the log. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  return text.replace(/[\u0000-\u0020\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069']/g, (character) =>
    character === "'" ? "%27" : encodeURIComponent(character),
  );
}
