// mount(): the same tests on the Node engine and on a real Envoy.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import {
  grpcMessages,
  grpcResponse,
  http2,
  type Mounted,
  type MountOptions,
  mount,
  noHosts,
  refused,
  reset,
  trailersOf,
  withTrailers,
} from "../../host/testing/index.js";
import { PROBES } from "../conformance/probes.js";
import { assemble, buildModule } from "../harness/build.js";

const example = (name: string) => path.resolve(import.meta.dirname, `../../guest/examples/${name}.ts`);
const recorder = path.join(PROBES, "recorder.wasm");

const open: Mounted[] = [];
afterEach(async () => {
  await Promise.allSettled(open.splice(0).map((envoy) => envoy.close()));
});

describe.each(["node", "envoy"] as const)("on the %s engine", (engine) => {
  const start = async (file: string, options: MountOptions = {}): Promise<Mounted> => {
    const envoy = await mount(file, { engine, ...options });
    open.push(envoy);
    return envoy;
  };
  const end = async (envoy: Mounted): Promise<void> => {
    open.splice(open.indexOf(envoy), 1);
    await envoy.close();
  };

  test("a filter changes headers on their way to the upstream and back", async () => {
    const envoy = await start(example("headers"), {
      config: { greeting: "hello" },
      clusters: { upstream: (request) => Response.json({ greeting: request.headers.get("x-greeting"), host: request.headers.get("host") }) },
    });
    const response = await envoy.fetch("/x?y=1", { headers: { "user-agent": "me", "x-internal": "secret" } });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ greeting: "hello, me", host: "test" });
    expect(response.headers.get("x-served-path")).toBe("/x?y=1");
    expect(envoy.requests("upstream").map(({ method, path: p, headers }) => [method, p, headers.get("x-internal")])).toEqual([["GET", "/x?y=1", null]]);
    await envoy.settled();
    expect(envoy.streams).toMatchObject([
      { method: "GET", path: "/x?y=1", status: 200, details: "via_upstream", flags: "-", cluster: "upstream", received: 0 },
    ]);
    await end(envoy);
  });

  test("a callout is a function; so is the upstream", async () => {
    const envoy = await start(example("auth"), {
      config: { cluster: "auth" },
      clusters: {
        auth: (request) => (request.headers.get("authorization") === "t" ? new Response("ann") : new Response("no", { status: 401 })),
        upstream: (request) => new Response(`for ${request.headers.get("x-user")}`),
      },
    });
    expect(await (await envoy.fetch("/", { headers: { authorization: "t" } })).text()).toBe("for ann");
    expect((await envoy.fetch("/", { headers: { authorization: "wrong" } })).status).toBe(403);
    expect(envoy.requests("auth")).toHaveLength(2);
    expect(envoy.requests("upstream")).toHaveLength(1);
    await end(envoy);
  });

  test("a body reaches the filter and the upstream, in pieces or whole", async () => {
    const envoy = await start(recorder, {
      config: "on_request_body: ret 1\non_request_body?eos: setbuf 0 0 0 <\non_request_body?eos: ret 0",
      clusters: { upstream: async (request) => new Response(`${await request.text()}>`) },
    });
    expect(await (await envoy.fetch("/", { body: ["ab", "cd", "ef"] })).text()).toBe("<abcdef>");
    expect(envoy.requests()[0]!.text).toBe("<abcdef");
    await end(envoy);
  });

  test("random pieces of a body do not change what comes out", async () => {
    const text = "0123456789".repeat(300);
    for (const splits of [1, 2, 3, 4]) {
      const envoy = await start(recorder, {
        splits,
        config: "on_request_body: ret 1\non_request_body?eos: ret 0",
        clusters: { upstream: async (request) => new Response(await request.text()) },
      });
      expect(await (await envoy.fetch("/", { body: [text] })).text()).toBe(text);
      await end(envoy);
    }
  });

  test("a response streams: its first piece is there before its last is made", async () => {
    let more!: (text: string) => void;
    const envoy = await start(recorder, {
      config: "",
      clusters: {
        upstream: () =>
          new Response(
            new ReadableStream({
              start(controller) {
                controller.enqueue(Buffer.from("first "));
                more = (text) => {
                  controller.enqueue(Buffer.from(text));
                  controller.close();
                };
              },
            }),
          ),
      },
    });
    const response = await envoy.fetch("/");
    const reader = response.body!.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe("first ");
    more("last");
    expect(Buffer.from((await reader.read()).value!).toString()).toBe("last");
    expect((await reader.read()).done).toBe(true);
    await end(envoy);
  });

  test("trailers go both ways", async () => {
    const envoy = await start(recorder, {
      config: "on_request_trailers: add 1 x-more 2\non_response_trailers: add 3 x-back 3",
      clusters: {
        upstream: async (request) => {
          await request.text();
          return withTrailers(new Response("ok"), { "x-seen": JSON.stringify(trailersOf(request)) });
        },
      },
    });
    const response = await envoy.fetch("/", { body: "x", trailers: { "x-t": "1" } });
    expect(await response.text()).toBe("ok");
    expect(trailersOf(response)).toEqual({ "x-seen": '{"x-t":"1","x-more":"2"}', "x-back": "3" });
    await end(envoy);
  });

  test("an upstream that breaks, refuses, or has no hosts", async () => {
    const broken = await start(recorder, {
      config: "",
      clusters: {
        upstream: () => {
          throw reset();
        },
      },
    });
    expect(await (await broken.fetch("/")).text()).toBe("upstream connect error or disconnect/reset before headers. reset reason: connection termination");
    await broken.settled();
    expect(broken.streams[0]).toMatchObject({ status: 503, flags: "UC", details: "upstream_reset_before_response_started{connection_termination}" });
    await end(broken);
    const dead = await start(recorder, { config: "", clusters: { upstream: refused } });
    expect((await dead.fetch("/")).status).toBe(503);
    await dead.settled();
    expect(dead.streams[0]).toMatchObject({ flags: "UF" });
    await end(dead);
    const empty = await start(recorder, { config: "", clusters: { upstream: noHosts } });
    expect(await (await empty.fetch("/")).text()).toBe("no healthy upstream");
    await end(empty);
  });

  test("gRPC: a unary callout, and what became of it", async () => {
    const envoy = await start(recorder, {
      config:
        "on_request_headers: ret 1\non_request_headers: grpc %0a%05%0a%03rpc 1000 my.Svc Meth hello\non_grpc_receive: buf 5 0 100\non_grpc_receive: eff $last\non_grpc_receive: continue 0",
      clusters: {
        rpc: http2(async (request) => grpcResponse([`${new URL(request.url).pathname} ${Buffer.from(grpcMessages(await request.arrayBuffer())[0]!)}`])),
      },
    });
    expect((await envoy.fetch("/")).status).toBe(200);
    expect((await envoy.logged(/buf\(5/)).text).toContain('"/my.Svc/Meth hello"');
    await end(envoy);
  });

  test("metrics, logs and properties can be asked for", async () => {
    const envoy = await start(recorder, {
      config: "on_request_headers: metric 0 seen\non_request_headers: inc $m 2\non_request_headers: setprop who ann\non_request_headers: log 3 careful",
      properties: ["who"],
    });
    await envoy.fetch("/");
    await envoy.settled();
    expect(envoy.streams[0]!.properties).toEqual({ who: "ann" });
    expect(await envoy.metrics()).toEqual({ seen: 2 });
    expect(await envoy.logged(/careful/)).toEqual({ level: "warning", text: "careful" });
    await end(envoy);
  });

  test("routes of the test decide where a request goes", async () => {
    const envoy = await start(recorder, {
      config: "on_request_headers: add 0 x-to other",
      routes: [
        { match: { prefix: "/", headers: [{ name: "x-to", string_match: { exact: "other" } }] }, route: { cluster: "other" } },
        { match: { prefix: "/" }, route: { cluster: "upstream" } },
      ],
      clusters: { other: () => new Response("other") },
    });
    expect(await (await envoy.fetch("/")).text()).toBe("other");
    await end(envoy);
  });

  test("two modules in a chain see each other's headers", async () => {
    const envoy = await start(recorder, { config: "on_request_headers: add 0 x-a 1", chain: [{ module: recorder, config: "on_request_headers: get 0 x-a" }] });
    await envoy.fetch("/");
    expect((await envoy.logged(/get\(0,x-a\)/)).text).toContain('-> 0 "1"');
    await end(envoy);
  });

  test("a stream that a filter holds for ever is a leak", async () => {
    const envoy = await start(recorder, { config: "on_request_headers: ret 1" });
    const request = envoy.fetch("/").catch(() => {});
    await envoy.logged(/< on_request_headers/);
    open.length = 0;
    await expect(envoy.close()).rejects.toThrow(/^1 stream never ended/);
    await request;
  });

  test("a configuration that the filter refuses is an error with its reason", async () => {
    await expect(start(example("auth"), { config: {} })).rejects.toThrow(/cluster/);
    await expect(start(recorder, { config: "on_configure: ret 0" })).rejects.toThrow(/Unable to create Wasm plugin|Failed to configure/);
  });

  test("a trap answers 503 and is in the log", async () => {
    const envoy = await start(recorder, { config: "on_request_headers: trap", plugin: { failure_policy: "FAIL_CLOSED" } });
    expect((await envoy.fetch("/")).status).toBe(503);
    await envoy.logged(/Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable/);
    await end(envoy);
  });

  test("a call that takes a whole Envoy down is an error, not a hang", async () => {
    const envoy = await start(recorder, { config: "on_request_headers: continue 1" });
    await expect(envoy.fetch("/")).rejects.toThrow(
      engine === "node"
        ? /a real Envoy would die \(SIGSEGV\) here: continue_stream\(Response\) before there are response headers/
        : /Envoy ended: .*Segmentation|SIGSEGV/,
    );
    open.length = 0;
    await expect(envoy.close()).rejects.toThrow();
  });
});

