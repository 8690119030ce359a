// What faults leave behind: nothing. 100,000 of them in a module with little memory, each with garbage of several KB, before and after a suspension.
import net from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";
import { CONNECTIONS, load, until } from "./load.js";

const MIB = 1024 * 1024;

/** Keeps 50 HTTP/1.1 connections busy until `total` answers have come; returns how often each status came. */
async function hammer(port: number, total: number, head: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const each = total / CONNECTIONS;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, () => {
      return new Promise<void>((resolve, reject) => {
        const socket = net.connect(port, "127.0.0.1");
        let answered = 0;
        let rest = "";
        socket.on("connect", () => socket.write(head));
        socket.on("error", reject);
        socket.on("close", () => (answered === each ? resolve() : reject(new Error(`closed after ${answered} answers`))));
        socket.on("data", (chunk) => {
          rest += chunk.toString("latin1");
          for (let end = rest.indexOf("\r\n\r\n"); end >= 0; end = rest.indexOf("\r\n\r\n")) {
            // A fault's answer has no body.
            const answer = rest.slice(0, end);
            const key = `${answer.slice(9, 12)} ${/content-length: (\d+)/.exec(answer)?.[1]}`;
            counts.set(key, (counts.get(key) ?? 0) + 1);
            rest = rest.slice(end + 4);
            if (++answered === each) socket.end();
            else socket.write(head);
          }
        });
      });
    }),
  );
  return counts;
}

describe("memory after faults", () => {
  let envoy: TestEnvoy;
  let created: number;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: `
        import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
        @filter("leaky")
        export class Leaky extends Filter<NoConfig> {
          handle(stream: Stream): void {
            const garbage: Uint8Array[] = [];
            for (let i = 0; i < 8; i++) garbage.push(new Uint8Array(1024));
            const path = stream.request.path;
            if (path.startsWith("/before")) fail(garbage, 100);
            if (path.startsWith("/after")) {
              stream.fetch("auth", "/");
              fail(garbage, 100);
            }
            if (path.startsWith("/large")) {
              const large = new Uint8Array(2 * 1024 * 1024);
              large[large.length - 1] = 1;
              stream.reply(200, "large");
            }
          }
        }
        function fail(garbage: Uint8Array[], at: i32): void {
          garbage[at][0] = 1;
        }`,
      memory: 5 * MIB,
      clusters: { auth: (_, response) => void response.end("auth") },
      // The log line of each fault has a level that is not written here: 100,000 of them would only measure the pipe.
      wasmLogLevel: "critical",
    });
    created = await envoy.stat("wasm.envoy.wasm.runtime.v8.created");
  });
  afterAll(() => envoy.close());

  test("90,000 faults before a suspension and 10,000 after one leave room for 2 MiB in a module of 5 MiB", { timeout: 180_000 }, async () => {
    // 100,000 faults with 8 KiB each are 160 times the ceiling.
    expect([...(await hammer(envoy.port, 90_000, "GET /before HTTP/1.1\r\nhost: a.test\r\n\r\n"))]).toEqual([["500 0", 90_000]]);
    const answers = await load(envoy.url, 10_000, () => ({ path: "/after" }));
    expect(answers.every((answer) => answer.status === 500)).toBe(true);
    for (let i = 0; i < 20; i++) expect((await send(`${envoy.url}/large`)).text).toBe("large");
    expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.created")).toBe(created);
    await envoy.stop();
    const details = new Map<string, number>();
    for (const line of envoy.access) details.set(line, (details.get(line) ?? 0) + 1);
    expect([...details].sort()).toEqual([
      ["/after 500 envoyscript_fault", 10_000],
      ["/before 500 envoyscript_fault", 90_000],
      ["/large 200 envoyscript_reply", 20],
    ]);
  });
});

const OPEN = `
import { Body, DataStatus, FetchRequest, FetchResponse, Filter, HeaderMap, HeadersStatus, NoConfig, OnError, Request, Stream, StreamFilter, filter } from "envoyscript-sdk";
function fail(): void { throw new Error("on purpose"); }

@filter("open", OnError.Open)
export class Open extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const where = stream.request.path.split("/")[1];
    stream.request.headers.set("x-here", "1");
    if (where == "before") fail();
    if (where == "after") { stream.fetch("auth", "/"); fail(); }
    if (where == "body") { stream.request.text(); fail(); }
    if (where == "chunks") { while (stream.request.body.next()) fail(); }
    stream.next();
    stream.response.headers.set("x-there", "1");
    if (where == "response") fail();
    if (where == "response-body") { stream.response.text(); fail(); }
    if (where == "response-chunks") { while (stream.response.body.next()) fail(); }
  }
}

@filter("last")
export class Last extends Filter<NoConfig> {
  handle(stream: Stream): void {
    stream.next();
    stream.response.headers.set("x-last", "1");
  }
}

@filter("open-low", OnError.Open)
export class OpenLow extends StreamFilter<NoConfig> {
  where: string = this.start();
  start(): string {
    const where = this.stream.request.path.split("/")[1];
    if (where == "create") fail();
    return where;
  }
  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    if (this.where == "before") fail();
    if (this.where == "body") return HeadersStatus.StopIteration;
    if (this.where != "after") return HeadersStatus.Continue;
    this.dispatch(new FetchRequest("auth", "/"));
    return HeadersStatus.StopAllIterationAndWatermark;
  }
  onFetch(token: u32, response: FetchResponse): void { fail(); }
  onRequestBody(body: Body<Request>, endOfStream: bool): DataStatus {
    if (this.where == "body" && endOfStream) fail();
    return this.where == "body" ? DataStatus.StopIterationAndBuffer : DataStatus.Continue;
  }
  onResponseHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    if (this.where == "response") fail();
    return HeadersStatus.Continue;
  }
}`;

