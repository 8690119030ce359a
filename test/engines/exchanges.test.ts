// mount(): requests and responses of every kind, the same on both engines; and what a test gets where there is no answer.
import path from "node:path";
import { describe, expect, test } from "vitest";
import { type FetchInit, http2, type Mounted, mount, reset, withTrailers } from "../../host/testing/index.js";
import { PROBES } from "../conformance/probes.js";

const recorder = path.join(PROBES, "recorder.wasm");
const manyHeaders = (count: number): Record<string, string> => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, "1"]));

const ODD: [string, string, FetchInit?][] = [
  ["a path without a slash", "x"],
  ["a path with a space", "/a b"],
  ["a path that is not ASCII", "/é"],
  ["a path of a star", "*"],
  ["an absolute path", "http://other/x?y"],
  ["a fragment", "/a#b"],
  ["two slashes", "//["],
  ["a method in lower case", "/", { method: "get" }],
  ["a method of two words", "/", { method: "A B" }],
  ["a method that nobody knows", "/", { method: "BREW" }],
  ["TRACE", "/", { method: "TRACE" }],
  ["DELETE", "/", { method: "DELETE" }],
  ["HEAD", "/", { method: "HEAD" }],
  ["a name with a space", "/", { headers: { "a b": "c" } }],
  ["a name that is empty", "/", { headers: { "": "c" } }],
  ["a value of two lines", "/", { headers: { a: "b\nc" } }],
  ["a value with a control character", "/", { headers: { a: "b\x01c" } }],
  ["a value with spaces around it", "/", { headers: { a: " b " } }],
  ["a value that is not ASCII", "/", { headers: { a: "é" } }],
  ["120 headers", "/", { headers: manyHeaders(120) }],
  ["60 headers", "/", { headers: manyHeaders(60) }],
  ["a header of 70,000 bytes", "/", { headers: { a: "x".repeat(70_000) } }],
  ["a host with a space", "/", { headers: { host: "a b" } }],
  ["no host to speak of", "/", { headers: { host: "" } }],
  ["te", "/", { headers: { te: "gzip, trailers" } }],
  ["connection: close", "/", { headers: { connection: "close" } }],
  ["a header that connection names", "/", { headers: { connection: "x-a", "x-a": "1" } }],
  ["connection names x-forwarded-for", "/", { headers: { connection: "x-forwarded-for" } }],
  ["keep-alive", "/", { headers: { "keep-alive": "timeout=5", "proxy-connection": "x" } }],
  ["an upgrade that is not configured", "/", { headers: { connection: "upgrade", upgrade: "websocket" } }],
  ["content-length with letters", "/", { method: "POST", headers: { "content-length": "5x" }, body: "hello" }],
  ["content-length as it is", "/", { method: "POST", headers: { "content-length": "5" }, body: ["he", "llo"] }],
  ["a body of a GET", "/", { method: "GET", body: "x" }],
  ["no body of a POST", "/", { method: "POST" }],
  ["an empty body", "/", { method: "POST", body: "" }],
  ["trailers without a body", "/", { method: "POST", trailers: { "x-t": "1" } }],
];

const LOOKS = ["on_request_headers: pairs 0", "on_request_body: buf 0 0 100", "on_request_trailers: pairs 1"].join("\n");

test.each(ODD)("both engines say the same to %s", async (_what, target, init) => {
  await using envoy = await mount(recorder, { engine: "both", config: LOOKS, hcm: { http_protocol_options: { enable_trailers: true } } });
  await envoy.fetch(target, init).then(
    (response) => response.arrayBuffer(),
    () => {},
  );
  await envoy.settled();
});

test.each<[string, () => Response]>([
  ["is shorter than its content-length", () => new Response("abc", { headers: { "content-length": "10" } })],
  ["has a content-length and no body", () => new Response(null, { headers: { "content-length": "10" } })],
  [
    "breaks off",
    () =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new Uint8Array(3));
            setTimeout(() => controller.error(new Error("broken")), 20);
          },
        }),
      ),
  ],
  [
    "never begins",
    () => {
      throw reset();
    },
  ],
  ["has trailers", () => withTrailers(new Response("abc"), { "x-t": "1" })],
  ["is a 304 with a content-length", () => new Response(null, { status: 304, headers: { "content-length": "10" } })],
  ["is a 204", () => new Response(null, { status: 204 })],
])("both engines make the same of a response that %s", async (_what, make) => {
  for (const upstream of [make, http2(make)]) {
    await using envoy = await mount(recorder, { engine: "both", config: "on_response_headers: pairs 2", clusters: { upstream } });
    await envoy.fetch("/").then(
      (response) => response.arrayBuffer().catch(() => {}),
      () => {},
    );
    await envoy.settled();
  }
});

test("both engines: what a filter answers with", async () => {
  for (const local of ["599 odd body -1", "204 no text -1", "200 n '' -1", "999 x y -1", "200 d body -1 x-a é", "200 d body -1 'a:b' c"]) {
    await using envoy = await mount(recorder, { engine: "both", config: `on_request_headers: reply ${local}` });
    await envoy.fetch("/").then(
      (response) => response.arrayBuffer(),
      () => {},
    );
    await envoy.settled();
  }
});

