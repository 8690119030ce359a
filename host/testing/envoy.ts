// A mounted filter on a real Envoy: the same bootstrap, the clusters' functions behind real ports, requests over a real connection.
import net from "node:net";
import { findEnvoy } from "../envoy/find.js";
import { launchEnvoy } from "../envoy/launch.js";
import type { ServerCallbacks } from "../proxy/codec.js";
import { createHttp1Pool } from "../proxy/http1-client.js";
import { serveHttp1 } from "../proxy/http1-server.js";
import { serveHttp2 } from "../proxy/http2.js";
import { realScheduler } from "../proxy/scheduler.js";
import { Client, openOn } from "./client.js";
import { serve } from "./exchange.js";
import { type ClusterSpec, type Handler, noHosts, refused } from "./handlers.js";
import { checkTime } from "./options.js";
import { generator } from "./random.js";
import { Records } from "./records.js";
import { type Module, settingFor, withoutHosts } from "./setting.js";
import type { Mounted, MountOptions } from "./types.js";

interface Server {
  url: string;
  close(): void;
}

function listen(server: net.Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve((server.address() as net.AddressInfo).port));
  });
}

/** A cluster's function behind a port. */
async function serveCluster(name: string, handler: Handler, http2: boolean, records: Records): Promise<Server> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    const callbacks: ServerCallbacks = {
      newStream: (encoder) =>
        serve(
          handler,
          {
            encoder,
            onReset: (begun) => (http2 ? encoder.reset("LocalReset") : breakOff(socket, begun)),
            onError: (error) => records.handlerFailed(name, error),
          },
          (request) => records.request(name, request),
        ),
      onClose() {},
    };
    socket.once("data", (first: Buffer) => {
      if (http2) serveHttp2(socket, first, callbacks);
      else serveHttp1(socket, first, callbacks, { enableTrailers: true, acceptHttp10: true, readsOn: true });
    });
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** What was sent of an answer arrives before the end of the connection; without any, it breaks. */
function breakOff(socket: net.Socket, begun: boolean): void {
  if (begun) setImmediate(() => socket.destroySoon());
  else socket.resetAndDestroy();
}

/** A port that refuses. */
async function refusedPort(): Promise<Server> {
  const server = net.createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return { url: `http://127.0.0.1:${port}`, close() {} };
}

export async function mountEnvoy(modules: Module[], options: MountOptions, seed: number | undefined): Promise<Mounted> {
  if (options.time === "manual") throw new Error('time: "manual" works on the node engine only');
  const records = new Records(options.properties ?? []);
  const random = seed === undefined ? undefined : generator(seed);
  const clusters: Record<string, ClusterSpec> = { upstream: () => new Response(null), ...options.clusters };
  const servers: Server[] = [];
  const targets: { name: string; url: string; http2: boolean }[] = [];
  const closeServers = () => {
    for (const server of servers) server.close();
  };
  try {
    for (const [name, spec] of Object.entries(clusters)) {
      const http2 = typeof spec === "object";
      const server =
        spec === refused || spec === noHosts
          ? await refusedPort()
          : await serveCluster(name, typeof spec === "function" ? spec : (spec as { http2: Handler }).http2, http2, records);
      servers.push(server);
      targets.push({ name, url: server.url, http2 });
    }
    const without = Object.entries(clusters).flatMap(([name, spec]) => (spec === noHosts ? [name] : []));
    let crashing = false;
    const { path: binary } = await findEnvoy((line) => console.error(line));
    const envoy = await launchEnvoy({
      binary,
      wasmLogLevel: options.logLevel ?? "info",
      bootstrap: withoutHosts(settingFor(modules, targets, options), without),
      onLog: ({ logger, level, text }) => {
        if (logger === "wasm") records.log(level, text);
        if (logger === "backtrace") crashing = true;
      },
      onOutput: (line) => records.output(line),
    });
    let died: Error | undefined;
    let closed: Promise<void> | undefined;
    void envoy.exited.then(({ reason }) => {
      if (closed) return;
      died = new Error(`Envoy ended: ${reason}`);
      records.end(died);
      client.end(died);
    });
    const { hostname, port } = new URL(envoy.url);
    const pool = createHttp1Pool({
      host: hostname,
      port: Number(port),
      connectTimeoutMs: 5000,
      enableTrailers: true,
      scheduler: realScheduler,
      newConnectionId: () => 0,
    });

    const client = new Client({
      records,
      random,
      open: (headers, decoder) => openOn(pool, headers, decoder),
      async explain() {
        // A broken connection is seen before the end of the Envoy that broke it; it takes a while to write down where it was.
        await new Promise((resolve) => setTimeout(resolve, 100));
        if (crashing) await envoy.exited;
      },
    });

    const stat = async (filter: string): Promise<[string, number][]> => {
      const text = await (await fetch(`${envoy.adminUrl}/stats?filter=${encodeURIComponent(filter)}`)).text();
      return [...text.matchAll(/^(.*): (\d+)$/gm)].map(([, name, value]) => [name!, Number(value)]);
    };

    const mounted: Mounted = {
      engine: "envoy",
      fetch: (path, init) => client.fetch(path, init),
      logs: records.logs,
      logged: (pattern) => records.logged(pattern),
      streams: records.streams,
      settled: () => records.settled(),
      requests: (cluster) => records.requests(cluster),
      async metrics() {
        client.check();
        return Object.fromEntries((await stat("^wasmcustom\\.")).map(([name, value]) => [name.slice("wasmcustom.".length), value]));
      },
      async advance(ms) {
        client.check();
        checkTime(ms);
        await new Promise((resolve) => setTimeout(resolve, ms));
      },
      close() {
        closed ??= (async () => {
          const active = options.leaks === false || died ? 0 : await restingStreams(() => stat("^http\\.ingress\\.downstream_rq_active$"));
          const error = new Error("the filter was closed");
          client.end(error);
          pool.close();
          await envoy.stop();
          closeServers();
          records.end(error);
          if (died ?? records.fault) throw died ?? records.fault;
          if (active > 0)
            throw new Error(`${active} stream${active > 1 ? "s" : ""} never ended: a filter holds ${active > 1 ? "them" : "it"} and nothing lets go`);
        })();
        return closed;
      },
      [Symbol.asyncDispose]: () => mounted.close(),
    };
    return mounted;
  } catch (error) {
    closeServers();
    const said = records.logs.filter(({ level }) => level === "error" || level === "critical").map(({ text }) => text);
    if (error instanceof Error && said.length > 0 && !said.some((text) => error.message.includes(text))) error.message += `; ${said.join("; ")}`;
    throw error;
  }
}

/** Streams that are still there when everything has had time to end. */
async function restingStreams(ask: () => Promise<[string, number][]>): Promise<number> {
  for (let attempt = 0; ; attempt++) {
    const active = (await ask())[0]?.[1] ?? 0;
    if (active === 0 || attempt === 10) return active;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
