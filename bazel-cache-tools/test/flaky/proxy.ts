// Small proxies on loopback for tests: HTTP (whole URLs and CONNECT) and SOCKS5. Both lead every name to one place.
import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import { connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { listen } from "./server.js";

export interface TestProxy {
  port: number;
  /** What was asked for: "GET http://…", "CONNECT host:port". */
  seen: string[];
  /** The Proxy-Authorization of each request, or "user:password" of each SOCKS client. */
  authorizations: (string | undefined)[];
  /** Resolves when a client is connected. */
  connected(): Promise<void>;
  /** Resolves when no client is connected. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

export interface TestProxyOptions {
  /** The port of 127.0.0.1 to which everything goes, whatever its name. */
  target: number;
  /** Refuse with this status. */
  refuse?: number;
  /** Take connections and never answer. */
  silent?: boolean;
}

function watched(server: Server): Pick<TestProxy, "connected" | "idle" | "close"> {
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      if (sockets.size === 0) for (const resolve of waiting) resolve();
    });
  });
  return {
    connected: async () => void (sockets.size === 0 && (await once(server, "connection"))),
    idle: () => (sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.add(resolve))),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function join(a: Socket, b: Socket): void {
  a.pipe(b);
  b.pipe(a);
  a.on("close", () => b.destroy());
  b.on("close", () => a.destroy());
  b.on("error", () => undefined);
}

export async function startProxy(options: TestProxyOptions): Promise<TestProxy> {
  const seen: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    authorizations.push(request.headers["proxy-authorization"]);
    if (options.silent) return;
    if (options.refuse) return void response.writeHead(options.refuse).end();
    const { pathname, search } = new URL(request.url ?? "");
    const onward = httpRequest(
      { host: "127.0.0.1", port: options.target, path: pathname + search, headers: { ...request.headers, connection: "close" }, agent: false },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on("error", () => response.destroy());
      },
    );
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    onward.end();
  });
  server.on("connect", (request, client: Socket) => {
    seen.push(`CONNECT ${request.url}`);
    authorizations.push(request.headers["proxy-authorization"]);
    // Somebody has to read, or nobody would see the client leave; and sockets of HTTP servers stay half open.
    if (options.silent) return void client.resume().on("end", () => client.end());
    if (options.refuse) return void client.end(`HTTP/1.1 ${options.refuse} No\r\n\r\n`);
    const onward = connect(options.target, "127.0.0.1", () => client.write("HTTP/1.1 200 Connection established\r\n\r\n"));
    join(client, onward);
  });
  return { ...watched(server), port: await listen(server), seen, authorizations };
}

/** SOCKS5 with names (RFC 1928), and with user and password where `password` is given (RFC 1929). */
export async function startSocks(options: TestProxyOptions & { password?: string }): Promise<TestProxy> {
  const seen: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const server = createTcpServer((client) => {
    // One step for each message of the client, which sends one and waits.
    const connectOut = (message: Buffer) => {
      const named = message[3] === 3;
      const host = named ? message.subarray(5, 5 + message[4]!).toString() : message.subarray(4, 8).join(".");
      seen.push(`${host}:${message.readUInt16BE(message.length - 2)}`);
      if (options.refuse) return void client.end(Buffer.of(5, options.refuse, 0, 1, 0, 0, 0, 0, 0, 0));
      const onward = connect(options.target, "127.0.0.1", () => client.write(Buffer.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 0)));
      join(client, onward);
    };
    const authenticate = (message: Buffer) => {
      const user = message.subarray(2, 2 + message[1]!).toString();
      const given = message.subarray(3 + message[1]!).toString();
      authorizations.push(`${user}:${given}`);
      client.write(Buffer.of(1, given === options.password ? 0 : 1));
      client.once("data", connectOut);
    };
    client.once("data", () => {
      if (options.silent) return;
      client.write(Buffer.of(5, options.password === undefined ? 0 : 2));
      client.once("data", options.password === undefined ? connectOut : authenticate);
    });
  });
  return { ...watched(server), port: await listen(server), seen, authorizations };
}
