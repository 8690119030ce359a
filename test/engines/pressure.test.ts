// Who is not read holds back who sends: nothing piles up in between.
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { type Engine, startEngine } from "../../host/proxy/engine.js";

const TYPE = "type.googleapis.com/envoy.extensions.";
const SIZE = 100 << 20;
/** What the sockets of the system and of Node may hold, with room. */
const HELD = 40 << 20;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function listen(onSocket: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as net.AddressInfo).port;
}

const address = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });

async function start(upstream: number, filter: object): Promise<number> {
  const engine: Engine = startEngine({
    bootstrap: {
      static_resources: {
        listeners: [{ name: "l", address: address(0), filter_chains: [{ filters: [{ name: "f", typed_config: filter }] }] }],
        clusters: [
          {
            name: "up",
            connect_timeout: "1s",
            load_assignment: { cluster_name: "up", endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstream) } }] }] },
          },
        ],
      },
    },
  });
  closers.push(async () => {
    engine.kill();
    await engine.ended;
  });
  await engine.ready;
  return engine.listeners()[0]!.port;
}

const HTTP = {
  "@type": `${TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager`,
  stat_prefix: "i",
  route_config: { virtual_hosts: [{ name: "v", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "up", timeout: "0s" } }] }] },
  http_filters: [{ name: "r", typed_config: { "@type": `${TYPE}filters.http.router.v3.Router` } }],
};
const TCP = { "@type": `${TYPE}filters.network.tcp_proxy.v3.TcpProxy`, stat_prefix: "t", cluster: "up" };

/** Writes SIZE bytes as fast as they are taken, then calls `done`; says how many have left this process. */
function flood(stream: NodeJS.WritableStream & { writableLength: number }, done: () => void = () => stream.end()): { left(): number } {
  const piece = Buffer.alloc(1 << 16, 120);
  let written = 0;
  const go = () => {
    while (written < SIZE) {
      written += piece.length;
      if (!stream.write(piece)) return;
    }
    done();
  };
  stream.on("drain", go);
  go();
  return { left: () => written - stream.writableLength };
}

/** Resolves with how much had left when no more did. */
async function stalled(source: { left(): number }): Promise<number> {
  let last = -1;
  await expect
    .poll(
      () => {
        const now = source.left();
        const same = now === last && now > 0;
        last = now;
        return same;
      },
      { interval: 200, timeout: 10_000 },
    )
    .toBe(true);
  return last;
}

describe("a response that nobody reads", () => {
  test.each(["HTTP/1", "TCP"])("over %s", async (protocol) => {
    let source: { left(): number } | undefined;
    const upstream = await listen((socket) => {
      socket.once("data", () => {
        if (protocol === "HTTP/1") socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${SIZE}\r\n\r\n`);
        source = flood(socket);
      });
    });
    const client = net.connect(await start(upstream, protocol === "TCP" ? TCP : HTTP), "127.0.0.1");
    closers.push(() => client.destroy());
    client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.pause();
    await expect.poll(() => source !== undefined).toBe(true);
    expect(await stalled(source!)).toBeLessThan(HELD);
    let got = 0;
    client.on("data", (data) => {
      got += data.length;
      if (got >= SIZE) client.destroy();
    });
    client.resume();
    await once(client, "close");
    expect(got).toBeGreaterThanOrEqual(SIZE);
  });

  test("over HTTP/2", async () => {
    let source: { left(): number } | undefined;
    const upstream = await listen((socket) => {
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${SIZE}\r\n\r\n`);
        source = flood(socket);
      });
    });
    const session = http2.connect(`http://127.0.0.1:${await start(upstream, HTTP)}`);
    closers.push(() => session.destroy());
    const stream = session.request({ ":path": "/" });
    await once(stream, "response");
    expect(await stalled(source!)).toBeLessThan(HELD);
    let got = 0;
    stream.on("data", (data: Buffer) => {
      got += data.length;
    });
    await once(stream, "end");
    expect(got).toBe(SIZE);
  });
});

test.each(["HTTP/1", "TCP"])("a request over %s that the upstream does not read", async (protocol) => {
  let upstreamSocket: net.Socket | undefined;
  const upstream = await listen((socket) => {
    upstreamSocket = socket;
    socket.pause();
  });
  const client = net.connect(await start(upstream, protocol === "TCP" ? TCP : HTTP), "127.0.0.1");
  closers.push(() => client.destroy());
  if (protocol === "HTTP/1") client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${SIZE}\r\n\r\n`);
  // The client stays: one that ends its side takes its request back, and what has not gone on by then is cut.
  const source = flood(client, () => {});
  expect(await stalled(source)).toBeLessThan(HELD);
  let got = 0;
  const all = new Promise<void>((resolve) => {
    upstreamSocket!.on("data", (data) => {
      got += data.length;
      if (got >= SIZE) resolve();
    });
  });
  upstreamSocket!.resume();
  await all;
});
