// Servers that answer as a scenario says, byte for byte, and keep what they received.
import http2 from "node:http2";
import net from "node:net";
import type { Http1Behaviour, Http2Behaviour, Scenario, Step } from "./scenario.js";

export interface Upstream {
  port: number;
  close(): void;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const DEFAULT: Step[] = ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello"];

/** Writes, waits, resets, closes. */
export async function play(socket: net.Socket, steps: Step[]): Promise<void> {
  for (const step of steps) {
    if (socket.destroyed) return;
    if (typeof step === "number") await sleep(step);
    else if (step === "@reset") socket.resetAndDestroy();
    else if (step === "@close") socket.end();
    else if (step.startsWith("@rep ")) {
      const [, count, character = ""] = step.split(" ");
      socket.write(character.repeat(Number(count)), "latin1");
    } else socket.write(step, "latin1");
  }
}

const listen = (server: net.Server): Promise<number> =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as net.AddressInfo).port)));

type Http1Script = NonNullable<Scenario["upstream"]>["up"];

function behaviourOf(script: Http1Script, index: number): Http1Behaviour {
  if (!script) return { respond: DEFAULT };
  const several = Array.isArray(script) && script.length > 0 && typeof script[0] === "object";
  const one = several ? (script as (Step[] | Http1Behaviour)[])[Math.min(index, script.length - 1)]! : (script as Step[] | Http1Behaviour);
  return Array.isArray(one) ? { respond: one } : { respond: DEFAULT, ...one };
}

/** Where the request that begins at 0 ends; undefined while it is not complete. */
function requestEnd(text: string): number | undefined {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return undefined;
  const fields = text.slice(0, head + 4).toLowerCase();
  let end = head + 4;
  if (/\r\ntransfer-encoding: chunked/.test(fields)) {
    for (;;) {
      const line = text.indexOf("\r\n", end);
      if (line < 0) return undefined;
      const size = Number.parseInt(text.slice(end, line), 16);
      end = line + 2;
      if (size === 0) break;
      if (text.length < end + size + 2) return undefined;
      end += size + 2;
    }
    for (;;) {
      const line = text.indexOf("\r\n", end);
      if (line < 0) return undefined;
      const empty = line === end;
      end = line + 2;
      if (empty) return end;
    }
  }
  const length = /\r\ncontent-length: (\d+)/.exec(fields);
  if (length) end += Number(length[1]);
  return text.length < end ? undefined : end;
}

export async function http1Upstream(script: Http1Script, seen: unknown[]): Promise<Upstream> {
  let requests = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    let text = "";
    let behaviour: Http1Behaviour | undefined;
    socket.on("data", (data) => {
      text += data.toString("latin1");
      step();
    });
    socket.on("close", () => {
      sockets.delete(socket);
      if (text.length) seen.push(`(incomplete) ${text}`);
    });
    const step = () => {
      const head = text.indexOf("\r\n\r\n");
      if (head < 0) return;
      if (!behaviour) {
        behaviour = behaviourOf(script, requests++);
        if (behaviour.on === "headers") {
          seen.push(`(headers) ${text.slice(0, head + 4)}`);
          void play(socket, behaviour.respond!);
        }
      }
      const end = requestEnd(text);
      if (end === undefined) return;
      const request = text.slice(0, end);
      text = text.slice(end);
      const done = behaviour;
      behaviour = undefined;
      if (done.on !== "headers") {
        seen.push(request);
        void play(socket, done.respond!);
      }
      if (text.length) step();
    };
  });
  return {
    port: await listen(server),
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

export async function http2Upstream(behaviour: Http2Behaviour | undefined, seen: unknown[]): Promise<Upstream> {
  const server = http2.createServer();
  const sessions = new Set<http2.Http2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    const body: Buffer[] = [];
    const record: Record<string, unknown> = { headers: Object.fromEntries(Object.entries(headers)), body: "" };
    seen.push(record);
    stream.on("close", () => {
      record.rst = stream.rstCode;
    });
    stream.on("data", (data: Buffer) => {
      body.push(data);
      record.body = Buffer.concat(body).toString("hex");
    });
    stream.on("trailers", (trailers) => {
      record.trailers = { ...trailers };
    });
    const b = behaviour ?? {};
    const act = () => void answer(stream, b);
    if (b.on === "headers") act();
    else stream.on("end", act);
  });
  const port = await listen(server as unknown as net.Server);
  return {
    port,
    close() {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}

async function answer(stream: http2.ServerHttp2Stream, b: Http2Behaviour): Promise<void> {
  if (b.hang || stream.destroyed || stream.closed) return;
  if (b.rst !== undefined) {
    stream.close(b.rst);
    return;
  }
  if (b.trailersOnly) {
    stream.respond({ ":status": 200, "content-type": "application/grpc", ...b.trailersOnly }, { endStream: true });
    return;
  }
  stream.respond({ ":status": 200, "content-type": "application/grpc", ...b.headers }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(b.trailers ?? { "grpc-status": "0" }));
  for (const message of b.messages ?? []) {
    if (typeof message === "number") {
      await sleep(message);
      continue;
    }
    const payload = Buffer.from(message, "latin1");
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(payload.length, 1);
    stream.write(Buffer.concat([frame, payload]));
  }
  if (b.rstAfter !== undefined) {
    await sleep(50);
    stream.close(b.rstAfter);
    return;
  }
  if (!b.open) stream.end();
}

export async function tcpUpstream(script: Step[] | undefined, seen: unknown[]): Promise<Upstream> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    let got = "";
    let first = true;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      got += data.toString("latin1");
      if (first) {
        first = false;
        void play(socket, script ?? ["world"]);
      }
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      sockets.delete(socket);
      seen.push(got);
    });
  });
  return {
    port: await listen(server),
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const handedOut = new Set<number>();

/** A port on which nothing listens; never the same one twice. From below those that systems give out by themselves: nobody gets it in the meantime. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (handedOut.has(port)) continue;
    const server = net.createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    handedOut.add(port);
    return port;
  }
}
