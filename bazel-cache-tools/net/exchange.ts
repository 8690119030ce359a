// One question and its answer over HTTP, redirects followed: the headers at once, the body as chunks that either end properly or throw.
//
// Node's own client and not undici, which takes a connection reset in a body without Content-Length for its end (undici 7.30: onHttpSocketError).
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { chunksOf } from "./chunks.js";
import type { Connections } from "./connections.js";
import { authorizationFor } from "./credentials.js";
import { codeOf, networkFailure, TransferError } from "./failure.js";
import type { NetrcEntry } from "./netrc.js";
import { type Env, type ForwardProxy, proxyFor } from "./proxy.js";
import { isRedirect, nextHop } from "./redirects.js";
import { interrupted } from "./retry.js";
import { proxyHeaders } from "./tunnel.js";
import { watchdog } from "./watchdog.js";

export interface Network {
  connections: Connections;
  env: Env;
  netrc: NetrcEntry[];
  signal: AbortSignal;
  /** ms without a byte. */
  stallTimeout: number;
  /** ms until a connection stands. */
  connectTimeout: number;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  /** Where it came from, behind all redirects. */
  url: URL;
  /** The body. Throws a TransferError where it does not end as HTTP says it should; stopping early ends the connection. */
  body: AsyncGenerator<Buffer, void>;
  /** Ends the connection, where the body is not going to be read. */
  abandon(): void;
  /** Reads a small rest so that the connection can be used again, and ends it where the rest is large. */
  discard(): Promise<void>;
}

/** Sent with every request. Content codings are declined: what is hashed is what the server has. */
const HEADERS = { accept: "*/*", "accept-encoding": "identity", "user-agent": "bazel-cache-tools" };

/**
 * Asks for `url` and follows its redirects.
 * @param tries how often this was tried before; slow networks get more time for each address of a host.
 * @param verified see {@link nextHop}.
 * @throws TransferError of any kind of the network.
 */
export async function ask(url: URL, headers: Record<string, string>, network: Network, tries: number, verified: boolean): Promise<Answer> {
  const trail = [url];
  for (;;) {
    const here = trail.at(-1)!;
    const authorization = authorizationFor(trail, network.netrc);
    const answer = await askOnce(here, { ...HEADERS, ...headers, ...(authorization ? { authorization } : {}) }, network, tries);
    if (!isRedirect(answer.status)) return answer;
    await answer.discard();
    trail.push(nextHop(trail, answer.headers.location, verified));
  }
}

