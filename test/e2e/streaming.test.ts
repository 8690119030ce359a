// Bodies read chunk by chunk as they pass, and trailers, in both directions.
import { createHash, randomInt } from "node:crypto";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clients } from "../harness/client.js";
import { type Handler, startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTER = `
import { Body, Filter, NoConfig, Request, Response, Stream, filter } from "envoyscript-sdk";

function shout(text: string): string {
  return text.toUpperCase();
}

@filter("chunks")
export class Chunks extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const path = stream.request.path;
    if (path.startsWith("/request/")) {
      this.request(stream, path.substring(9), stream.request.body);
      stream.next();
      return;
    }
    stream.next();
    if (path.startsWith("/response/")) this.response(stream, path.substring(10), stream.response.body);
  }

  request(stream: Stream, what: string, body: Body<Request>): void {
    if (what == "pass") {
      let size = 0;
      let seen = 0;
      while (body.next()) { size += body.size; seen += body.chunk.length; }
      stream.request.headers.get("x-any");
      if (size != seen) stream.reply(500, "sizes differ");
    } else if (what == "replace") {
      while (body.next()) body.replace(shout(body.chunkText));
    } else if (what == "drop") {
      let n = 0;
      while (body.next()) if (body.chunkText.includes("no")) body.drop();
    } else if (what == "append") {
      while (body.next()) body.append("|");
    } else if (what == "twice") {
      while (body.next()) { body.replace("<" + body.chunkText + ">"); body.append("+"); body.replace(body.chunkText + "!"); }
    } else if (what == "end") {
      while (body.next()) {}
      body.append("the end");
    } else if (what == "fetch") {
      while (body.next()) {
        const text = body.chunkText;
        const answer = stream.fetch("other", "/x", null, "POST", text);
        body.replace(answer.text() + "(" + body.chunkText + ")");
      }
    } else if (what == "fetch-end") {
      while (body.next()) {}
      body.append(stream.fetch("other", "/end").text());
    } else if (what == "break") {
      while (body.next()) { body.replace("first"); break; }
    } else if (what == "break-fetch") {
      while (body.next()) { body.replace("first"); break; }
      stream.fetch("other", "/slow");
    } else if (what == "wrong") {
      while (body.next()) {}
      stream.request.headers.set("x-after", "1");
      stream.request.text();
    } else if (what == "reply") {
      while (body.next()) if (body.chunkText.includes("bad")) return stream.reply(422, "bad chunk");
    } else if (what == "outside") {
      body.replace("not in a loop");
    }
  }

  response(stream: Stream, what: string, body: Body<Response>): void {
    if (what == "pass") {
      let size = 0;
      while (body.next()) size += body.size;
    } else if (what == "replace") {
      while (body.next()) body.replace(shout(body.chunkText));
    } else if (what == "drop") {
      while (body.next()) if (body.chunkText.includes("no")) body.drop();
    } else if (what == "append") {
      while (body.next()) body.append("|");
    } else if (what == "end") {
      while (body.next()) {}
      body.append("the end");
    } else if (what == "fetch") {
      while (body.next()) {
        const answer = stream.fetch("other", "/x", null, "POST", body.chunkText);
        body.replace(answer.text() + "(" + body.chunkText + ")");
      }
    } else if (what == "break") {
      while (body.next()) { body.replace("first"); break; }
    } else if (what == "headers") {
      stream.response.headers.set("x-before", "1");
      while (body.next()) stream.response.headers.set("x-inside", "1");
    }
  }
}`;

/** Every piece comes as a chunk of its own: the next is written when the other side has seen the one before. */
function stepwise(
  port: number,
  path: string,
  pieces: string[],
  step: (n: number) => Promise<void>,
): Promise<{ status: number; text: string; headers: http.IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ port, path, method: "POST", agent: false });
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, text, headers: response.headers }));
    });
    void (async () => {
      for (const [n, piece] of pieces.entries()) {
        request.write(piece);
        await step(n);
      }
      request.end();
    })().catch(reject);
  });
}