describe.each(["node", "envoy"] as const)("on the %s engine", (engine) => {
  const holding = (): Promise<Mounted> => mount(recorder, { engine, config: "on_request_headers: ret 1", leaks: false });

  test.each<[string, FetchInit["body"], string, string | null]>([
    ["a string", "häh", "häh", null],
    ["an ArrayBuffer", new TextEncoder().encode("abc").buffer, "abc", null],
    ["a view", new DataView(new TextEncoder().encode("xabcx").buffer, 1, 3), "abc", null],
    ["a Blob", new Blob(["a", "bc"], { type: "text/x" }), "abc", "text/x"],
    ["URLSearchParams", new URLSearchParams({ a: "b c" }), "a=b+c", "application/x-www-form-urlencoded;charset=UTF-8"],
    ["a list", ["a", new Uint8Array([98])], "ab", null],
    ["a stream", new Blob(["abc"]).stream(), "abc", null],
    ["a Set", new Set(["a", "b"]), "ab", null],
  ])("%s is a body", async (_what, body, text, type) => {
    await using envoy = await mount(recorder, { engine, config: "" });
    await envoy.fetch("/", { method: "POST", body: body! });
    await envoy.settled();
    const [request] = envoy.requests("upstream");
    expect([request!.text, request!.headers.get("content-type")]).toEqual([text, type]);
  });

  test("FormData is a body", async () => {
    const form = new FormData();
    form.set("a", "b");
    await using envoy = await mount(recorder, { engine, config: "" });
    await envoy.fetch("/", { method: "POST", body: form });
    await envoy.settled();
    expect(envoy.requests()[0]!.text).toMatch(/name="a"\r\n\r\nb\r\n/);
  });

  test("what is no body is said before anything is sent", async () => {
    await using envoy = await mount(recorder, { engine, config: "" });
    for (const body of [{ a: 1 }, 5, [1], true])
      await expect(envoy.fetch("/", { body: body as never })).rejects.toThrow(/^fetch\(\): (a piece of the )?body is /);
    await envoy.settled();
    expect(envoy.requests()).toEqual([]);
  });

  test("a body that fails on its way ends the request", async () => {
    await using envoy = await mount(recorder, { engine, config: "on_request_body: buf 0 0 10" });
    const body = async function* () {
      yield "abc";
      await envoy.logged(/on_request_body/);
      throw new Error("no more");
    };
    await expect(envoy.fetch("/", { body: body() })).rejects.toThrow("no more");
    await envoy.settled();
    expect(envoy.streams[0]).toMatchObject({ status: 0, flags: "DC" });
  });

  test("a client that aborts ends the stream, with its own reason", async () => {
    await using envoy = await holding();
    const abort = new AbortController();
    const request = envoy.fetch("/", { signal: abort.signal });
    await envoy.logged(/< on_request_headers/);
    abort.abort(new Error("that will do"));
    await expect(request).rejects.toThrow("that will do");
    await envoy.settled();
    expect(envoy.streams[0]).toMatchObject({ status: 0, flags: "DC", details: "downstream_remote_disconnect" });
    await expect(envoy.fetch("/", { signal: abort.signal })).rejects.toThrow("that will do");
    expect(envoy.streams).toHaveLength(1);
  });

  test("close() is once; everything that waits, or comes later, hears of it", async () => {
    const envoy = await holding();
    const request = envoy.fetch("/");
    const line = envoy.logged(/nobody says this/);
    const settled = envoy.settled();
    await envoy.logged(/< on_request_headers/);
    const waiting = Promise.allSettled([request, line, settled]);
    const closing = envoy.close();
    await Promise.all([closing, envoy.close()]);
    await envoy.close();
    const later = await Promise.allSettled([envoy.fetch("/"), envoy.metrics(), envoy.advance(1), envoy.logged(/nobody/)]);
    const said = [...(await waiting), ...later].map((result) => (result.status === "rejected" ? result.reason.message : "fulfilled"));
    // The end is one of the stream's too.
    expect(said).toEqual([0, 1, 2, 3, 4, 5, 6].map((i) => (i === 2 ? "fulfilled" : "the filter was closed")));
  });

  test("an answer before the end of a large request leaves the connection usable", async () => {
    await using envoy = await mount(recorder, { engine, config: "", clusters: { upstream: ({ method }) => new Response(method) } });
    for (let i = 0; i < 5; i++) {
      expect(await (await envoy.fetch("/", { body: "x".repeat(300_000) })).text()).toBe("POST");
      expect(await (await envoy.fetch("/")).text()).toBe("GET");
    }
    await envoy.settled();
    expect(envoy.requests()[0]!.bytes).toHaveLength(300_000);
  });

  test("a function that breaks the rules of HTTP is told so", async () => {
    const envoy = await mount(recorder, {
      engine,
      config: "",
      clusters: { upstream: () => new Response("abcdef", { headers: { "content-length": "3" } }) },
    });
    await envoy.fetch("/").then(
      (response) => response.text().catch(() => {}),
      () => {},
    );
    await expect(envoy.close()).rejects.toThrow('the function of cluster "upstream" failed: its response has content-length: 3 and a longer body');
  });
});

describe.each(["node", "envoy"] as const)("a filter that a test forgets, on the %s engine", (engine) => {
  let forgotten: Mounted | undefined;

  test("is there while the test runs", async () => {
    forgotten = await mount(recorder, { engine, config: "" });
    expect((await forgotten.fetch("/")).status).toBe(200);
  });

  test("is closed with it", async () => {
    await expect(forgotten!.fetch("/")).rejects.toThrow("the filter was closed");
  });
});

test("every request under way hears that a call takes a whole Envoy down", async () => {
  const envoy = await mount(recorder, { engine: "node", config: "on_request_headers: ret 1\non_request_body: continue 1" });
  const requests = [envoy.fetch("/held"), envoy.fetch("/", { body: "x" })];
  for (const { status, reason } of (await Promise.allSettled(requests)) as PromiseRejectedResult[]) {
    expect(status).toBe("rejected");
    expect(reason.message).toMatch(/^a real Envoy would die \(SIGSEGV\) here: continue_stream/);
  }
  await expect(envoy.close()).rejects.toThrow(/SIGSEGV/);
});
