// An HTTP server on loopback that misbehaves as real ones do on bad networks, each path in its own way.
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { CERTIFICATE, KEY } from "./certificate.js";

/** A request as the server saw it. */
export interface SeenRequest {
  method: string;
  /** As it stood in the request line: a path, or a whole URL where a proxy was meant. */
  path: string;
  headers: IncomingMessage["headers"];
}

export interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  socket: Socket;
  /** How often the path was asked for, from 1. */
  number: number;
}

/** Answers a request, well or badly. behaviours.ts has the ready-made ones. */
export type Behaviour = (call: Call) => void | Promise<void>;

export interface Flaky {
  /** "http://127.0.0.1:…" (or https), without a slash at the end. */
  url: string;
  port: number;
  /** Every request so far, in order. */
  requests: SeenRequest[];
  /** Connections so far. */
  connections: number;
  /** Sockets that are open now. */
  readonly open: number;
  /** From now on `path` (with its query, as it is asked for) behaves so. Unknown paths are 404. Returns the URL. */
  serve(path: string, behaviour: Behaviour): string;
  /** The requests of one path. */
  of(path: string): SeenRequest[];
  /** Resolves when all sockets are gone. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

export interface FlakyOptions {
  /** Speak TLS with the certificate of certificate.ts. */
  tls?: boolean;
}

/** Starts a server on a free port of 127.0.0.1. */
export async function startFlaky(options: FlakyOptions = {}): Promise<Flaky> {
  const behaviours = new Map<string, Behaviour>();
  const counts = new Map<string, number>();
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();

  const listener: RequestListener = (request, response) => {
    const path = request.url ?? "";
    flaky.requests.push({ method: request.method ?? "", path, headers: request.headers });
    const number = (counts.get(path) ?? 0) + 1;
    counts.set(path, number);
    const behaviour = behaviours.get(path);
    if (!behaviour) {
      response.writeHead(404).end("not here");
      return;
    }
    Promise.resolve(behaviour({ request, response, socket: request.socket, number })).catch((error: Error) => request.socket.destroy(error));
  };
  const server: Server = options.tls ? createSecureServer({ key: KEY, cert: CERTIFICATE }, listener) : createServer(listener);
  server.on("connection", (socket: Socket) => {
    flaky.connections++;
    sockets.add(socket);
    // Clients that go away are what these tests are about.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      if (sockets.size === 0) for (const resolve of waiting) resolve();
    });
  });

  const port = await listen(server);
  const flaky: Flaky = {
    url: `${options.tls ? "https" : "http"}://127.0.0.1:${port}`,
    port,
    requests: [],
    connections: 0,
    get open() {
      return sockets.size;
    },
    serve(path, behaviour) {
      behaviours.set(path, behaviour);
      counts.delete(path);
      return `${flaky.url}${path}`;
    },
    of: (path) => flaky.requests.filter((request) => request.path === path),
    idle: () => (sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.add(resolve))),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return flaky;
}

/** Listens on a free port of 127.0.0.1, which it returns. */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** A port on which nobody listens: connections to it are refused. */
export async function refusedPort(): Promise<number> {
  const server = createTcpServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}