const digest = (body: Buffer) => createHash("sha256").update(body).digest("hex");
describe("a streamed body", () => {
  let envoy: TestEnvoy;
  let answerWith: Handler | undefined;
  /** Bytes the upstream got so far of the request in work, and who waits for them. */
  let arrived = "";
  const waiting: (() => void)[] = [];
  let slow: (() => void) | undefined;
  const upTo = async (wanted: () => boolean) => {
    while (!wanted()) await new Promise<void>((resolve) => waiting.push(resolve));
  };

  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: FILTER,
      upstreamOptions: { early: true },
      upstream: async (seen, response, raw) => {
        if (answerWith) return answerWith(seen, response, raw);
        arrived = "";
        for await (const chunk of raw) {
          arrived += chunk.toString("latin1");
          for (const resolve of waiting.splice(0)) resolve();
        }
        response.end(JSON.stringify({ headers: raw.headers, body: arrived }));
      },
      clusters: {
        other: (seen, response) => {
          if (seen.url === "/slow") slow = () => response.end("slow");
          else response.end(seen.url === "/end" ? "end" : seen.body.toString().length.toString());
          for (const resolve of waiting.splice(0)) resolve();
        },
      },
    });
  });
  afterAll(() => envoy?.close());

  /** Sends pieces one by one to the request side; `shown[n]` is what the upstream has when piece n has passed. */
  async function pieceByPiece(what: string, pieces: string[], shown: string[]): Promise<{ body: string; headers: Record<string, string> }> {
    answerWith = undefined;
    arrived = "";
    const answer = await stepwise(envoy.port, `/request/${what}`, pieces, (n) => upTo(() => arrived === shown[n]));
    expect(answer.status).toBe(200);
    return JSON.parse(answer.text);
  }

  test("request: passes as it comes, before the rest has been sent", async () => {
    expect((await pieceByPiece("pass", ["one", "two", "three"], ["one", "onetwo", "onetwothree"])).body).toBe("onetwothree");
  });
  test("request: replace", async () => {
    expect((await pieceByPiece("replace", ["one", "two"], ["ONE", "ONETWO"])).body).toBe("ONETWO");
  });
  test("request: drop", async () => {
    expect((await pieceByPiece("drop", ["yes", "yes again"], ["yes", "yesyes again"])).body).toBe("yesyes again");
    for (const [, client] of clients) {
      const answer = await client(`${envoy.url}/request/drop`, { method: "POST", body: ["no"], headers: { "content-length": "2" } });
      expect(JSON.parse(answer.text).body).toBe("");
    }
  });
  test("request: append to each chunk", async () => {
    expect((await pieceByPiece("append", ["one", "two"], ["one|", "one|two|"])).body).toBe("one|two|");
  });
  test("request: replace and append to one chunk, more than once", async () => {
    expect((await pieceByPiece("twice", ["one", "two"], ["<one>+!", "<one>+!<two>+!"])).body).toBe("<one>+!<two>+!");
  });
  test("request: append after the loop", async () => {
    expect((await pieceByPiece("end", ["one", "two"], ["one", "onetwo"])).body).toBe("onetwothe end");
  });
  test("request: a fetch in the middle of the loop; the chunk can be replaced after it", async () => {
    expect((await pieceByPiece("fetch", ["one", "seven"], ["3(one)", "3(one)5(seven)"])).body).toBe("3(one)5(seven)");
  });
  test("request: a fetch after the loop, then an append", async () => {
    expect((await pieceByPiece("fetch-end", ["one", "two"], ["one", "onetwo"])).body).toBe("onetwoend");
  });
  test("request: after a break the rest passes unchanged", async () => {
    expect((await pieceByPiece("break", ["one", "two", "three"], ["first", "firsttwo", "firsttwothree"])).body).toBe("firsttwothree");
  });
  test("request: a fetch after a break holds the rest until it is answered", async () => {
    answerWith = undefined;
    arrived = "";
    slow = undefined;
    const answer = await stepwise(envoy.port, "/request/break-fetch", ["one", "two", "three"], async (n) => {
      if (n === 0) await upTo(() => slow !== undefined);
      if (n === 2) {
        // The upstream has seen nothing of "two": it is behind the callout.
        expect(arrived).not.toContain("two");
        slow!();
        await upTo(() => arrived === "firsttwothree");
      }
    });
    expect(JSON.parse(answer.text).body).toBe("firsttwothree");
  });
  test("request: headers and whole body are out of reach after the loop, and the log says so", async () => {
    const seen = await pieceByPiece("wrong", ["one"], ["one"]);
    expect(seen.body).toBe("one");
    expect(seen.headers).not.toHaveProperty("x-after");
    await envoy.logged(/error .*header "x-after" not changed: the headers were sent on already/);
    await envoy.logged(/error .*request body is read chunk by chunk already/);
  });
  test("request: replace outside of a loop is refused", async () => {
    expect((await pieceByPiece("outside", ["one"], ["one"])).body).toBe("one");
    await envoy.logged(/error .*request body was not changed: no chunk is at hand here/);
  });
  test("request: content-length goes, because the length may change", async () => {
    for (const [, client] of clients) {
      const answer = await client(`${envoy.url}/request/append`, { method: "POST", body: ["one"], headers: { "content-length": "3" } });
      const seen = JSON.parse(answer.text);
      expect(seen.body).toBe("one|");
      expect(seen.headers).not.toHaveProperty("content-length");
    }
  });
  test("request: a reply in the middle of the loop reaches the client", async () => {
    answerWith = undefined;
    for (const [, client] of clients) {
      const answer = await client(`${envoy.url}/request/reply`, { method: "POST", body: ["good ", "bad ", "more"] });
      expect(answer).toMatchObject({ status: 422, text: "bad chunk" });
    }
  });
  test("request without a body: the loop does not run, and an append has nothing to go to", async () => {
    for (const [, client] of clients) {
      for (const what of ["pass", "replace", "end", "fetch", "fetch-end"]) {
        const answer = await client(`${envoy.url}/request/${what}`);
        expect(JSON.parse(answer.text).body).toBe("");
      }
    }
  });

  /** The upstream answers in pieces; the next one goes when the client has what the filter made of the one before. */
  function responseBy(
    path: string,
    pieces: string[],
    shown: string[],
    headers: Record<string, string> = {},
  ): Promise<{ text: string; headers: http.IncomingHttpHeaders }> {
    let got = "";
    let wake: () => void = () => {};
    answerWith = async (_, response) => {
      response.writeHead(200, headers);
      for (const [n, piece] of pieces.entries()) {
        response.write(piece);
        while (got !== shown[n]) await new Promise<void>((resolve) => (wake = resolve));
      }
      response.end();
    };
    return new Promise((resolve, reject) => {
      http
        .get(`${envoy.url}${path}`, { agent: false }, (response) => {
          response.on("data", (chunk) => {
            got += chunk;
            wake();
          });
          response.on("error", reject);
          response.on("end", () => resolve({ text: got, headers: response.headers }));
        })
        .on("error", reject);
    });
  }

  test("response: passes, replaces, drops, appends, each chunk as it comes", async () => {
    expect((await responseBy("/response/pass", ["one", "two"], ["one", "onetwo"])).text).toBe("onetwo");
    expect((await responseBy("/response/replace", ["one", "two"], ["ONE", "ONETWO"])).text).toBe("ONETWO");
    expect((await responseBy("/response/drop", ["one", "no", "two"].slice(0, 1), ["one"])).text).toBe("one");
    expect((await responseBy("/response/append", ["one", "two"], ["one|", "one|two|"])).text).toBe("one|two|");
    expect((await responseBy("/response/end", ["one", "two"], ["one", "onetwo"])).text).toBe("onetwothe end");
  });
  test("response: a dropped chunk leaves the rest", async () => {
    answerWith = (_, response) => void response.end("no");
    for (const [, client] of clients) expect((await client(`${envoy.url}/response/drop`)).text).toBe("");
  });
  test("response: fetch in the loop", async () => {
    expect((await responseBy("/response/fetch", ["one", "seven"], ["3(one)", "3(one)5(seven)"])).text).toBe("3(one)5(seven)");
  });
  test("response: break", async () => {
    expect((await responseBy("/response/break", ["one", "two"], ["first", "firsttwo"])).text).toBe("firsttwo");
  });
  test("response: headers are writable before the loop and not in it; content-length goes", async () => {
    const answer = await responseBy("/response/headers", ["one"], ["one"], { "content-length": "3" });
    expect(answer.headers["x-before"]).toBe("1");
    expect(answer.headers).not.toHaveProperty("x-inside");
    expect(answer.headers).not.toHaveProperty("content-length");
    await envoy.logged(/error .*header "x-inside" not changed: the headers were sent on already/);
  });
  test("response without a body", async () => {
    for (const status of [204, 304]) {
      answerWith = (_, response) => void response.writeHead(status).end();
      for (const [, client] of clients) expect(await client(`${envoy.url}/response/end`)).toMatchObject({ status, text: "" });
    }
    answerWith = (_, response) => void response.writeHead(200, { "content-length": "5" }).end();
    for (const [, client] of clients) expect((await client(`${envoy.url}/response/replace`, { method: "HEAD" })).text).toBe("");
  });

  test.each(clients)("bodies far beyond the buffer limit pass both ways, split anywhere, over %s", async (_, client) => {
    const seed = Number(process.env.SEED ?? randomInt(2 ** 31));
    let state = seed;
    const next = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let round = 0; round < 4; round++) {
      const size = 3_000_000 + next(1_000_000);
      const body = Buffer.alloc(size);
      for (let i = 0; i < size; i++) body[i] = 97 + next(26);
      const pieces: Buffer[] = [];
      for (let at = 0; at < size; ) {
        const length = Math.min(size - at, 1 + next([10, 70_000, 400_000][next(3)]!));
        pieces.push(body.subarray(at, at + length));
        at += length;
      }
      const context = `seed ${seed} round ${round} pieces ${pieces.length}`;
      const upper = digest(Buffer.from(body.toString("latin1").toUpperCase(), "latin1"));
      answerWith = async (_, response, raw) => {
        const got: Buffer[] = [];
        for await (const chunk of raw) got.push(chunk);
        response.end(digest(Buffer.concat(got)));
      };
      expect((await client(`${envoy.url}/request/replace`, { method: "POST", body: pieces })).text, context).toBe(upper);
      expect((await client(`${envoy.url}/request/pass`, { method: "POST", body: pieces, headers: { "content-length": String(size) } })).text, context).toBe(
        digest(body),
      );
      answerWith = async (_, response) => {
        for (const piece of pieces) if (!response.write(piece)) await new Promise<void>((drained) => response.once("drain", () => drained()));
        response.end();
      };
      expect(digest((await client(`${envoy.url}/response/replace`)).body), context).toBe(upper);
      expect(digest((await client(`${envoy.url}/response/pass`)).body), context).toBe(digest(body));
    }
  });
});

