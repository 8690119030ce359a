// The Node servers and clients of a run that stand still while it measures: one that never answers, streams held through it, one that denies.
import { createServer as createHttpServer } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { RunningEnvoy } from "../../host/envoy/launch.js";
import { stat } from "./envoys.js";
import { HEADERS } from "./load.js";
import { closing } from "./workspace.js";

export interface Never {
  url: string;
  /** Resolves when `count` requests wait here. Throws where that takes too long. */
  waiting(count: number): Promise<void>;
  /** Breaks all connections. */
  hangUp(): void;
  close(): Promise<void>;
}

const PATIENCE = 20_000;

/** A server that takes requests and never answers. */
export async function startNever(): Promise<Never> {
  const sockets = new Set<Socket>();
  let changed = () => {};
  // A connection carries one request at a time, and the next only after an answer: those that brought bytes are the requests.
  const waiting = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => {
      waiting.add(socket);
      changed();
    });
    socket.on("close", () => {
      sockets.delete(socket);
      waiting.delete(socket);
      changed();
    });
  });
  const url = await listen(server);
  const hangUp = () => {
    for (const socket of sockets) socket.destroy();
  };
  const close = closing(() => {
    server.close();
    hangUp();
  });
  return {
    url,
    hangUp,
    close,
    waiting: (count) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${waiting.size} instead of ${count} streams are held`)), PATIENCE);
        changed = () => {
          if (waiting.size < count) return;
          clearTimeout(timer);
          changed = () => {};
          resolve();
        };
        changed();
      }),
  };
}

/** A service that answers 403 to everything. */
export async function startDenying(): Promise<string> {
  const server = createHttpServer((request, response) => {
    request.resume();
    response.writeHead(403).end();
  });
  const url = await listen(server);
  closing(() => {
    server.close();
    server.closeAllConnections();
  });
  return url;
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve());
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const SESSIONS = 4;

/** Holds `count` streams open in an Envoy, over HTTP/2. The function returned lets them go; it throws where one ended before. */
export async function hold(envoy: RunningEnvoy, never: Never, count: number): Promise<() => Promise<void>> {
  const sessions: ClientHttp2Session[] = [];
  let ended = "";
  let letting = false;
  for (let i = 0; i < SESSIONS; i++) {
    const session = connect(envoy.url);
    session.on("error", () => {});
    sessions.push(session);
    for (let k = i; k < count; k += SESSIONS) watch(session.request({ ":path": "/", ...HEADERS, "x-user": "hold" }));
  }
  function watch(stream: ClientHttp2Stream): void {
    stream.on("error", () => {});
    stream.on("response", (headers) => {
      ended ||= `answered with ${headers[":status"]}`;
    });
    stream.on("close", () => {
      if (!letting) ended ||= "closed";
    });
    stream.resume();
  }
  const close = closing(() => {
    letting = true;
    for (const session of sessions) session.destroy();
  });
  await never.waiting(count);
  return async () => {
    if (ended) throw new Error(`a held stream was ${ended} while it was measured`);
    await close();
    await zero(envoy, "http.ingress.downstream_rq_active");
    // envoy 1.40: a wasm filter's call belongs to the root context and outlives its stream.
    never.hangUp();
    await zero(envoy, "cluster.never.upstream_rq_active");
  };
}

/** Waits until a gauge of an Envoy is at zero. */
async function zero(envoy: RunningEnvoy, gauge: string): Promise<void> {
  const deadline = performance.now() + PATIENCE;
  for (let value = await stat(envoy, gauge); value > 0; value = await stat(envoy, gauge)) {
    if (performance.now() > deadline) throw new Error(`${gauge} stays at ${value}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