/** Where the connection goes and what the request line says. */
function route(url: URL, headers: Record<string, string>, proxy: ForwardProxy | undefined): { secure: boolean; options: RequestOptions } {
  const secure = url.protocol === "https:";
  if (proxy !== undefined && proxy.scheme !== "socks" && !secure) {
    const path = `${url.origin}${url.pathname}${url.search}`;
    return {
      secure: proxy.scheme === "https",
      options: { host: proxy.host, port: proxy.port, path, headers: { ...headers, host: url.host, ...proxyHeaders(proxy) } },
    };
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  return { secure, options: { host, port, path: `${url.pathname}${url.search}`, headers: { ...headers, host: url.host } } };
}

/** ms for each address of a host, doubled with each try: Node's 250 ms give up on every address of a host that is merely far away (node issue 54359). */
const ADDRESS_TIMEOUT = 1000;

const DISCARDED = 64 * 1024;

function askOnce(url: URL, headers: Record<string, string>, network: Network, tries: number): Promise<Answer> {
  const { signal, stallTimeout, connectTimeout } = network;
  if (signal.aborted) return Promise.reject(interrupted());
  const proxy = proxyFor(url, network.env);
  const { secure, options } = route(url, headers, proxy);
  const tunnelled = proxy !== undefined && (proxy.scheme === "socks" || url.protocol === "https:");
  const where = proxy ? `${url.host}, through the proxy ${proxy.shown}` : url.host;
  const request = (secure ? httpsRequest : httpRequest)({
    ...options,
    agent: network.connections.agent(url.protocol, proxy),
    maxHeaderSize: 64 * 1024,
    // Passed on to net.connect, though the types of HTTP do not have it.
    ...{ autoSelectFamilyAttemptTimeout: Math.min(ADDRESS_TIMEOUT * 2 ** tries, connectTimeout) },
  });

  let reply: IncomingMessage | undefined;
  /** What went wrong first: later errors are only its echo. */
  let failure: TransferError | undefined;
  let giveUp: (reason: TransferError) => void = () => undefined;
  const stop = (reason: TransferError) => {
    failure ??= reason;
    (reply ?? request).destroy(reason);
    // A request that still waits for its tunnel keeps its error to itself until that stands.
    giveUp(reason);
  };
  const watch = watchdog(stop);
  const onAbort = () => stop(interrupted());
  signal.addEventListener("abort", onAbort, { once: true });
  request.once("close", () => {
    watch.rest();
    signal.removeEventListener("abort", onAbort);
  });
  const noAnswer = () => watch.expect(stallTimeout, "stalled", `no answer for ${seconds(stallTimeout)} from ${where}`);
  watch.expect(connectTimeout * (tunnelled ? 2 : 1), "connect-timeout", `no connection within ${seconds(connectTimeout)} to ${where}`);
  request.once("socket", (socket: Socket) => {
    if (request.reusedSocket || tunnelled) noAnswer();
    else socket.once(secure ? "secureConnect" : "connect", noAnswer);
  });

  async function* read(message: IncomingMessage, chunks: AsyncGenerator<Buffer, void>): AsyncGenerator<Buffer, void> {
    const stalled = `no byte for ${seconds(stallTimeout)} from ${where}`;
    try {
      watch.expect(stallTimeout, "stalled", stalled);
      for await (const chunk of chunks) {
        // What the caller does with it takes its time, which is not the server's.
        watch.rest();
        yield chunk;
        watch.expect(stallTimeout, "stalled", stalled);
      }
    } catch (error) {
      throw failure ?? cut(error);
    } finally {
      watch.rest();
    }
    if (failure?.kind === "not-http" && message.complete) throw new TransferError("truncated", "the server sent more than it had declared");
    if (failure) throw failure;
    // Node throws for these by itself, as far as is known; the file hangs on it.
    if (!message.complete) throw cut(undefined);
  }

  return new Promise((resolve, reject) => {
    giveUp = reject;
    request.on("error", (error) => {
      // A server may close an idle connection at the moment it is used again: that says nothing about the request.
      if (!failure && !reply && request.reusedSocket && codeOf(error) === "ECONNRESET") {
        resolve(askOnce(url, headers, network, tries));
        return;
      }
      failure ??= located(networkFailure(error), error, where);
      if (!reply) reject(failure);
    });
    request.on("response", (response) => {
      watch.rest();
      reply = response;
      const body = read(response, chunksOf(response));
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        url,
        body,
        abandon: () => response.destroy(),
        discard: () => discard(body),
      });
    });
    request.end();
  });
}

async function discard(body: AsyncGenerator<Buffer, void>): Promise<void> {
  let rest = DISCARDED;
  try {
    for await (const chunk of body) {
      rest -= chunk.length;
      if (rest < 0) break;
    }
  } catch {
    // The answer is known; how its body ends does not matter.
  }
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

/** Adds whom it happened with; for a hop behind a redirect that is another host than that of the wanted URL. */
function located(failure: TransferError, error: unknown, where: string): TransferError {
  const hungUp = error instanceof Error && error.message === "socket hang up";
  const text = hungUp ? "connection closed without an answer" : failure.message;
  return new TransferError(failure.kind, `${text} (${where})`, failure.details);
}

/** A body whose connection ended before it did: Node says "aborted" for a closed connection too, a reset one came as the request's error. */
function cut(error: unknown): TransferError {
  const code = codeOf(error);
  if (error === undefined || code === "ECONNRESET") return new TransferError("truncated", "connection closed before the end");
  return networkFailure(error);
}