test("both engines at once: what differs is an error", async () => {
  const envoy = await mount(recorder, { engine: "both", config: "on_response_headers: add 2 x-a 1", clusters: { upstream: () => new Response("same") } });
  expect(await (await envoy.fetch("/")).text()).toBe("same");
  await envoy.settled();
  await envoy.close();
  let count = 0;
  const other = await mount(recorder, { engine: "both", config: "", clusters: { upstream: () => new Response(String(count++)) } });
  await expect(other.fetch("/")).rejects.toThrow(/the engines differ in the body: node "0", envoy "1"|node "1", envoy "0"/);
  await other.close();
  let turn = 0;
  const ends = await mount(recorder, {
    engine: "both",
    config: "",
    clusters: { upstream: () => withTrailers(new Response("x"), { "x-turn": String(turn++) }) },
  });
  await expect(ends.fetch("/")).rejects.toThrow(/the engines differ in the trailers/);
  await ends.close();
});

test("both engines at once: an answer that does not look at the request leaves the connection as it is", async () => {
  const envoy = await mount(example("headers"), { engine: "both", config: { greeting: "x" }, clusters: { upstream: () => new Response("ok") } });
  for (const body of ["a body", undefined, "another"]) expect((await envoy.fetch("/", body === undefined ? {} : { method: "POST", body })).status).toBe(200);
  await envoy.close();
});