const TRAILERS = `
import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
@filter("trailers")
export class Trailers extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const path = stream.request.path;
    if (path == "/request/read") {
      const t = stream.request.trailers;
      const value = t.get("x-sum");
      stream.request.headers.set("x-saw", (value === null ? "none" : value) + " " + t.length.toString());
    } else if (path == "/request/body-first") {
      const text = stream.request.text();
      stream.request.headers.set("x-saw", text + " " + stream.request.trailers.getAll("x-sum").join("|"));
      stream.request.body.set(text + "!");
    } else if (path == "/request/write") {
      const t = stream.request.trailers;
      const did = t.set("x-added", "1").toString() + t.append("x-sum", "2").toString() + t.delete("x-gone").toString() + t.set(":path", "/").toString() + t.set("x-bad", "a\\nb").toString();
      stream.request.headers.set("x-did", did);
    } else if (path == "/request/loop") {
      while (stream.request.body.next()) {}
      stream.request.trailers.set("x-added", "loop");
    } else if (path == "/request/loop-fetch") {
      while (stream.request.body.next()) {}
      stream.request.trailers.set("x-added", "loop");
      stream.fetch("upstream", "/other");
      stream.request.trailers.set("x-too-late", "1");
    }
    stream.next();
    if (path == "/response/read") {
      const value = stream.response.trailers.get("x-check");
      stream.response.headers.set("x-saw", value === null ? "none" : value);
    } else if (path == "/response/write") {
      const t = stream.response.trailers;
      stream.response.headers.set("x-did", t.set("x-added", "1").toString() + t.delete("x-gone").toString() + t.append("x-check", "b").toString());
    } else if (path == "/response/loop") {
      let size = 0;
      while (stream.response.body.next()) size += stream.response.body.size;
      stream.response.trailers.set("x-size", size.toString());
      stream.response.trailers.delete("x-gone");
    } else if (path == "/response/late") {
      stream.response.headers.set("x-now", stream.response.trailers.set("x-added", "1").toString());
    }
  }
}`;

