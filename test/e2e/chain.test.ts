// Several filters in one module: chosen by root_id, or chained by configuration, each isolated from the others.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clients, send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTERS = `
import { Filter, NoConfig, OnError, Stream, filter, log } from "envoyscript-sdk";

class Name { name: string = "?"; }

/** Marks the way in and out; what it does beside depends on the header \`x-<name>\`. */
@filter("mark")
export class Mark extends Filter<Name> {
  handle(stream: Stream): void {
    const name = this.config.name;
    const what = stream.request.headers.get("x-" + name);
    const way = stream.request.headers.get("x-way");
    stream.request.headers.set("x-way", (way === null ? "" : way) + name);
    if (what !== null) {
      if (what == "reply") return stream.reply(403, "no, says " + name);
      if (what == "fetch-reply") { stream.fetch("other", "/"); return stream.reply(403, "no, says " + name); }
      if (what == "fetch") stream.request.headers.append("x-fetched", name + stream.fetch("other", "/").text());
      if (what == "fault") assert(false, name + " is broken");
      if (what == "fetch-fault") { stream.fetch("other", "/"); assert(false, name + " is broken"); }
      if (what == "leave") return;
      if (what == "body") stream.request.body.set(stream.request.text() + name);
      if (what == "loop") while (stream.request.body.next()) stream.request.body.append(name);
      if (what == "reset") return stream.reset();
    }
    stream.next();
    const back = stream.response.headers.get("x-back");
    stream.response.headers.set("x-back", (back === null ? "" : back) + name + stream.response.status.toString() + ";");
    if (what !== null) {
      if (what == "response-reply") return stream.reply(502, "gone, says " + name);
      if (what == "response-fault") assert(false, name + " is broken");
      if (what == "response-fetch") stream.response.headers.append("x-fetched", name + stream.fetch("other", "/").text());
      if (what == "response-body") stream.response.body.set(stream.response.text() + name);
      if (what == "response-loop") while (stream.response.body.next()) stream.response.body.append(name);
      if (what == "response-loop-fault") while (stream.response.body.next()) assert(false, name + " is broken");
      if (what == "status") stream.response.status = 299;
    }
  }
  onLog(stream: Stream): void {
    const what = stream.request.headers.get("x-" + this.config.name);
    if (what !== null && what == "log-fault") assert(false, this.config.name + " is broken");
    log.debug("logged by " + this.config.name);
  }
}