test("both engines at once: each gets all of a body that comes as it is read", async () => {
  const envoy = await mount(recorder, { engine: "both", config: "", clusters: { upstream: async (request) => new Response(await request.text()) } });
  async function* pieces() {
    yield "one ";
    yield "two";
  }
  expect(await (await envoy.fetch("/", { method: "POST", body: pieces() })).text()).toBe("one two");
  await envoy.close();
});

test("time stands still until it is moved: ticks and timeouts", async () => {
  const ticking = await mount(recorder, { time: "manual", config: "on_configure: tick 1000" });
  await ticking.advance(3500);
  expect(ticking.logs.filter(({ text }) => text.startsWith("> on_tick"))).toHaveLength(6); // On the main thread and on the worker, three times each.
  await ticking.close();
  const slow = await mount(recorder, { time: "manual", config: "", clusters: { upstream: () => new Promise(() => {}) } });
  const request = slow.fetch("/");
  await slow.advance(14_999);
  expect(slow.streams).toHaveLength(0);
  await slow.advance(2);
  const response = await request;
  expect([response.status, await response.text()]).toEqual([504, "upstream request timeout"]);
  await slow.close();
});

test("memory that grows with every request is a leak", async () => {
  const leaky = buildModule(`
    import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
    const kept: Array<Uint8Array> = [];
    @filter("leaky")
    export class Leaky extends Filter<NoConfig> {
      handle(stream: Stream): void {
        kept.push(new Uint8Array(4096));
      }
    }
  `);
  const envoy = await mount(leaky);
  for (let i = 0; i < 600; i++) await (await envoy.fetch("/")).text();
  await expect(envoy.close()).rejects.toThrow(/memory grows with its requests/);
  const sound = await mount(example("headers"), { config: { greeting: "x" } });
  for (let i = 0; i < 600; i++) await (await sound.fetch("/")).text();
  await sound.close();
});