describe("trailers", () => {
  let envoy: TestEnvoy;
  let trailers: Record<string, string> | undefined;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: TRAILERS,
      // Envoy speaks trailers to an HTTP/1 upstream only where its cluster is told to.
      upstreamOptions: { http2: true },
      upstream: (seen, response) => {
        response.write(JSON.stringify({ headers: seen.headers, body: seen.body.toString(), trailers: seen.trailers }));
        if (trailers) response.addTrailers(trailers);
        response.end();
      },
    });
  });
  afterAll(() => envoy?.close());

  describe.each(clients)("over %s", (_, client) => {
    const post = async (path: string, body: string[], given?: Record<string, string>) =>
      JSON.parse((await client(envoy.url + path, { method: "POST", body, ...(given ? { trailers: given } : {}) })).text);

    test("of the request: read, with the body before them or without", async () => {
      expect((await post("/request/read", ["a", "b"], { "x-sum": "7" })).headers["x-saw"]).toBe("7 1");
      expect((await post("/request/read", ["a"])).headers["x-saw"]).toBe("none 0");
      const both = await post("/request/body-first", ["a", "b"], { "x-sum": "7" });
      expect(both).toMatchObject({ body: "ab!", headers: { "x-saw": "ab 7" }, trailers: { "x-sum": "7" } });
      const none = JSON.parse((await client(`${envoy.url}/request/read`)).text);
      expect(none.headers["x-saw"]).toBe("none 0");
    });

    test("of the request: written, refused where HTTP has no such", async () => {
      const seen = await post("/request/write", ["a"], { "x-sum": "1", "x-gone": "1" });
      expect(seen.headers["x-did"]).toBe("truetruetruefalsefalse");
      expect(seen.trailers).toEqual({ "x-sum": "1, 2", "x-added": "1" });
    });

    test("of the request: made where there are none, and after a loop", async () => {
      // Where the body was held Envoy 1.40 would send them twice: refused.
      expect(await post("/request/write", ["a"])).toMatchObject({ body: "a", headers: { "x-did": "falsefalsefalsefalsefalse" }, trailers: {} });
      expect(await post("/request/loop", ["a", "b"], { "x-sum": "1" })).toMatchObject({ body: "ab", trailers: { "x-sum": "1", "x-added": "loop" } });
      expect(await post("/request/loop", ["a", "b"])).toMatchObject({ body: "ab", trailers: { "x-added": "loop" } });
    });

    test("of the request: made before a fetch, which then cannot hold the message any more", async () => {
      expect(await post("/request/loop-fetch", ["a", "b"])).toEqual(expect.objectContaining({ body: "ab", trailers: { "x-added": "loop" } }));
      expect(await post("/request/loop-fetch", ["a", "b"], { "x-sum": "1" })).toMatchObject({ body: "ab", trailers: { "x-sum": "1", "x-added": "loop" } });
    });

    test("of the response: read and written, after a loop too", async () => {
      trailers = { "x-check": "a", "x-gone": "1" };
      const read = await client(`${envoy.url}/response/read`);
      expect(read.headers["x-saw"]).toBe("a");
      expect(read.trailers).toMatchObject({ "x-check": "a", "x-gone": "1" });
      const written = await client(`${envoy.url}/response/write`);
      expect(written.headers["x-did"]).toBe("truetruetrue");
      expect(written.trailers).toMatchObject({ "x-check": "a, b", "x-added": "1" });
      expect(written.trailers).not.toHaveProperty("x-gone");
      const loop = await client(`${envoy.url}/response/loop`);
      expect(loop.trailers).toMatchObject({ "x-check": "a", "x-size": String(loop.body.length) });
      expect(loop.trailers).not.toHaveProperty("x-gone");
    });

    test("of the response: made where there are none", async () => {
      trailers = undefined;
      expect((await client(`${envoy.url}/response/read`)).headers["x-saw"]).toBe("none");
      const loop = await client(`${envoy.url}/response/loop`);
      expect(loop.trailers).toEqual(expect.objectContaining({ "x-size": String(loop.body.length) }));
      expect((await client(`${envoy.url}/response/write`)).headers["x-did"]).toBe("falsefalsefalse");
    });
  });
});

