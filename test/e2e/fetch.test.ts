// Callouts: fetch, send, fetchAll, and everything that can go wrong with them; and that a filter can wait anywhere in its code.

import type { ServerResponse } from "node:http";
import net, { type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clients, send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTER = `
import { FetchRequest, FetchResponse, Filter, Headers, NoConfig, Stream, filter } from "envoyscript-sdk";

function describe(answer: FetchResponse): string {
  return (answer.ok ? "ok " : "not ok ") + answer.status.toString() + " [" + answer.error + "] " + answer.text();
}
function word(value: string | null): string {
  return value === null ? "null" : value;
}
class Node {
  constructor(public left: Node | null, public right: Node | null, public name: string) {}
}
function tree(depth: i32, name: string): Node | null {
  return depth == 0 ? null : new Node(tree(depth - 1, name + "l"), tree(depth - 1, name + "r"), name);
}

@filter("fetch")
export class Fetch extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const path = stream.request.path;
    const target = stream.request.headers.get("x-target");
    const cluster = stream.request.headers.get("x-cluster");
    if (path == "/one") {
      const answer = stream.fetch(cluster === null ? "other" : cluster, target === null ? "/" : target, null, "GET", "", 300);
      return stream.reply(200, describe(answer));
    }
    if (path == "/parts") {
      const answer = stream.fetch("other", "/parts");
      const first = word(answer.headers.get("x-one")) + " " + answer.headers.getAll("x-many").join("|") + " " + answer.headers.get(":status")! + " " + answer.headers.set("x-one", "2").toString();
      // Read after the next wait: what Envoy has forgotten by then was kept.
      stream.fetch("other", "/");
      return stream.reply(200, first + " " + answer.text() + " " + answer.json().get("a").number.toString() + " " + answer.bytes().length.toString() + " " + word(answer.trailers.get("x-end")) + " " + answer.trailers.length.toString());
    }
    if (path == "/request") {
      const call = new FetchRequest("other", "/echo?a=b");
      call.method = "PATCH";
      call.host = "auth.example";
      call.timeout = 1000;
      call.headers.set("X-Mine", "1").append("x-mine", "2").append("content-length", "999").append("host", "evil").append("x-bad", "a\\r\\nb: c").append(":path", "/evil");
      call.setBody("body ä");
      return stream.reply(200, stream.send(call).text());
    }
    if (path == "/bad") {
      const texts: string[] = [];
      texts.push(describe(stream.fetch("other", "no-slash")));
      texts.push(describe(stream.fetch("other", "")));
      texts.push(describe(stream.fetch("other", "/a HTTP/1.1\\r\\nx-evil: 1")));
      texts.push(describe(stream.fetch("other", "/", null, "GE T")));
      texts.push(describe(stream.fetch("", "/")));
      texts.push(describe(stream.fetch("nowhere", "/")));
      const host = new FetchRequest("other", "/");
      host.host = "a\\r\\nx-evil: 1";
      texts.push(describe(stream.send(host)));
      const many = new FetchRequest("other", "/");
      for (let i = 0; i < 1100; i++) many.headers.names.push("x-" + i.toString());
      for (let i = 0; i < 1100; i++) many.headers.values.push("v");
      texts.push(describe(stream.send(many)));
      const zero = new FetchRequest("other", "/hang");
      zero.timeout = 0;
      texts.push(describe(stream.send(zero)));
      return stream.reply(200, texts.join("\\n"));
    }
    if (path == "/around") {
      stream.request.headers.set("x-before", stream.fetch("other", "/before").text());
      stream.next();
      stream.response.headers.set("x-after", stream.fetch("other", "/after").text());
      stream.response.headers.set("x-again", stream.fetch("other", "/again").text() + " " + stream.request.headers.get("x-before")!);
      return;
    }
    if (path == "/body") {
      const before = stream.fetch("other", "/slowly").text();
      const text = stream.request.text();
      stream.request.headers.set("x-first", before);
      stream.request.body.set(text + stream.fetch("other", "/slowly").text());
      stream.next();
      const answer = stream.response.text();
      stream.response.body.set(stream.fetch("other", "/slowly").text() + answer);
      return;
    }
    if (path == "/unread") {
      stream.fetch("other", "/slowly");
      return;
    }
    if (path == "/all") return this.all(stream);
    if (path == "/all-none") {
      const none = stream.fetchAll([]);
      const failing = stream.fetchAll([new FetchRequest("nowhere", "/"), new FetchRequest("other", "x")]);
      return stream.reply(200, none.length.toString() + " " + failing.length.toString() + " " + failing[0].error + " " + failing[1].error);
    }
    if (path == "/loop") {
      let sum = 0;
      for (let i = 0; i < 30; i++) {
        const doubled = stream.fetch("other", "/number?" + i.toString()).text();
        sum += i32(parseInt(doubled)) * (i % 2 == 0 ? 1 : 2);
      }
      return stream.reply(200, sum.toString());
    }
    if (path == "/deep") return stream.reply(200, this.down(stream, 40, "x").toString());
    if (path == "/tree") return stream.reply(200, this.walk(stream, tree(4, "n")));
    if (path == "/next-deep") {
      for (let i = 0; i < 3; i++) if (i == 1) this.pass(stream, 5);
      stream.response.headers.set("x-deep", stream.response.status.toString());
      return;
    }
    if (path == "/wide") {
      // Values of all kinds live across the wait.
      const a: i64 = 0x1234567890abcdef;
      const b: f64 = 1.5;
      const c: f32 = 2.25;
      const d = [1, 2, 3];
      const e = new Map<string, string>();
      e.set("k", "v");
      let f: u8 = 200;
      const g = stream.fetch("other", "/slowly").text();
      f += 100;
      return stream.reply(200, a.toString() + " " + b.toString() + " " + c.toString() + " " + d.join("") + " " + e.get("k") + " " + f.toString() + " " + g);
    }
    stream.next();
  }

  all(stream: Stream): void {
    const calls: FetchRequest[] = [];
    const targets = stream.request.headers.get("x-targets")!.split(",");
    for (let i = 0; i < targets.length; i++) {
      const parts = targets[i].split(" ");
      const call = new FetchRequest(parts[0], parts[1]);
      call.timeout = 400;
      calls.push(call);
    }
    const answers = stream.fetchAll(calls);
    const texts: string[] = [];
    for (let i = 0; i < answers.length; i++) texts.push(describe(answers[i]));
    stream.reply(200, texts.join("\\n"));
  }

  down(stream: Stream, depth: i32, name: string): i32 {
    if (depth == 0) return stream.fetch("other", "/number?21").text().length + name.length;
    const inner = this.down(stream, depth - 1, name + "y");
    return inner + name.length;
  }

  walk(stream: Stream, node: Node | null): string {
    if (node === null) return "";
    const left = this.walk(stream, node.left);
    const mine = stream.fetch("other", "/name/" + node.name).text();
    return left + mine + " " + this.walk(stream, node.right);
  }

  pass(stream: Stream, depth: i32): void {
    if (depth == 0) stream.next();
    else this.pass(stream, depth - 1);
  }
}`;

let envoy: TestEnvoy;
/** Calls that the server has and does not answer by itself. */
let held: Map<string, ServerResponse>;
let whenHeld: () => void = () => {};
let resets: net.Server;
let refused: number;

beforeAll(async () => {
  held = new Map();
  // Closes each connection: at once, or after the response's headers.
  resets = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      const request = data.toString();
      if (request.startsWith("GET /early")) return void socket.resetAndDestroy();
      if (request.startsWith("GET /garbage")) return void socket.end("SSH-2.0-OpenSSH\r\n");
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", () => {
        if (!request.startsWith("GET /stall")) socket.end();
      });
    });
  });
  await new Promise<void>((resolve) => resets.listen(0, "127.0.0.1", () => resolve()));
  const closed = net.createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", () => resolve()));
  refused = (closed.address() as AddressInfo).port;
  await new Promise((resolve) => closed.close(resolve));
  envoy = await startTestEnvoy({
    filter: FILTER,
    hcm: { access_log: [] },
    clusters: {
      resets: `http://127.0.0.1:${(resets.address() as AddressInfo).port}`,
      refused: `http://127.0.0.1:${refused}`,
      other: (seen, response) => {
        const { pathname, search } = new URL(seen.url, "http://x");
        if (pathname === "/parts") {
          response.setHeader("x-one", "1");
          response.setHeader("x-many", ["a", "b"]);
          return void response.end('{"a":7}');
        }
        if (pathname === "/echo")
          return void response.end(JSON.stringify({ method: seen.method, url: seen.url, headers: seen.headers, body: seen.body.toString() }));
        if (pathname === "/number") return void response.end(String(Number(search.slice(1)) * 2));
        if (pathname === "/hang") return;
        if (pathname.startsWith("/hold/")) {
          held.set(pathname.slice(6), response);
          return whenHeld();
        }
        if (pathname === "/slowly") return void setImmediate(() => response.end("slow"));
        if (pathname === "/empty") return void response.writeHead(204).end();
        if (pathname === "/503") return void response.writeHead(503, { "x-own": "1" }).end("busy");
        if (pathname === "/504") return void response.writeHead(504).end();
        if (pathname === "/404") return void response.writeHead(404).end("none");
        if (pathname === "/302") return void response.writeHead(302, { location: "/x" }).end();
        if (pathname === "/big") return void response.end("x".repeat(300_000));
        response.end(pathname);
      },
    },
  });
});
afterAll(async () => {
  await envoy?.close();
  resets?.close();
});