async function withWat(name: string, work: (file: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-wat-"));
  try {
    const file = path.join(directory, `${name}.wasm`);
    writeFileSync(file, await assemble(path.join(import.meta.dirname, "modules", `${name}.wat`)));
    await work(file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test("coroutines that a module keeps when their streams have ended are a leak", () =>
  withWat("keeps", async (file) => {
    const envoy = await mount(file, { config: "" });
    expect((await envoy.fetch("/")).status).toBe(200);
    await expect(envoy.close()).rejects.toThrow("the module keeps 2 coroutines of streams that have ended");
  }));

test.each<[string, object, RegExp]>([
  ["a name that nobody knows", { tim: "manual" }, /^mount\(\): there is no tim; there are engine, config, /],
  ["an engine", { engine: "nginx" }, /^mount\(\): engine is "nginx", it has to be "node", "envoy", "both"$/],
  ["a level", { logLevel: "warn" }, /logLevel is "warn", it has to be "trace", "debug", "info", "warning"/],
  ["a time", { time: "maual" }, /time is "maual", it has to be "real", "manual"/],
  ["a cluster", { clusters: { auth: "refused" } }, /clusters\.auth is "refused", it has to be a function .*refused or noHosts of "envoyscript\/testing"/],
  ["a cluster that is not there", { clusters: { auth: undefined } }, /clusters\.auth is undefined/],
  ["a link of the chain", { chain: [{}] }, /chain\[0\]\.module is missing/],
  ["a name in a link", { chain: [{ module: recorder, confg: 1 }] }, /there is no chain\[0\]\.confg; there are module, config, filter/],
  ["a seed", { splits: Number.NaN }, /splits is NaN/],
  ["a configuration", { config: { a: 1n } }, /config cannot be written as JSON: .*BigInt/],
])("%s that is wrong is said", async (_what, options, says) => {
  await expect(mount(recorder, options as MountOptions)).rejects.toThrow(says);
});

test("the file is a path or a URL; what it is not is said", async () => {
  await using envoy = await mount(pathToFileURL(recorder), { engine: "node", config: "" });
  expect((await envoy.fetch("/")).status).toBe(200);
  await expect(mount("nowhere.wasm")).rejects.toThrow("nowhere.wasm: no such file");
  await expect(mount(PROBES)).rejects.toThrow(/is a directory; name a \.ts or a \.wasm/);
  await expect(envoy.advance(Number.NaN)).rejects.toThrow("advance(): NaN is no number of milliseconds");
});
