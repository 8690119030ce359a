// A real Envoy with filters under test between a client and servers that the test writes. Everything listens on loopback ports of its own.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttp2Server, type Http2Server } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { type BootstrapOptions, bootstrap } from "../../host/envoy/bootstrap.js";
import { findEnvoy } from "../../host/envoy/find.js";
import { launchEnvoy, type RunningEnvoy } from "../../host/envoy/launch.js";
import { buildModule } from "./build.js";

/** What a test server saw. */
export interface Seen {
  method: string;
  url: string;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  trailers: Record<string, string | undefined>;
}

export type Handler = (request: Seen, response: ServerResponse, raw: IncomingMessage) => void | Promise<void>;

export interface TestServer {
  url: string;
  port: number;
  /** Complete requests, oldest first. */
  seen: Seen[];
  close(): Promise<void>;
}

/** An HTTP/1.1 (or, with `http2`, HTTP/2 without TLS) server. The handler runs when the request is complete. */
export async function startServer(handler: Handler, options: { http2?: boolean; early?: boolean } = {}): Promise<TestServer> {
  const seen: Seen[] = [];
  const listener = (raw: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    const record: Seen = { method: raw.method!, url: raw.url!, headers: raw.headers, body: Buffer.alloc(0), trailers: {} };
    const answer = () => void Promise.resolve(handler(record, response, raw)).catch((error) => response.destroy(error));
    if (options.early) answer();
    raw.on("data", (chunk: Buffer) => chunks.push(chunk));
    raw.on("end", () => {
      record.body = Buffer.concat(chunks);
      record.trailers = raw.trailers as Record<string, string | undefined>;
      seen.push(record);
      if (!options.early) answer();
    });
    raw.on("error", () => {});
  };
  const server = (options.http2 ? createHttp2Server(listener as never) : createServer(listener)) as Server & Http2Server;
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Answers with what it saw, as JSON; the usual upstream. */
export const echo: Handler = (request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(
    JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body: request.body.toString("utf8"), trailers: request.trailers }),
  );
};

export interface TestEnvoyOptions extends Partial<Omit<BootstrapOptions, "upstream" | "clusters" | "filters">> {
  /** Filter source text, a path ending in .ts, or a path ending in .wasm. */
  filter: string;
  config?: unknown;
  rootId?: string;
  memory?: number;
  budget?: number;
  upstream?: Handler;
  upstreamOptions?: { http2?: boolean; early?: boolean };
  /** Servers of further clusters; a string is a URL (for refused ports). */
  clusters?: Record<string, Handler | string>;
  wasmLogLevel?: string;
  concurrency?: number;
}

export interface TestEnvoy extends RunningEnvoy {
  upstream: TestServer;
  servers: Record<string, TestServer>;
  port: number;
  /** Lines of the wasm logger: "level text". */
  logs: string[];
  /** Lines of the access log. */
  access: string[];
  /** Resolves with the first log line (also an earlier one) that matches. */
  logged(pattern: RegExp): Promise<string>;
  accessLogged(pattern: RegExp): Promise<string>;
  /** A number from Envoy's /stats. */
  stat(name: string): Promise<number>;
  close(): Promise<void>;
}

const ACCESS_LOG = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%";

/** Builds the filter, starts its servers and Envoy. `close()` ends everything. */
export async function startTestEnvoy(options: TestEnvoyOptions): Promise<TestEnvoy> {
  const wasm = options.filter.endsWith(".wasm")
    ? options.filter
    : buildModule(options.filter, {
        ...(options.memory ? { memory: options.memory } : {}),
        ...(options.budget === undefined ? {} : { budget: options.budget }),
      });
  const upstream = await startServer(options.upstream ?? echo, options.upstreamOptions);
  const servers: Record<string, TestServer> = {};
  const targets: { name: string; url: string }[] = [];
  for (const [name, handler] of Object.entries(options.clusters ?? {})) {
    if (typeof handler === "string") {
      targets.push({ name, url: handler });
      continue;
    }
    servers[name] = await startServer(handler);
    targets.push({ name, url: servers[name].url });
  }
  const closeServers = () => Promise.all([upstream.close(), ...Object.values(servers).map((server) => server.close())]);
  const logs = new Lines();
  const access = new Lines();
  try {
    const { path: binary } = await findEnvoy((line) => console.error(line));
    const envoy = await launchEnvoy({
      binary,
      concurrency: options.concurrency ?? 1,
      wasmLogLevel: options.wasmLogLevel ?? "info",
      bootstrap: withNode(
        bootstrap({
          accessLog: ACCESS_LOG,
          ...options,
          filters: [{ name: "test", wasm, ...(options.rootId ? { rootId: options.rootId } : {}), config: options.config ?? {} }],
          upstream: { name: "upstream", url: upstream.url, ...(options.upstreamOptions?.http2 ? { http2: true } : {}) },
          clusters: targets,
        }),
      ),
      onLog: (line) => {
        if (line.logger === "wasm") logs.add(`${line.level} ${line.text}`);
      },
      onOutput: (line) => access.add(line),
    });
    return {
      ...envoy,
      upstream,
      servers,
      port: Number(new URL(envoy.url).port),
      logs: logs.all,
      access: access.all,
      logged: (pattern) => logs.find(pattern, envoy.exited),
      accessLogged: (pattern) => access.find(pattern, envoy.exited),
      stat: async (name) => {
        const text = await (await fetch(`${envoy.adminUrl}/stats?filter=${encodeURIComponent(`^${name.replaceAll(".", "\\.")}$`)}`)).text();
        const found = /: (\d+)/.exec(text);
        if (!found) throw new Error(`Envoy has no statistic ${name}`);
        return Number(found[1]);
      },
      close: async () => {
        await envoy.stop();
        await closeServers();
      },
    };
  } catch (error) {
    await closeServers();
    if (error instanceof Error) error.message += `\n${logs.all.join("\n")}`;
    throw error;
  }
}

/** Envoy wants to know who it is before it takes configuration from files or servers. */
const withNode = (bootstrap: object): object => ({ node: { id: "test", cluster: "test" }, ...bootstrap });

class Lines {
  readonly all: string[] = [];
  private waiting: { pattern: RegExp; resolve: (line: string) => void }[] = [];

  add(line: string): void {
    this.all.push(line);
    this.waiting = this.waiting.filter(({ pattern, resolve }) => {
      if (!pattern.test(line)) return true;
      resolve(line);
      return false;
    });
  }

  find(pattern: RegExp, ended: Promise<unknown>): Promise<string> {
    const found = this.all.find((line) => pattern.test(line));
    if (found !== undefined) return Promise.resolve(found);
    return Promise.race([
      new Promise<string>((resolve) => this.waiting.push({ pattern, resolve })),
      ended.then(() => Promise.reject(new Error(`Envoy ended before it logged ${pattern}`))),
    ]);
  }
}
