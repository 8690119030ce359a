// Streams that end otherwise than planned: clients that go away, responses that come early, Envoy's own timeouts; and very many streams that wait at once.

import type { ServerResponse } from "node:http";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clients, send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTER = `
import { Filter, NoConfig, Stream, filter, log } from "envoyscript-sdk";


@filter("ends")
export class Ends extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const path = stream.request.path;
    const ballast = new Array<string>();
    if (path.startsWith("/ballast")) for (let i = 0; i < 2000; i++) ballast.push(path + i.toString());
    if (path.startsWith("/fetch") || path.startsWith("/ballast")) {
      const answer = stream.fetch("other", path, null, "GET", "", 60000);
      log.info("went on after " + path);
      stream.request.headers.set("x-answer", answer.text() + ballast.length.toString());
    } else if (path == "/all") {
      log.info("went on " + stream.fetchAll([]).length.toString());
      stream.fetch("other", path, null, "GET", "", 60000);
    } else if (path == "/text") {
      stream.request.headers.set("x-length", stream.request.text().length.toString());
      log.info("read " + path);
    } else if (path == "/loop") {
      let size = 0;
      while (stream.request.body.next()) size += stream.request.body.size;
      log.info("looped over " + size.toString());
    }
    stream.next();
    stream.response.headers.set("x-status", stream.response.status.toString());
    if (path == "/loop") stream.response.headers.set("x-looped", "1");
    if (path == "/response-fetch") {
      stream.fetch("other", path, null, "GET", "", 60000);
      log.info("went on after " + path);
    } else if (path == "/response-text") {
      stream.response.text();
      log.info("read " + path);
    } else if (path == "/response-loop") {
      while (stream.response.body.next()) {}
      log.info("looped over a response");
    }
  }

  onLog(stream: Stream): void {
    log.info("over: " + stream.request.path + " " + stream.response.status.toString());
  }
}`;

let envoy: TestEnvoy;
/** Unanswered calls of the filter, by path. */
let calls: Map<string, ServerResponse>;
let wake: () => void = () => {};
const until = async (done: () => boolean) => {
  while (!done()) await new Promise<void>((resolve) => (wake = resolve));
};
let upstream: (path: string, response: ServerResponse, raw: http.IncomingMessage) => void;

async function start(options: object = {}): Promise<TestEnvoy> {
  calls = new Map();
  return startTestEnvoy({
    filter: FILTER,
    upstreamOptions: { early: true },
    upstream: (seen, response, raw) => upstream(seen.url, response, raw),
    clusters: {
      other: (seen, response) => {
        calls.set(seen.url, response);
        wake();
      },
    },
    ...options,
  });
}