@filter("open", OnError.Open)
export class Open extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const what = stream.request.headers.get("x-open");
    stream.request.headers.set("x-open-was-here", "1");
    if (what !== null) {
      if (what == "fault") unreachable();
      if (what == "fetch-fault") { stream.fetch("other", "/"); unreachable(); }
      if (what == "body-fault") { stream.request.text(); unreachable(); }
      if (what == "loop-fault") while (stream.request.body.next()) unreachable();
    }
    stream.next();
    if (what !== null) {
      if (what == "response-fault") unreachable();
      if (what == "response-fetch-fault") { stream.fetch("other", "/"); unreachable(); }
      if (what == "response-body-fault") { stream.response.text(); unreachable(); }
      if (what == "response-loop-fault") while (stream.response.body.next()) unreachable();
    }
    stream.response.headers.set("x-open-came-back", "1");
  }
}`;

const mark = (name: string, more = {}) => ({ name: "mark", config: { name }, ...more });
const clusters = { other: (_: unknown, response: { end(text: string): void }) => response.end("!") };

describe("a chain a, b, c", () => {
  let envoy: TestEnvoy;
  beforeAll(async () => {
    envoy = await startTestEnvoy({ filter: FILTERS, config: { filters: [mark("a"), mark("b"), mark("c")] }, clusters, wasmLogLevel: "debug" });
  });
  afterAll(() => envoy?.close());

  describe.each(clients)("over %s", (_, client) => {
    const run = async (headers: Record<string, string> = {}, body?: string[]) => {
      const answer = await client(envoy.url, { headers, ...(body ? { method: "POST", body } : {}) });
      return { ...answer, seen: answer.text.startsWith("{") ? JSON.parse(answer.text.slice(0, answer.text.lastIndexOf("}") + 1)) : undefined };
    };

    test("goes in as listed and out the other way round", async () => {
      const answer = await run();
      expect(answer.seen.headers["x-way"]).toBe("abc");
      expect(answer.headers["x-back"]).toBe("c200;b200;a200;");
      for (const name of ["a", "b", "c"]) await envoy.logged(new RegExp(`debug .*logged by ${name}`));
    });

    test("a filter that waits holds those behind it, on both ways", async () => {
      const answer = await run({ "x-a": "fetch", "x-c": "fetch", "x-b": "response-fetch" });
      expect(answer.seen.headers).toMatchObject({ "x-way": "abc", "x-fetched": "a!, c!" });
      expect(answer.headers).toMatchObject({ "x-back": "c200;b200;a200;", "x-fetched": "b!" });
      expect((await run({ "x-a": "fetch", "x-b": "fetch", "x-c": "fetch" }, ["a", "b"])).seen).toMatchObject({
        body: "ab",
        headers: { "x-fetched": "a!, b!, c!" },
      });
      expect((await run({ "x-a": "response-fetch", "x-b": "response-fetch", "x-c": "response-fetch" })).headers).toMatchObject({
        "x-back": "c200;b200;a200;",
        "x-fetched": "c!, b!, a!",
      });
    });

    test.each(["reply", "fetch-reply"])("%s by b: a sees it on its way back, c never runs", async (what) => {
      const answer = await run({ "x-b": what });
      expect(answer).toMatchObject({ status: 403, text: "no, says b" });
      expect(answer.headers["x-back"]).toBe("a403;");
      const posted = await run({ "x-b": what }, ["body", "body"]);
      expect(posted).toMatchObject({ status: 403, text: "no, says b" });
      expect(posted.headers["x-back"]).toBe("a403;");
    });

    test("a reply by a or c", async () => {
      const first = await run({ "x-a": "reply" });
      expect(first).toMatchObject({ status: 403, text: "no, says a" });
      expect(first.headers).not.toHaveProperty("x-back");
      expect((await run({ "x-c": "reply" })).headers["x-back"]).toBe("b403;a403;");
    });

    test("a filter that returns without next() is left out on the way back", async () => {
      const answer = await run({ "x-b": "leave" });
      expect(answer.seen.headers["x-way"]).toBe("abc");
      expect(answer.headers["x-back"]).toBe("c200;a200;");
    });

    test("a change of the response is seen by the filters outside", async () => {
      expect((await run({ "x-b": "status" })).headers["x-back"]).toBe("c200;b200;a299;");
      expect(await run({ "x-b": "response-reply" })).toMatchObject({ status: 502, text: "gone, says b" });
    });

    test("bodies pass through all that change them, in order", async () => {
      expect((await run({ "x-a": "body", "x-b": "body", "x-c": "body" }, ["1", "2"])).seen.body).toBe("12abc");
      expect((await run({ "x-a": "body" }, ["1", "2"])).seen.body).toBe("12a");
      expect((await run({ "x-c": "body", "x-a": "fetch" }, ["1", "2"])).seen.body).toBe("12c");
      const back = await run({ "x-a": "response-body", "x-b": "response-body", "x-c": "response-body" });
      expect(back.text.endsWith("}cba")).toBe(true);
      // Several filters that deal with a body: a loop sees it as one chunk.
      expect((await run({ "x-a": "loop", "x-b": "loop" }, ["1", "2"])).seen.body).toBe("12ab");
      expect((await run({ "x-a": "loop", "x-b": "body", "x-c": "loop" }, ["1", "2"])).seen.body).toBe("12abc");
      expect((await run({ "x-a": "response-loop", "x-b": "response-body", "x-c": "response-loop" })).text.endsWith("}cba")).toBe(true);
      expect((await run({ "x-a": "loop", "x-b": "body", "x-c": "loop" })).seen.body).toBe("");
    });

    test.each(["fault", "fetch-fault"])("%s in b ends its stream with 500; a sees that, the next stream is fine", async (what) => {
      const answer = await run({ "x-b": what });
      expect(answer).toMatchObject({ status: 500, text: "" });
      expect(answer.headers["x-back"]).toBe("a500;");
      await envoy.logged(/error .*filter "mark" failed: b is broken \(filter\.ts:\d+:\d+\); the stream is answered with 500/);
      expect((await run()).headers["x-back"]).toBe("c200;b200;a200;");
    });

    test("a fault on the way back", async () => {
      expect(await run({ "x-b": "response-fault" })).toMatchObject({ status: 500, text: "" });
      expect(await run({ "x-b": "response-loop-fault" })).toMatchObject({ status: 500, text: "" });
      expect((await run()).status).toBe(200);
    });

    test("a fault in onLog is logged and changes nothing", async () => {
      expect((await run({ "x-c": "log-fault" })).status).toBe(200);
      await envoy.logged(/error .*filter "mark" failed: c is broken/);
    });

    test("a reset by b", async () => {
      await expect(run({ "x-b": "reset" })).rejects.toThrow();
      expect((await run()).status).toBe(200);
    });
  });

  test("100 streams at once, each with faults and waits in other places", async () => {
    const whats = ["fetch", "reply", "fault", "body", "fetch-fault", "response-fetch", "leave", "response-fault"];
    const created = await envoy.stat("wasm.envoy.wasm.runtime.v8.created");
    const statuses = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const what = whats[i % whats.length]!;
        const answer = await send(envoy.url, { method: "POST", body: ["1"], headers: { [`x-${"abc"[i % 3]}`]: what } });
        const wanted = what.endsWith("fault") ? 500 : what === "reply" ? 403 : 200;
        return answer.status === wanted ? "right" : `${what}: ${answer.status}`;
      }),
    );
    expect(new Set(statuses)).toEqual(new Set(["right"]));
    expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.created")).toBe(created);
  });
});

describe("onError open", () => {
  let envoy: TestEnvoy;
  beforeAll(async () => {
    envoy = await startTestEnvoy({ filter: FILTERS, config: { filters: [mark("a"), { name: "open" }, mark("b", { onError: "open" })] }, clusters });
  });
  afterAll(() => envoy?.close());

  test.each(["fault", "fetch-fault", "body-fault", "loop-fault", "response-fault", "response-fetch-fault", "response-body-fault", "response-loop-fault"])(
    "%s: the stream goes on without the filter",
    async (what) => {
      for (const [, client] of clients) {
        for (const body of [undefined, ["one", "two"]]) {
          const answer = await client(envoy.url, { headers: { "x-open": what }, ...(body ? { method: "POST", body } : {}) });
          expect(answer.status).toBe(200);
          const seen = JSON.parse(answer.text);
          expect(seen).toMatchObject({ body: body ? "onetwo" : "", headers: { "x-way": "ab", "x-open-was-here": "1" } });
          expect(answer.headers["x-back"]).toBe("b200;a200;");
          // Its loop over a body that is not there never faults.
          if (what !== "loop-fault" || body) if (what !== "response-loop-fault") expect(answer.headers).not.toHaveProperty("x-open-came-back");
        }
      }
      await envoy.logged(/error .*filter "open" failed: .*; the stream goes on without it/);
    },
  );

  test("set in the configuration overrides the filter's own", async () => {
    const answer = await send(envoy.url, { headers: { "x-b": "fault" } });
    expect(answer.status).toBe(200);
    expect(answer.headers["x-back"]).toBe("a200;");
    expect((await send(envoy.url, { headers: { "x-a": "fault" } })).status).toBe(500);
  });
});

describe("which filter a configuration means", () => {
  test("root_id picks one", async () => {
    const envoy = await startTestEnvoy({ filter: FILTERS, rootId: "mark", config: { name: "only" }, clusters });
    try {
      const answer = await send(envoy.url);
      expect(JSON.parse(answer.text).headers["x-way"]).toBe("only");
      expect(answer.headers["x-back"]).toBe("only200;");
    } finally {
      await envoy.close();
    }
  });

  test.each([
    [{ rootId: "nobody" }, /root_id "nobody" is no filter of this module \(filters: mark, open\)/],
    [{ config: {} }, /set root_id to a filter, or configure \{"filters"/],
    [{ config: { filters: [] } }, /filters: is empty/],
    [{ config: { filters: [{}] } }, /filters\[0\]\.name: is required/],
    [{ config: { filters: [mark("a"), { name: "nobody" }] } }, /filters\[1\]\.name: "nobody" is no filter of this module/],
    [{ config: { filters: [mark("a", { onError: "maybe" })] } }, /filters\[0\]\.onError: must be "open" or "closed"/],
    [{ config: { filters: [mark("a", { extra: 1 })] } }, /filters\[0\]\.extra: there is no such field \(fields: name, config, onError\)/],
    [{ config: { filters: [{ name: "mark", config: { name: 7 } }] } }, /filters\[0\]\.config\.name: expected a string, got 7/],
    [{ config: { filters: [{ name: "mark", config: { nam: "x" } }] } }, /filters\[0\]\.config\.nam: there is no such field \(fields: name\)/],
    [{ config: { filters: [mark("a")], more: 1 } }, /beside "filters" nothing else can be configured/],
  ])("%j is refused", async (options, why) => {
    await expect(startTestEnvoy({ filter: FILTERS, ...options })).rejects.toThrow(why);
  });
});
