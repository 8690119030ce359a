// Whole bodies: read and replaced in both directions, over HTTP/1 and HTTP/2, up to Envoy's buffer limit and beyond it.
import { createHash, randomInt } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clients, type Exchange } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTER = `
import { Filter, Json, NoConfig, Stream, filter } from "envoyscript-sdk";

@filter("whole")
export class Whole extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const request = stream.request;
    const path = request.path;
    if (path == "/request/text") {
      const text = request.text();
      request.headers.set("x-length", text.length.toString());
      request.headers.set("x-again", (request.text() == text && request.body.text() == text).toString());
    } else if (path == "/request/bytes") {
      const bytes = request.bytes();
      let sum: u32 = 0;
      for (let i = 0; i < bytes.length; i++) sum = sum * 31 + bytes[i];
      request.headers.set("x-sum", sum.toString());
      request.headers.set("x-size", bytes.length.toString());
    } else if (path == "/request/json") {
      const json = request.json();
      if (!json.ok) return stream.reply(400, json.error);
      json.set("password", Json.of("***"));
      json.set("n", Json.number(json.get("n").number + 1));
      request.headers.set("x-set", request.body.set(json).toString());
    } else if (path == "/request/set") {
      request.headers.set("x-set", request.body.set("a new body, longer than the old one").toString());
      request.headers.set("x-read", request.text());
    } else if (path == "/request/set-twice") {
      request.body.set("first, which is quite long");
      request.body.set("second");
      request.headers.set("x-read", request.text());
    } else if (path == "/request/set-empty") {
      request.headers.set("x-set", request.body.set("").toString());
    } else if (path == "/request/set-bytes") {
      const bytes = request.bytes();
      for (let i = 0; i < bytes.length; i++) bytes[i] ^= 255;
      request.body.set(bytes.subarray(1));
    } else if (path == "/request/grow") {
      request.body.set("x".repeat(1500000));
    }
    stream.next();
    const response = stream.response;
    if (path == "/request/late") {
      response.headers.set("x-late", "[" + request.text() + "]" + request.body.set("late").toString());
    } else if (path.startsWith("/response/text")) {
      const text = response.text();
      response.headers.set("x-length", text.length.toString());
      response.status = 202;
    } else if (path.startsWith("/response/json")) {
      const json = response.json();
      response.headers.set("x-ok", json.ok.toString());
      if (json.ok) {
        json.get("user").set("token", Json.of("***"));
        response.body.set(json);
      }
    } else if (path.startsWith("/response/set")) {
      response.headers.set("x-set", response.body.set("replaced äöü").toString());
    } else if (path.startsWith("/response/bytes")) {
      response.headers.set("x-size", response.bytes().length.toString());
    } else if (path.startsWith("/both")) {
      response.body.set(request.text() + "+" + response.text());
    }
  }
}`;

/** Reads only the request's body: another module, with other callbacks. */
const REQUEST_ONLY = `
import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
@filter("count")
export class Count extends Filter<NoConfig> {
  handle(stream: Stream): void {
    stream.request.headers.set("x-count", stream.request.bytes().length.toString());
  }
}`;

/** Reads only the response's body. */
const RESPONSE_ONLY = `
import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
@filter("mark")
export class Mark extends Filter<NoConfig> {
  handle(stream: Stream): void {
    stream.next();
    stream.response.headers.set("x-count", stream.response.bytes().length.toString());
  }
}`;