const created = () => envoy.stat("wasm.envoy.wasm.runtime.v8.created");
const idle = async () => {
  while ((await envoy.stat("http.ingress.downstream_rq_active")) > 0) await new Promise((resolve) => setImmediate(resolve));
};
const logsOf = (pattern: RegExp) => envoy.logs.filter((line) => pattern.test(line)).length;
describe("a client that goes away", () => {
  beforeAll(async () => {
    envoy = await start({ memory: 24 * 1024 * 1024 });
  });
  afterAll(() => envoy?.close());

  test.each(clients)("while a callout runs: the filter never goes on, a late answer is ignored, over %s", async (name, client) => {
    upstream = (_, response) => void response.end();
    const before = await created();
    const path = `/fetch/${name.replace("/", "")}`;
    const leave = new AbortController();
    const request = client(envoy.url + path, { signal: leave.signal });
    request.catch(() => {});
    await until(() => calls.has(path));
    leave.abort();
    await expect(request).rejects.toThrow();
    await envoy.logged(new RegExp(`info .*over: ${path} 0`));
    await idle();
    calls.get(path)!.end("too late");
    // The next answer comes after the late one, on the same worker.
    const next = send(`${envoy.url}/fetch/next${name.replace("/", "")}`);
    await until(() => calls.has(`/fetch/next${name.replace("/", "")}`));
    calls.get(`/fetch/next${name.replace("/", "")}`)!.end("yes");
    expect((await next).status).toBe(200);
    expect(logsOf(new RegExp(`went on after ${path}$`))).toBe(0);
    expect(await created()).toBe(before);
  });

  test.each([
    ["in the middle of a body that is read whole", "/text", /read \/text/],
    ["in the middle of a loop over a body", "/loop", /looped over/],
  ])("%s", async (_, path, never) => {
    upstream = (_path, response) => void response.socket?.on("close", () => {});
    const socket = net.connect(envoy.port, "127.0.0.1");
    const sent = logsOf(new RegExp(`over: ${path}`));
    await new Promise<void>((resolve) => socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf`, () => resolve()));
    while ((await envoy.stat("http.ingress.downstream_rq_active")) === 0) await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
    await idle();
    expect(logsOf(new RegExp(`over: ${path}`))).toBe(sent + 1);
    expect(logsOf(never)).toBe(0);
  });

  test.each([
    ["while the filter waits for the upstream", "/next", undefined],
    ["while the filter waits for a callout with the response in hand", "/response-fetch", /went on after \/response-fetch/],
    ["in the middle of a response that is read whole", "/response-text", /read \/response-text/],
    ["in the middle of a loop over a response", "/response-loop", /looped over a response/],
  ])("%s", async (_, path, never) => {
    let reached = false;
    upstream = (_path, response) => {
      if (path !== "/next") response.write("half");
      reached = true;
      wake();
    };
    calls.clear();
    const leave = new AbortController();
    const request = send(envoy.url + path, { signal: leave.signal });
    request.catch(() => {});
    await until(() => reached && (path !== "/response-fetch" || calls.has(path)));
    leave.abort();
    await idle();
    calls.get(path)?.end();
    upstream = (_path, response) => void response.end();
    expect((await send(`${envoy.url}/fine`)).status).toBe(200);
    if (never) expect(logsOf(never)).toBe(0);
  });

  test("a thousand times, each with a coroutine full of objects: what it held is free again", async () => {
    upstream = (_, response) => void response.end();
    for (let n = 0; n < 20; n++) {
      calls.clear();
      const session = http2.connect(envoy.url);
      session.on("error", () => {});
      for (let i = 0; i < 50; i++) session.request({ ":path": `/ballast/${n}/${i}` }).on("error", () => {});
      // A round holds about 8 MiB of the 24: with the rounds before it still there, not all would get this far.
      await until(() => calls.size === 50);
      session.destroy();
      await idle();
      for (const call of calls.values()) call.end("late");
    }
    expect(logsOf(/out of memory/)).toBe(0);
    expect((await send(`${envoy.url}/fine`)).status).toBe(200);
  });
});

describe("a response that comes before the request is complete", () => {
  beforeAll(async () => {
    envoy = await start();
  });
  afterAll(() => envoy?.close());

  test.each([
    ["complete", "early"],
    ["with a body that is still to come", ""],
  ])("ends the loop of a filter over the request: an error %s", async (_, body) => {
    upstream = (_path, response, raw) => {
      response.writeHead(403);
      if (body) return void response.end(body);
      response.flushHeaders();
      raw.on("end", () => response.end("early"));
    };
    const answer = new Promise<{ status: number; looped: unknown; text: string }>((resolve, reject) => {
      const request = http.request(`${envoy.url}/loop`, { method: "POST", agent: false }, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode!, looped: response.headers["x-looped"], text }));
      });
      request.on("error", reject);
      request.write("one");
      // The rest comes when the filter has been told of the response; nobody waits for it.
      void envoy.logged(/looped over 3$/).then(() => request.end("two"));
    });
    expect(await answer).toEqual({ status: 403, looped: "1", text: "early" });
    expect((await send(`${envoy.url}/fine`)).status).toBe(403);
  });

  test("leaves a loop running where the response is neither an error nor complete", async () => {
    upstream = (_path, response, raw) => {
      response.writeHead(200);
      response.flushHeaders();
      raw.on("data", (chunk) => response.write(chunk));
      raw.on("end", () => response.end());
    };
    for (const [, client] of clients) {
      const answer = await client(`${envoy.url}/loop`, { method: "POST", body: ["one", "two", "three"] });
      expect(answer).toMatchObject({ status: 200, text: "onetwothree" });
      expect(answer.headers["x-looped"]).toBe("1");
    }
    expect(logsOf(/looped over 11$/)).toBe(2);
  });

  test("reaches a filter that has let the request go at once", async () => {
    upstream = (_, response) => void response.writeHead(403).end("early");
    const answer = await new Promise<{ status: number; own: unknown }>((resolve, reject) => {
      const request = http.request(`${envoy.url}/next`, { method: "POST", agent: false }, (response) => {
        response.resume();
        resolve({ status: response.statusCode!, own: response.headers["x-status"] });
        request.destroy();
      });
      request.on("error", reject);
      request.write("one");
    });
    expect(answer).toEqual({ status: 403, own: "403" });
  });
});

describe("Envoy's timeouts while a filter waits", () => {
  test.each([
    ["request_timeout", "request timeout"],
    ["stream_idle_timeout", "stream timeout"],
  ])("route timeout and %s answer; the filter is dropped and the VM lives", async (kind, said) => {
    upstream = (path, response) => {
      if (path === "/response-text") response.write("half");
      if (path === "/response-fetch") response.end("whole");
    };
    envoy = await start({ routeTimeout: "0.3s", hcm: { [kind]: "0.4s" } });
    try {
      const before = await created();
      for (const [, client] of clients) {
        // The upstream does not answer: 504 by the route, which the filter sees.
        const slow = await client(`${envoy.url}/next`);
        expect(slow).toMatchObject({ status: 504, text: "upstream request timeout" });
        expect(slow.headers["x-status"]).toBe("504");
        // A callout does not answer.
        expect(await client(`${envoy.url}/fetch/idle`)).toMatchObject({ status: 504, text: said });
        // With the response in hand only the idle timeout runs.
        if (kind === "stream_idle_timeout") expect((await client(`${envoy.url}/response-fetch`)).status).toBe(504);
        // The response never becomes complete.
        expect((await client(`${envoy.url}/response-text`)).status).toBe(504);
      }
      // The request does not become complete while the filter reads it.
      const text = await new Promise<string>((resolve) => {
        const socket = net.connect(envoy.port, "127.0.0.1");
        let got = "";
        socket.on("data", (data) => (got += data));
        socket.on("close", () => resolve(got));
        socket.write("POST /text HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf");
      });
      expect(text).toMatch(/^HTTP\/1\.1 408 /);
      for (const call of calls.values()) call.end("late");
      expect(logsOf(/went on after/)).toBe(0);
      expect(logsOf(/read \//)).toBe(0);
      expect(await created()).toBe(before);
      upstream = (_, response) => void response.end("fine");
      expect(await send(`${envoy.url}/fine`)).toMatchObject({ status: 200, text: "fine" });
    } finally {
      await envoy.close();
    }
  });
});

test("2,000 streams wait at once; each gets its own answer, whatever the order and whoever came and went between them", async () => {
  envoy = await startTestEnvoy({
    filter: `
      import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
      @filter("many")
      export class Many extends Filter<NoConfig> {
        handle(stream: Stream): void {
          const path = stream.request.path;
          const length = stream.request.text().length;
          stream.reply(200, path + " " + length.toString() + " " + stream.request.headers.get("x-n")!);
        }
      }`,
  });
  const sessions = Array.from({ length: 20 }, () => http2.connect(envoy.url));
  const open = new Map<number, { end: () => Promise<string> }>();
  const begin = (n: number) => {
    const request = sessions[n % sessions.length]!.request({ ":method": "POST", ":path": `/s${n}`, "x-n": String(n) });
    request.write("x".repeat(n % 100));
    const answer = new Promise<string>((resolve, reject) => {
      let text = "";
      request.on("data", (chunk) => {
        text += chunk;
      });
      request.on("error", reject);
      request.on("end", () => resolve(text));
    });
    open.set(n, {
      end: () => {
        request.end("y");
        return answer;
      },
    });
  };
  /** All that have begun wait for the rest of their bodies. */
  const waiting = async () => {
    while ((await envoy.stat("http.ingress.downstream_rq_active")) < open.size) await new Promise((resolve) => setImmediate(resolve));
  };
  /** Ends streams in an order that has nothing to do with the one they came in. */
  const end = async (numbers: number[]) => {
    const order = numbers.map((_, i) => numbers[(i * 1237) % numbers.length]!);
    expect(new Set(order).size).toBe(numbers.length);
    const answers = await Promise.all(order.map((n) => open.get(n)!.end()));
    expect(answers).toEqual(order.map((n) => `/s${n} ${(n % 100) + 1} ${n}`));
    for (const n of order) open.delete(n);
  };
  try {
    for (let n = 0; n < 2000; n++) begin(n);
    await waiting();
    await end([...open.keys()].filter((n) => n % 20 !== 0));
    // The next ones share their places in the table of streams with those that stayed.
    for (let n = 2000; n < 3900; n++) begin(n);
    await waiting();
    await end([...open.keys()]);
    for (const session of sessions) session.close();
    expect(envoy.logs).toEqual([]);
  } finally {
    await envoy.close();
  }
});
