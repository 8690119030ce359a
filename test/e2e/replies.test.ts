// Replies, resets, next() called oddly, onLog, and the log with its levels.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clients, send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTER = `
import { Filter, Headers, Level, NoConfig, Stream, filter, log } from "envoyscript-sdk";

@filter("replies")
export class Replies extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const path = stream.request.path;
    if (path == "/plain") return stream.reply(403, "denied\\n");
    if (path == "/full") {
      const headers = new Headers().set("content-type", "application/json").append("set-cookie", "a=1").append("set-cookie", "b=2").set("X-Own", "1")
        .set("content-length", "999").set(":status", "204").set("connection", "x").set("transfer-encoding", "chunked").set("x-evil", "a\\r\\nb: c");
      return stream.reply(429, '{"e":"ü"}', headers, "too_many by_rule");
    }
    if (path == "/empty") return stream.reply(401);
    if (path == "/after-fetch") {
      stream.fetch("other", "/");
      return stream.reply(418, "late");
    }
    if (path == "/after-body") {
      const text = stream.request.text();
      return stream.reply(200, "got " + text);
    }
    if (path == "/goes-on") {
      stream.reply(200, "first");
      // Everything after a reply does nothing, and none of it may hurt.
      stream.next();
      stream.request.headers.set("x-after", "1");
      const answer = stream.fetch("other", "/never");
      const all = stream.fetchAll([]);
      while (stream.request.body.next()) {}
      stream.request.body.set("x");
      stream.response.headers.set("x-after", "1");
      log.info("after the reply: " + answer.error + " " + stream.request.text() + stream.response.text());
      return;
    }
    if (path.startsWith("/respond/")) {
      stream.next();
      const status = i32(parseInt(path.substring(9)));
      const was = stream.response.status.toString();
      stream.reply(status, "instead of " + was, new Headers().set("x-own", "1"), "replaced");
      stream.response.headers.set("x-after", "1");
      return;
    }
    if (path == "/respond-body") {
      stream.next();
      const text = stream.response.text();
      if (text.includes("secret")) stream.reply(502, "withheld");
      return;
    }
    if (path == "/respond-fetch") {
      stream.next();
      if (!stream.fetch("other", "/404").ok) stream.reply(503, "checked");
      return;
    }
    if (path == "/respond-late") {
      stream.next();
      while (stream.response.body.next()) stream.reply(500, "too late");
      return;
    }
    if (path == "/reset") return stream.reset();
    if (path == "/reset-after-fetch") {
      stream.fetch("other", "/");
      return stream.reset();
    }
    if (path == "/reset-response") {
      stream.next();
      stream.reset();
      return;
    }
    if (path == "/reset-twice") {
      stream.reset();
      stream.reset();
      stream.reply(200, "no");
      stream.next();
      return;
    }
    if (path == "/next-twice") {
      stream.next();
      stream.response.headers.set("x-first", "1");
      stream.next();
      stream.response.headers.set("x-second", stream.response.headers.get("x-first")!);
      return;
    }
    if (path == "/no-next") {
      stream.request.headers.set("x-seen", "1");
      return;
    }
    if (path.startsWith("/levels?")) {
      const n = stream.request.query;
      log.trace(n + " trace"); log.debug(n + " debug"); log.info(n + " info"); log.warn(n + " warning"); log.error(n + " error"); log.critical(n + " critical");
      stream.reply(200, log.isEnabled(Level.Trace).toString() + log.isEnabled(Level.Debug).toString() + log.isEnabled(Level.Info).toString() + log.isEnabled(Level.Critical).toString());
      return;
    }
    stream.next();
  }

  onLog(stream: Stream): void {
    if (stream.request.path.startsWith("/quiet")) return;
    const mark = stream.request.headers.get("x-mark");
    log.info("done: " + stream.request.method + " " + stream.request.path + " " + stream.response.status.toString() + " " + (mark === null ? "-" : mark));
    // None of these can work here, and none may hurt.
    if (mark !== null && mark == "meddle") {
      stream.reply(500, "x");
      stream.reset();
      stream.next();
      log.info("meddled: " + stream.fetch("other", "/").error + stream.request.headers.set("x-a", "1").toString() + stream.request.text() + stream.request.trailers.length.toString());
    }
  }
}`;

let envoy: TestEnvoy;
beforeAll(async () => {
  envoy = await startTestEnvoy({
    filter: FILTER,
    upstream: (seen, response) => {
      response.setHeader("x-upstream", "1");
      response.end(seen.url === "/respond-body" ? "a secret" : JSON.stringify(seen.headers));
    },
    clusters: {
      other: (seen, response) => {
        if (seen.url === "/404") response.statusCode = 404;
        response.end("other");
      },
    },
  });
});
afterAll(() => envoy?.close());

describe.each(clients)("a reply over %s", (name, client) => {
  const get = (path: string, exchange = {}) => client(envoy.url + path, exchange);

  test("has status and body; nothing goes upstream", async () => {
    const upstream = envoy.upstream.seen.length;
    const answer = await get("/plain");
    expect(answer).toMatchObject({ status: 403, text: "denied\n" });
    expect(answer.headers).toMatchObject({ "content-type": "text/plain", "content-length": "7" });
    expect(envoy.upstream.seen.length).toBe(upstream);
    await envoy.accessLogged(/^\/plain 403 envoyscript_reply$/);
  });

  test("has headers and details; framing is not the filter's", async () => {
    const answer = await get("/full");
    expect(answer).toMatchObject({ status: 429, text: '{"e":"ü"}' });
    expect(answer.headers).toMatchObject({ "content-type": "application/json", "set-cookie": ["a=1", "b=2"], "x-own": "1", "content-length": "10" });
    expect(answer.headers).not.toHaveProperty("x-evil");
    expect(answer.headers).not.toHaveProperty("b");
    expect(answer.headers).not.toHaveProperty("transfer-encoding");
    await envoy.accessLogged(/^\/full 429 too_many_by_rule$/);
  });

  test("without a body, to HEAD, after a fetch, after the body", async () => {
    const empty = await get("/empty");
    expect(empty).toMatchObject({ status: 401, text: "" });
    if (name === "HTTP/1") expect(empty.headers["content-length"]).toBe("0");
    expect(await get("/plain", { method: "HEAD" })).toMatchObject({ status: 403, text: "" });
    expect(await get("/after-fetch")).toMatchObject({ status: 418, text: "late" });
    expect(await get("/after-fetch", { body: ["a", "b"] })).toMatchObject({ status: 418, text: "late" });
    expect(await get("/after-body", { body: ["one ", "two"] })).toMatchObject({ status: 200, text: "got one two" });
  });

  test("to a gRPC request becomes a gRPC status", async () => {
    const answer = await get("/plain", { method: "POST", body: ["x"], headers: { "content-type": "application/grpc" } });
    expect(answer).toMatchObject({ status: 200, text: "" });
    // 403 is PERMISSION_DENIED.
    expect(answer.headers["grpc-status"]).toBe("7");
  });

  test("ends the filter's say: what it does afterwards has no effect", async () => {
    for (const exchange of [{}, { method: "POST", body: ["body"] }]) {
      const answer = await get("/goes-on", exchange);
      expect(answer).toMatchObject({ status: 200, text: "first" });
      expect(answer.headers).not.toHaveProperty("x-after");
    }
    await envoy.logged(/info .*after the reply: the stream is over $/);
  });

  test("in the response phase replaces the response", async () => {
    const answer = await get("/respond/404");
    expect(answer).toMatchObject({ status: 404, text: "instead of 200" });
    expect(answer.headers["x-own"]).toBe("1");
    expect(answer.headers).not.toHaveProperty("x-upstream");
    expect(answer.headers).not.toHaveProperty("x-after");
    await envoy.accessLogged(/^\/respond\/404 404 replaced$/);
    expect(await get("/respond-body")).toMatchObject({ status: 502, text: "withheld" });
    expect(await get("/respond-fetch")).toMatchObject({ status: 503, text: "checked" });
    expect(await get("/respond/204")).toMatchObject({ status: 204, text: "" });
  });

  test("after the response headers went resets the stream", async () => {
    await expect(get("/respond-late")).rejects.toThrow();
    await envoy.accessLogged(/^\/respond-late 200 envoyscript_reply$/);
  });

  test("reset(): no answer at all, in any phase", async () => {
    for (const path of ["/reset", "/reset-after-fetch", "/reset-response", "/reset-twice"]) {
      await expect(get(path), path).rejects.toThrow();
      await expect(get(path, { method: "POST", body: ["a", "b"] }), path).rejects.toThrow();
    }
    await envoy.accessLogged(/^\/reset 0 wasm_close_stream$/);
    expect((await get("/plain")).status).toBe(403);
  });

  test("next() a second time does nothing but warn; no next() lets everything pass", async () => {
    expect((await get("/next-twice")).headers).toMatchObject({ "x-first": "1", "x-second": "1" });
    await envoy.logged(/warning .*next\(\) was called a second time: ignored/);
    const answer = await get("/no-next");
    expect(JSON.parse(answer.text)["x-seen"]).toBe("1");
  });

  test("onLog runs once when the stream is over, whatever became of it", async () => {
    const lines = (pattern: RegExp) => envoy.logs.filter((line) => pattern.test(line)).length;
    for (const [path, status] of [
      ["/plain", 403],
      ["/pass", 200],
      ["/respond/404", 404],
    ] as const) {
      const mark = `${name}${path}`;
      await get(path, { headers: { "x-mark": mark } });
      const wanted = new RegExp(`info .*done: GET ${path} ${status} ${mark}$`);
      await envoy.logged(wanted);
      expect(lines(wanted)).toBe(1);
    }
    await get("/reset", { headers: { "x-mark": name } }).catch(() => {});
    await envoy.logged(new RegExp(`info .*done: GET /reset 0 ${name}$`));
  });

  test("onLog cannot reply, reset, wait or write, and trying hurts nobody", async () => {
    expect((await get("/pass", { headers: { "x-mark": "meddle" } })).status).toBe(200);
    await envoy.logged(/info .*meddled: the stream is overfalse0$/);
    expect((await get("/plain")).status).toBe(403);
  });
});

test("onLog sees request and response of a filter that looked at neither before", async () => {
  const other = await startTestEnvoy({
    filter: `
      import { Filter, NoConfig, Stream, filter, log } from "envoyscript-sdk";
      @filter("x")
      export class X extends Filter<NoConfig> {
        handle(stream: Stream): void {}
        onLog(stream: Stream): void {
          log.info("over: " + stream.request.method + " " + stream.request.path + " " + stream.response.status.toString() + " " + stream.response.headers.get("x-upstream")!);
        }
      }`,
    upstream: (_, response) => void response.writeHead(203, { "x-upstream": "1" }).end(),
  });
  try {
    await send(`${other.url}/a`);
    await other.logged(/info .*over: GET \/a 203 1$/);
  } finally {
    await other.close();
  }
});

test("levels: what lies below the logger's is not written; the level can change while Envoy runs", async () => {
  let round = 0;
  /** The lines that one request wrote, and what isEnabled said of trace, debug, info and critical. */
  const shown = async () => {
    const name = `round${++round}`;
    const { text } = await send(`${envoy.url}/levels?${name}`);
    await envoy.logged(new RegExp(`critical .*: ${name} critical$`));
    return { lines: envoy.logs.filter((line) => line.includes(`: ${name} `)).map((line) => line.split(" ")[0]), text };
  };
  const set = (level: string) => fetch(`${envoy.adminUrl}/logging?wasm=${level}`, { method: "POST" });
  const all = ["trace", "debug", "info", "warning", "error", "critical"];
  expect(await shown()).toEqual({ lines: all.slice(2), text: "falsefalsetruetrue" });
  await set("debug");
  expect(await shown()).toEqual({ lines: all.slice(1), text: "falsetruetruetrue" });
  await set("error");
  expect(await shown()).toEqual({ lines: all.slice(4), text: "falsefalsefalsetrue" });
  await set("trace");
  expect(await shown()).toEqual({ lines: all, text: "truetruetruetrue" });
  await set("info");
  expect(await shown()).toEqual({ lines: all.slice(2), text: "falsefalsetruetrue" });
});