test("trailers that are made end a chunked message once, over HTTP/1 connections that go on being used", async () => {
  let upstreamGot = "";
  let fed: () => void = () => {};
  const upstream = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      upstreamGot += data;
      fed();
      if (upstreamGot.includes("0\r\n")) socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n");
    });
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", () => resolve()));
  const { port } = upstream.address() as AddressInfo;
  const envoy = await startTestEnvoy({
    filter: TRAILERS,
    clusters: { raw: `http://127.0.0.1:${port}` },
    hcm: { route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "raw" } }] }] } },
  });
  try {
    for (const path of ["/request/write", "/request/loop", "/response/write", "/response/loop"]) {
      upstreamGot = "";
      const client = net.connect(envoy.port, "127.0.0.1");
      let clientGot = "";
      const answered = (count: number) =>
        new Promise<void>((resolve) => {
          const look = () => {
            if (clientGot.split("HTTP/1.1 200").length <= count || !/0\r\n(.+\r\n)*\r\n$/.test(clientGot)) return;
            client.off("data", look);
            resolve();
          };
          client.on("data", look);
        });
      client.on("data", (data) => (clientGot += data));
      const request = `POST ${path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`;
      client.write(request);
      await answered(1);
      // What an extra end would leave on the connections stands before the second message.
      const second = [answered(2), new Promise<void>((resolve) => (fed = resolve))];
      client.write(`POST /second HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n`);
      await Promise.all(second);
      expect(upstreamGot.match(/\r\n\r\n1\r\na\r\n0\r\n\r\n(.*)/)?.[1], path).toMatch(/^POST \/second/);
      expect(clientGot.match(/\r\n\r\n1\r\nz\r\n0\r\n(?:x-size: 1\r\n)?\r\n(.*)/)?.[1], path).toMatch(/^HTTP\/1.1 200/);
      client.destroy();
    }
  } finally {
    await envoy.close();
    upstream.close();
  }
});