/** Pseudo-random numbers that a seed reproduces. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function bodyOf(size: number, next: (below: number) => number): Buffer {
  const body = Buffer.alloc(size);
  for (let i = 0; i < size; i++) body[i] = next(256);
  return body;
}

function split(body: Buffer, next: (below: number) => number): Buffer[] {
  const pieces: Buffer[] = [];
  const count = 1 + next(12);
  const cuts = [0, ...Array.from({ length: count - 1 }, () => next(body.length + 1)).sort((a, b) => a - b), body.length];
  for (let i = 0; i + 1 < cuts.length; i++) if (cuts[i + 1]! > cuts[i]!) pieces.push(body.subarray(cuts[i], cuts[i + 1]));
  return pieces.length ? pieces : [body];
}

const digest = (body: Buffer) => createHash("sha256").update(body).digest("hex");
const MiB = 1024 * 1024;

let envoy: TestEnvoy;
let payload: Buffer = Buffer.alloc(0);
let pieces: Buffer[] = [];
beforeAll(async () => {
  envoy = await startTestEnvoy({
    filter: FILTER,
    // The limit of an HTTP/2 stream is its receive window, 16 MiB unless configured; over HTTP/1 it is the connection's 1 MiB.
    hcm: { http2_protocol_options: { initial_stream_window_size: MiB } },
    upstream: async (request, response) => {
      const what = new URL(request.url, "http://x").searchParams;
      if (what.get("status")) response.statusCode = Number(what.get("status"));
      if (what.has("empty")) return void response.end();
      if (what.has("json")) return void response.end('{"user":{"name":"ann","token":"secret"},"list":[1,2.5,"ü"]}');
      if (what.has("payload")) {
        if (what.has("length")) response.setHeader("content-length", payload.length);
        for (const piece of pieces) {
          await new Promise<void>((written) => response.write(piece, () => written()));
          await new Promise((next) => setImmediate(next));
        }
        return void response.end();
      }
      if (what.has("length")) response.setHeader("content-length", 5);
      if (what.has("plain")) return void response.end("plain");
      response.end(JSON.stringify({ method: request.method, headers: request.headers, body: request.body.toString("latin1"), sum: digest(request.body) }));
    },
  });
});
afterAll(() => envoy?.close());

describe.each(clients)("the whole request body over %s", (_, client) => {
  const post = async (path: string, exchange: Exchange) => {
    const answer = await client(envoy.url + path, { method: "POST", ...exchange });
    return { answer, seen: answer.status === 200 ? JSON.parse(answer.text) : undefined };
  };

  test("text(): as text, also twice, and it goes on unchanged", async () => {
    const { seen } = await post("/request/text", { body: ["grüße ", "an ", "alle 😀"] });
    expect(seen.headers).toMatchObject({ "x-length": "16", "x-again": "true" });
    expect(Buffer.from(seen.body, "latin1").toString()).toBe("grüße an alle 😀");
  });

  test("bytes()", async () => {
    const body = Buffer.from([0, 255, 128, 13, 10, 0]);
    const { seen } = await post("/request/bytes", { body: [body] });
    expect(seen.headers).toMatchObject({ "x-size": "6", "x-sum": String([...body].reduce((sum, byte) => (Math.imul(sum, 31) + byte) >>> 0, 0)) });
  });

  test("json() and set(json), with and without content-length: the length is corrected", async () => {
    const text = '{"user":"ann","password":"secret","n":41}';
    const wanted = '{"user":"ann","password":"***","n":42}';
    const one = await post("/request/json", { body: [text], headers: { "content-length": String(text.length) } });
    expect(one.seen).toMatchObject({ body: wanted, headers: { "x-set": "true", "content-length": String(wanted.length) } });
    const two = await post("/request/json", { body: ['{"user":"ann",', '"password":"secret","n":41}'] });
    expect(two.seen.body).toBe(wanted);
    expect(two.seen.headers).not.toHaveProperty("content-length");
  });

  test("json() of something else says why", async () => {
    const { answer } = await post("/request/json", { body: ['{"user":'] });
    expect(answer.status).toBe(400);
    expect(answer.text).not.toBe("");
  });

  test("set(): longer, twice, empty, bytes", async () => {
    const one = await post("/request/set", { body: ["short"], headers: { "content-length": "5" } });
    expect(one.seen).toMatchObject({
      body: "a new body, longer than the old one",
      headers: { "content-length": "35", "x-set": "true", "x-read": "a new body, longer than the old one" },
    });
    const two = await post("/request/set-twice", { body: ["short"], headers: { "content-length": "5" } });
    expect(two.seen).toMatchObject({ body: "second", headers: { "content-length": "6", "x-read": "second" } });
    const three = await post("/request/set-empty", { body: ["short"], headers: { "content-length": "5" } });
    expect(three.seen).toMatchObject({ body: "", headers: { "content-length": "0", "x-set": "true" } });
    const four = await post("/request/set-bytes", { body: [Buffer.from([1, 2, 3])] });
    expect(four.seen.body).toBe("\xfd\xfc");
  });

  test("a message without a body has an empty one, and cannot be given one", async () => {
    const none = await post("/request/text", { method: "GET" });
    expect(none.seen).toMatchObject({ body: "", headers: { "x-length": "0" } });
    const set = await post("/request/set", { method: "GET" });
    expect(set.seen).toMatchObject({ body: "", headers: { "x-set": "false", "x-read": "" } });
    await envoy.logged(/error .*request body was not replaced: the message came without a body/);
  });

  test("is too late after next(): empty, and said", async () => {
    const { answer, seen } = await post("/request/late", { body: ["gone"] });
    expect(seen.body).toBe("gone");
    expect(answer.headers["x-late"]).toBe("[]false");
    await envoy.logged(/error .*request body was passed on already/);
    await envoy.logged(/error .*request body was not replaced: it was passed on already/);
  });

  test("a replacement is under Envoy's buffer limit too", async () => {
    const { answer } = await post("/request/grow", { body: ["small"], headers: { "content-length": "5" } });
    expect(answer.status).toBe(413);
  });
});

describe.each(clients)("the whole response body over %s", (_, client) => {
  test("text(), and headers can still be changed after it", async () => {
    const answer = await client(`${envoy.url}/response/text?plain`);
    expect(answer).toMatchObject({ status: 202, text: "plain" });
    expect(answer.headers["x-length"]).toBe("5");
  });

  test("json() and set(json)", async () => {
    const answer = await client(`${envoy.url}/response/json?json`);
    expect(answer.headers["x-ok"]).toBe("true");
    expect(answer.text).toBe('{"user":{"name":"ann","token":"***"},"list":[1,2.5,"ü"]}');
    const other = await client(`${envoy.url}/response/json?plain`);
    expect(other.headers["x-ok"]).toBe("false");
    expect(other.text).toBe("plain");
  });

  test("set() with and without content-length", async () => {
    for (const query of ["plain", "plain&length"]) {
      const answer = await client(`${envoy.url}/response/set?${query}`);
      expect(answer.text).toBe("replaced äöü");
      expect(answer.headers["x-set"]).toBe("true");
      if (query.includes("length")) expect(answer.headers["content-length"]).toBe("15");
    }
  });

  test("a response without a body (204, 304, HEAD, empty) cannot be given one, and nothing hangs", async () => {
    expect((await client(`${envoy.url}/response/set?empty&status=204`)).headers["x-set"]).toBe("false");
    expect((await client(`${envoy.url}/response/set?empty&status=304`)).headers["x-set"]).toBe("false");
    const head = await client(`${envoy.url}/response/set?plain&length`, { method: "HEAD" });
    expect(head.headers["x-set"]).toBe("false");
    expect(head.headers["content-length"]).toBe("5");
    expect((await client(`${envoy.url}/response/bytes?empty`)).headers["x-size"]).toBe("0");
    await envoy.logged(/error .*response body was not replaced: the message came without a body/);
  });

  test("request and response in one filter: the request is read when it is at hand", async () => {
    const late = await client(`${envoy.url}/both?plain`, { method: "POST", body: ["a"] });
    expect(late.text).toBe("+plain");
  });
});

describe("modules that only read one body", () => {
  test("request: counted, unchanged", async () => {
    const other = await startTestEnvoy({ filter: REQUEST_ONLY });
    try {
      for (const [, client] of clients) {
        const answer = await client(other.url, { body: ["12", "345"] });
        expect(JSON.parse(answer.text)).toMatchObject({ body: "12345", headers: { "x-count": "5" } });
        expect(JSON.parse((await client(other.url)).text).headers["x-count"]).toBe("0");
      }
    } finally {
      await other.close();
    }
  });

  test("response: counted, unchanged", async () => {
    const other = await startTestEnvoy({ filter: RESPONSE_ONLY });
    try {
      for (const [, client] of clients) {
        const answer = await client(other.url, { body: ["12", "345"] });
        expect(JSON.parse(answer.text).body).toBe("12345");
        expect(answer.headers["x-count"]).toBe(String(answer.body.length));
      }
    } finally {
      await other.close();
    }
  });
});

describe("bodies of all sizes, split anywhere", () => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31));
  test.each(clients)("request and response over %s", async (_, client) => {
    const next = random(seed);
    for (let round = 0; round < 25; round++) {
      const size = [next(10), next(1000), next(70_000), next(MiB - 1), MiB - 1][round % 5]!;
      payload = bodyOf(size, next);
      pieces = split(payload, next);
      const length = next(2) === 1;
      const context = `seed ${seed} round ${round} size ${size} pieces ${pieces.map((piece) => piece.length)}`;
      const request = await client(`${envoy.url}/request/bytes`, { method: "POST", body: pieces, headers: length ? { "content-length": String(size) } : {} });
      expect(request.status, context).toBe(200);
      const seen = JSON.parse(request.text);
      expect(seen.headers["x-size"], context).toBe(String(size));
      expect(seen.sum, context).toBe(digest(payload));
      const response = await client(`${envoy.url}/response/bytes?payload${length ? "&length" : ""}`);
      expect(response.headers["x-size"], context).toBe(String(size));
      expect(digest(response.body), context).toBe(digest(payload));
    }
  });
});

describe.each(clients)("a body over Envoy's buffer limit (1 MiB) over %s", (_, client) => {
  test("request: 413, response: 500, and the VM lives", async () => {
    const created = await envoy.stat("wasm.envoy.wasm.runtime.v8.created");
    const next = random(1);
    payload = bodyOf(2 * MiB, next);
    pieces = split(payload, next);
    const request = await client(`${envoy.url}/request/text`, { method: "POST", body: pieces, headers: { "content-length": String(payload.length) } }).catch(
      (error: Error) => error,
    );
    // Envoy answers and closes while the client still writes: over HTTP/1 that can reach the client as a broken connection.
    if (!(request instanceof Error)) expect(request.status).toBe(413);
    await envoy.accessLogged(/^\/request\/text 413 request_payload_too_large/);
    const response = await client(`${envoy.url}/response/text?payload`);
    expect(response.status).toBe(500);
    await envoy.accessLogged(/^\/response\/text\?payload 500 response_payload_too_large/);
    const fine = await client(`${envoy.url}/request/text`, { method: "POST", body: ["fine"] });
    expect(JSON.parse(fine.text)).toMatchObject({ body: "fine", headers: { "x-length": "4" } });
    expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.created")).toBe(created);
  });
});