const allHeld = async (count: number) => {
  while (held.size < count) await new Promise<void>((resolve) => (whenHeld = resolve));
};

describe("fetch", () => {
  test.each([
    ["an answer", "other", "/hello", /^ok 200 \[\] \/hello$/],
    ["no body", "other", "/empty", /^ok 204 \[\] $/],
    ["a status of 404", "other", "/404", /^not ok 404 \[\] none$/],
    ["a redirect, which is not followed", "other", "/302", /^not ok 302 \[\] $/],
    ["the cluster's own 503 is an answer, not an error", "other", "/503", /^not ok 503 \[\] busy$/],
    ["the cluster's own 504 is an answer, not an error", "other", "/504", /^not ok 504 \[\] $/],
    ["a large body", "other", "/big", /^ok 200 \[\] x{300000}$/],
    ["no answer in time", "other", "/hang", /^not ok 504 \[timeout\]/],
    ["nobody listens", "refused", "/", /^not ok 503 \[upstream connect error.*connection failure.*\]/],
    ["a reset before the headers", "resets", "/early", /^not ok 503 \[upstream connect error.*reset reason: connection termination\]/],
    ["a reset after the headers", "resets", "/late", /^not ok 0 \[the connection was reset/],
    ["no end of the body in time", "resets", "/stall", /^not ok 0 \[the connection was reset, the time was up/],
    ["not HTTP at all", "resets", "/garbage", /^not ok 502 \[upstream connect error.*protocol error\]/],
    ["a cluster that is not there", "nowhere", "/", /^not ok 0 \[Envoy has no cluster "nowhere"\] $/],
  ])("%s", async (_, cluster, target, wanted) => {
    const answer = await send(`${envoy.url}/one`, { headers: { "x-cluster": cluster, "x-target": target } });
    expect(answer.status).toBe(200);
    expect(answer.text).toMatch(wanted);
  });

  test("headers, body as text, JSON and bytes; also after another wait", async () => {
    expect((await send(`${envoy.url}/parts`)).text).toBe('1 a|b 200 false {"a":7} 7.0 7 null 0');
    await envoy.logged(/error .*header "x-one" not changed/);
  });

  test("method, host, headers and body of a FetchRequest; framing and pseudo headers cannot be smuggled in", async () => {
    const seen = JSON.parse((await send(`${envoy.url}/request`)).text);
    expect(seen).toMatchObject({
      method: "PATCH",
      url: "/echo?a=b",
      body: "body ä",
      headers: { host: "auth.example", "x-mine": "1, 2", "content-length": "7", "x-envoy-expected-rq-timeout-ms": "1000" },
    });
    expect(seen.headers).not.toHaveProperty("x-bad");
    expect(seen.headers).not.toHaveProperty("b");
    await envoy.logged(/error .*header "x-bad" left out/);
  });

  test("calls that cannot be made say why and do not wait", async () => {
    const lines = (await send(`${envoy.url}/bad`)).text.split("\n");
    expect(lines).toHaveLength(9);
    for (const line of lines.slice(0, 3)) expect(line).toMatch(/^not ok 0 \[the path of a call starts with "\/" and has no blanks or control characters\] $/);
    expect(lines[3]).toBe('not ok 0 ["GE T" is not a method] ');
    expect(lines[4]).toBe('not ok 0 [Envoy has no cluster ""] ');
    expect(lines[5]).toBe('not ok 0 [Envoy has no cluster "nowhere"] ');
    expect(lines[6]).toBe("not ok 0 [a host has no blanks or control characters] ");
    expect(lines[7]).toBe("not ok 0 [more than 1024 headers] ");
    // A timeout of 0 would be none at all.
    expect(lines[8]).toMatch(/^not ok 504 \[timeout\]/);
  });

  test("before and after next(): nothing passes before its answer", async () => {
    for (const [, client] of clients) {
      const answer = await client(`${envoy.url}/around`);
      expect(answer.headers).toMatchObject({ "x-after": "/after", "x-again": "/again /before" });
      expect(JSON.parse(answer.text).headers["x-before"]).toBe("/before");
    }
  });

  test.each(clients)("mixed with whole bodies in both directions, over %s", async (_, client) => {
    for (const body of [
      ["one ", "two "],
      ["x".repeat(100_000), "y".repeat(100_000)],
    ]) {
      const answer = await client(`${envoy.url}/body`, { method: "POST", body });
      expect(answer.text.startsWith("slow{")).toBe(true);
      const seen = JSON.parse(answer.text.slice(4));
      expect(seen.headers["x-first"]).toBe("slow");
      expect(seen.body).toBe(`${body.join("")}slow`);
    }
  });

  test("a filter that reads no bodies holds one of any length with back-pressure, and it arrives whole", async () => {
    let call: ServerResponse | undefined;
    let called: () => void = () => {};
    const other = await startTestEnvoy({
      filter: `
        import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
        @filter("x")
        export class X extends Filter<NoConfig> {
          handle(stream: Stream): void {
            stream.request.headers.set("x-answer", stream.fetch("other", "/").text());
          }
        }`,
      clusters: {
        other: (_, response) => {
          call = response;
          called();
        },
      },
      upstream: (seen, response) => void response.end(`${seen.headers["x-answer"]} ${seen.body.length}`),
    });
    try {
      for (const [, client] of clients) {
        const asked = new Promise<void>((resolve) => (called = resolve));
        const answer = client(other.url, { method: "POST", body: [Buffer.alloc(100), Buffer.alloc(3_000_000), Buffer.alloc(1)] });
        await asked;
        call!.end("yes");
        expect((await answer).text).toBe("yes 3000101");
      }
    } finally {
      await other.close();
    }
  });

  test("the response trailers of a call", async () => {
    const other = await startTestEnvoy({
      filter: `
        import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
        @filter("x")
        export class X extends Filter<NoConfig> {
          handle(stream: Stream): void {
            const answer = stream.fetch("upstream", "/call");
            stream.reply(200, answer.text() + " " + answer.trailers.get("x-end")! + " " + answer.trailers.length.toString());
          }
        }`,
      upstreamOptions: { http2: true },
      upstream: (_, response) => {
        response.write("body");
        response.addTrailers({ "x-end": "1", "x-more": "2" });
        response.end();
      },
    });
    try {
      expect((await send(other.url)).text).toBe("body 1 2");
    } finally {
      await other.close();
    }
  });
});

describe("fetchAll", () => {
  test("makes its calls at once and keeps their order, however they are answered", async () => {
    held.clear();
    const answer = send(`${envoy.url}/all`, { headers: { "x-targets": "other /hold/a,other /hold/b,other /hold/c" } });
    await allHeld(3);
    for (const name of ["c", "a", "b"]) {
      held.get(name)!.end(name);
      await new Promise((resolve) => held.get(name)!.on("close", resolve));
    }
    expect((await answer).text.split("\n")).toEqual(["ok 200 [] a", "ok 200 [] b", "ok 200 [] c"]);
  });

  test("failing calls among them", async () => {
    const targets = "nowhere /,other /first,refused /,other no-slash,resets /late,other /hang,other /404,other /last";
    const lines = (await send(`${envoy.url}/all`, { headers: { "x-targets": targets } })).text.split("\n");
    expect(lines).toHaveLength(8);
    expect(lines[0]).toMatch(/Envoy has no cluster "nowhere"/);
    expect(lines[1]).toBe("ok 200 [] /first");
    expect(lines[2]).toMatch(/^not ok 503 \[upstream connect error/);
    expect(lines[3]).toMatch(/the path of a call/);
    expect(lines[4]).toMatch(/^not ok 0 \[the connection was reset/);
    expect(lines[5]).toMatch(/^not ok 504 \[timeout\]/);
    expect(lines[6]).toBe("not ok 404 [] none");
    expect(lines[7]).toBe("ok 200 [] /last");
  });

  test("no calls, and only calls that cannot be made", async () => {
    expect((await send(`${envoy.url}/all-none`)).text).toMatch(/^0 2 Envoy has no cluster "nowhere" the path of a call/);
  });

  test("takes as long as the slowest call, not as all together", async () => {
    const begun = performance.now();
    const lines = (await send(`${envoy.url}/all`, { headers: { "x-targets": Array.from({ length: 8 }, () => "other /hang").join() } })).text.split("\n");
    expect(lines.every((line) => line.startsWith("not ok 504 [timeout]"))).toBe(true);
    // Each call is given 400 ms.
    expect(performance.now() - begun).toBeLessThan(2 * 400);
  });
});

describe("a filter waits anywhere in its code", () => {
  test("in a loop", async () => {
    const wanted = Array.from({ length: 30 }, (_, i) => i * 2 * (i % 2 === 0 ? 1 : 2)).reduce((a, b) => a + b);
    expect((await send(`${envoy.url}/loop`)).text).toBe(String(wanted));
  });
  test("deep in a recursion", async () => {
    // "42", and the lengths 41, 40 … 1 of the names.
    expect((await send(`${envoy.url}/deep`)).text).toBe(String(2 + 41 + (40 * 41) / 2));
  });
  test("in the middle of a recursion, many times", async () => {
    const walk = (depth: number, name: string): string => (depth === 0 ? "" : `${walk(depth - 1, `${name}l`)}/name/${name} ${walk(depth - 1, `${name}r`)}`);
    expect((await send(`${envoy.url}/tree`)).text).toBe(walk(4, "n"));
  });
  test("next() in nested functions and loops", async () => {
    expect((await send(`${envoy.url}/next-deep`)).headers["x-deep"]).toBe("200");
  });
  test("with values of every kind alive across the wait", async () => {
    expect((await send(`${envoy.url}/wide`)).text).toBe("1311768467294899695 1.5 2.25 123 v 44 slow");
  });
  test("200 streams at once, each with its own place in the code", async () => {
    const paths = ["/loop", "/deep", "/tree", "/wide", "/parts"];
    const alone = await Promise.all(paths.map(async (path) => (await send(envoy.url + path)).text));
    const answers = await Promise.all(Array.from({ length: 200 }, async (_, i) => (await send(envoy.url + paths[i % paths.length]!)).text));
    expect(answers).toEqual(answers.map((_, i) => alone[i % paths.length]));
  });
});