describe("onError: open", () => {
  let envoy: TestEnvoy;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: OPEN,
      config: { filters: [{ name: "open" }, { name: "last" }] },
      clusters: { auth: (_, response) => void response.end("auth") },
    });
  });
  afterAll(() => envoy.close());

  test.each(["before", "after", "body", "chunks", "response", "response-body", "response-chunks"])(
    "a fault in %s lets the stream go on without the filter",
    async (where) => {
      const before = envoy.logs.length;
      const answer = await send(`${envoy.url}/${where}`, { body: ["one", "two"] });
      expect([answer.status, JSON.parse(answer.text).body, answer.headers["x-last"]]).toEqual([200, "onetwo", "1"]);
      await until(() => envoy.logs.length > before);
      expect(envoy.logs.slice(before)).toEqual([
        expect.stringMatching(/^error .*filter "open" failed: on purpose \(filter\.ts:3:\d+\); the stream goes on without it$/),
      ]);
    },
  );

  test("and so does one of a low-level filter, wherever it was held", async () => {
    const low = await startTestEnvoy({ filter: OPEN, rootId: "open-low", clusters: { auth: (_, response) => void response.end("auth") } });
    try {
      for (const where of ["create", "before", "after", "body", "response"]) {
        const answer = await send(`${low.url}/${where}`, { body: ["one", "two"] });
        expect([where, answer.status, JSON.parse(answer.text).body]).toEqual([where, 200, "onetwo"]);
      }
      await until(() => low.logs.length === 5);
      expect(low.logs.length).toBe(5);
    } finally {
      await low.close();
    }
  });
});

describe("memory that is nearly full", () => {
  let envoy: TestEnvoy;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: `
        import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
        @filter("hoarder")
        export class Hoarder extends Filter<NoConfig> {
          hoard: Uint8Array[] = [];
          handle(stream: Stream): void {
            const path = stream.request.path;
            if (path == "/hoard") { for (let i = 0; i < 66; i++) this.hoard.push(new Uint8Array(64 * 1024)); }
            if (path == "/free") this.hoard = [];
            if (path == "/request") stream.request.headers.set("x-size", stream.request.bytes().length.toString());
            if (path == "/fetch") stream.request.headers.set("x-size", stream.fetch("large", "/").bytes().length.toString());
            stream.next();
            if (path == "/response") stream.response.headers.set("x-size", stream.response.bytes().length.toString());
          }
        }`,
      memory: 5 * MIB,
      upstream: (request, response) => void response.end(request.url === "/response" ? "x".repeat(900_000) : JSON.stringify(request.headers)),
      clusters: { large: (_, response) => void response.end("x".repeat(900_000)) },
    });
  });
  afterAll(() => envoy.close());

  test("a body for which there is no memory is a fault, never an empty body; afterwards all is as before", async () => {
    const body = ["x".repeat(900_000)];
    const all = async () => [await send(`${envoy.url}/request`, { body }), await send(`${envoy.url}/fetch`), await send(`${envoy.url}/response`)];
    const sizes = (answers: Awaited<ReturnType<typeof all>>) =>
      answers.map((answer) => [answer.status, answer.status === 200 ? (answer.headers["x-size"] ?? JSON.parse(answer.text)["x-size"]) : ""]);
    expect(sizes(await all())).toEqual([
      [200, "900000"],
      [200, "900000"],
      [200, "900000"],
    ]);
    expect((await send(`${envoy.url}/hoard`)).status).toBe(200);
    for (let i = 0; i < 3; i++)
      expect(sizes(await all())).toEqual([
        [500, ""],
        [500, ""],
        [500, ""],
      ]);
    expect((await send(`${envoy.url}/small`)).status).toBe(200);
    expect((await send(`${envoy.url}/free`)).status).toBe(200);
    expect(sizes(await all())).toEqual([
      [200, "900000"],
      [200, "900000"],
      [200, "900000"],
    ]);
    expect(envoy.logs.filter((line) => /out of memory/.test(line)).length).toBe(9);
  });
});
