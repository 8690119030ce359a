// Faults in low-level filters: every kind in every callback, on a real Envoy. The instance is gone, its stream gets 500, all others are right.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Exchange } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";
import { FAULTS, KINDS } from "./kinds.js";
import { load, until } from "./load.js";

const FILTER = `
import { Body, DataStatus, FetchRequest, FetchResponse, Filter, HeaderMap, HeadersStatus, NoConfig, Request, Response, Stream, StreamFilter, TrailersStatus, filter } from "envoyscript-sdk";
${FAULTS}
@filter("faulty")
export class Faulty extends StreamFilter<NoConfig> {
  place: string = "";
  kind: i32 = -1;

  failAt(place: string): void {
    if (this.place == place) fail(this.kind);
  }

  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    this.place = this.stream.request.path.split("/")[1];
    const given = headers.get("x-kind");
    if (given !== null) this.kind = I32.parseInt(given);
    this.failAt("request-headers");
    if (this.place != "fetch") return HeadersStatus.Continue;
    if (this.dispatch(new FetchRequest("auth", this.stream.request.path)) == 0) return HeadersStatus.Continue;
    return HeadersStatus.StopAllIterationAndWatermark;
  }
  onFetch(token: u32, response: FetchResponse): void {
    this.failAt("fetch");
    this.stream.request.headers.set("x-auth", response.text());
    this.resumeRequest();
  }
  onRequestBody(body: Body<Request>, endOfStream: bool): DataStatus {
    this.failAt("request-body");
    return this.place == "request-body" && !endOfStream ? DataStatus.StopIterationAndBuffer : DataStatus.Continue;
  }
  onRequestTrailers(trailers: HeaderMap): TrailersStatus {
    this.failAt("request-trailers");
    return TrailersStatus.Continue;
  }
  onResponseHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    this.failAt("response-headers");
    return this.place == "response-body" ? HeadersStatus.StopIteration : HeadersStatus.Continue;
  }
  onResponseBody(body: Body<Response>, endOfStream: bool): DataStatus {
    this.failAt("response-body");
    return DataStatus.Continue;
  }
  onResponseTrailers(trailers: HeaderMap): TrailersStatus {
    return TrailersStatus.Continue;
  }
  onLog(stream: Stream): void {
    this.failAt("log");
  }
  onDone(): void {
    this.failAt("done");
  }
}`;

const TOTAL = 2000;
const faulty = (i: number) => i % 10 === 3;
const kindOf = (i: number) => Math.floor(i / 10) % KINDS.length;

const PLACES: { name: string; outcome: 500 | 200; body?: string[]; trailers?: Record<string, string> }[] = [
  { name: "request-headers", outcome: 500 },
  { name: "fetch", outcome: 500 },
  { name: "request-body", outcome: 500, body: ["one", "two"] },
  { name: "request-trailers", outcome: 500, body: ["one"], trailers: { "x-last": "1" } },
  { name: "response-headers", outcome: 500 },
  { name: "response-body", outcome: 500 },
  { name: "log", outcome: 200 },
  { name: "done", outcome: 200 },
];

describe("a fault in a low-level filter stays in its stream", () => {
  let envoy: TestEnvoy;
  let created: number;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: FILTER,
      memory: 8 * 1024 * 1024,
      budget: 200_000,
      clusters: { auth: (request, response) => void response.end(`auth of ${request.url}`) },
    });
    created = await envoy.stat("wasm.envoy.wasm.runtime.v8.created");
  });
  afterAll(() => envoy.close());

  test.each(PLACES)("$name", async ({ name, outcome, body, trailers }) => {
    const before = envoy.logs.length;
    const answers = await load(envoy.url, TOTAL, (i): Exchange & { path: string } => ({
      path: `/${name}/${i}`,
      headers: faulty(i) ? { "x-kind": String(kindOf(i)) } : {},
      ...(body ? { body } : {}),
      ...(trailers ? { trailers } : {}),
    }));
    for (const [i, answer] of answers.entries()) {
      if (faulty(i) && outcome === 500) {
        expect([i, KINDS[kindOf(i)]!.name, answer.status, answer.text]).toEqual([i, KINDS[kindOf(i)]!.name, 500, ""]);
        continue;
      }
      expect([i, answer.status]).toEqual([i, 200]);
      const seen = JSON.parse(answer.text);
      expect([seen.url, seen.body, seen.headers["x-auth"]]).toEqual([
        `/${name}/${i}`,
        body?.join("") ?? "",
        name === "fetch" ? `auth of /${name}/${i}` : undefined,
      ]);
    }
    expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.created")).toBe(created);
    const faults = answers.map((_, i) => i).filter(faulty);
    await until(() => envoy.logs.length - before >= faults.length);
    const lines = envoy.logs.slice(before);
    expect(lines.length).toBe(faults.length);
    for (const [k, kind] of KINDS.entries()) {
      const expected = faults.filter((i) => kindOf(i) === k).length;
      const matching = lines.filter(
        (line) => line.startsWith("error ") && line.includes('filter "faulty" failed: ') && kind.message.test(line) && /\(filter\.ts:\d+:\d+\)/.test(line),
      );
      expect(matching.length, kind.name).toBeGreaterThanOrEqual(expected);
    }
  });

  test("and the access log shows exactly the faulty streams", async () => {
    await envoy.stop();
    for (const { name, outcome } of PLACES) {
      const lines = envoy.access.filter((line) => line.startsWith(`/${name}/`));
      expect(lines.length).toBe(TOTAL);
      const marked = lines.filter((line) => line.endsWith(" 500 envoyscript_fault")).map((line) => Number(/\/(\d+) /.exec(line)![1]));
      expect(marked.sort((a, b) => a - b)).toEqual(outcome === 200 ? [] : Array.from({ length: TOTAL }, (_, i) => i).filter(faulty));
    }
  });
});
