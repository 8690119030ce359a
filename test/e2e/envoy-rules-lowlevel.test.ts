// The other half of envoy-rules.test.ts: the same rows of facts/envoy-verified.md 1a and 1b, provoked by a low-level filter, with resumes in every wrong place.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";
import { exchange, parseResponses, type RawResponse } from "../harness/raw.js";

const FILTER = `
import { Body, DataStatus, FetchRequest, FetchResponse, HeaderMap, HeadersStatus, NoConfig, Request, Response, Stream, StreamFilter, TrailersStatus, filter, log } from "envoyscript-sdk";

let kept: Low | null = null;

/** /<callback>/<acts>/<status>: in that callback, do the acts (joined with "+") and return that status. */
@filter("low")
export class Low extends StreamFilter<NoConfig> {
  where: string = "";
  acts: string[] = [];
  status: i32 = 0;
  frames: i32 = 0;
  made: bool = this.begin();

  begin(): bool {
    const parts = this.stream.request.path.split("/");
    this.where = parts[1];
    if (parts.length > 2) this.acts = parts[2].split("+");
    if (parts.length > 3) this.status = I32.parseInt(parts[3]);
    if (this.where == "create") this.perform();
    return true;
  }

  perform(): void {
    const stream = this.stream;
    for (let i = 0; i < this.acts.length; i++) {
      const act = this.acts[i];
      if (act == "resumeRequest") this.resumeRequest();
      else if (act == "resumeResponse") this.resumeResponse();
      else if (act == "reply") stream.reply(418, "reply");
      else if (act == "reset") stream.reset();
      else if (act == "next") stream.next();
      else if (act == "fetch") stream.fetch("auth", "/");
      else if (act == "text") { stream.request.text(); stream.response.text(); }
      else if (act == "dispatch") this.dispatch(new FetchRequest("auth", "/"));
      else if (act == "throw") throw new Error("on purpose");
      else if (act == "evil") { stream.response.headers.set("x-bad", "a\\r\\nx-injected: 1"); stream.request.headers.set("x-bad", "a\\r\\nb"); }
      else if (act == "kept-resume") { const other = kept; if (other !== null) { other.resumeRequest(); other.resumeResponse(); } }
      else if (act == "kept-reset") { const other = kept; if (other !== null) other.stream.reset(); }
      else if (act == "kept-reply") { const other = kept; if (other !== null) other.stream.reply(418, "kept"); }
    }
  }

  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    if (this.where == "request-headers") { this.perform(); return <HeadersStatus>this.status; }
    if (this.where == "keep") { kept = this; return HeadersStatus.StopAllIterationAndWatermark; }
    if (this.where == "fetch-request") {
      this.dispatch(new FetchRequest("auth", "/"));
      return HeadersStatus.StopAllIterationAndWatermark;
    }
    return this.where.startsWith("request-body") ? HeadersStatus.StopIteration : HeadersStatus.Continue;
  }
  onRequestBody(body: Body<Request>, endOfStream: bool): DataStatus {
    if (this.where == "mixed") return this.frames++ == 0 ? DataStatus.Continue : DataStatus.StopIterationAndBuffer;
    if (this.where != "request-body" || (!endOfStream && this.status == 0)) return DataStatus.Continue;
    this.perform();
    return endOfStream ? DataStatus.Continue : <DataStatus>this.status;
  }
  onRequestTrailers(trailers: HeaderMap): TrailersStatus {
    if (this.where == "request-trailers") { this.perform(); return <TrailersStatus>this.status; }
    return TrailersStatus.Continue;
  }
  onResponseHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    if (this.where == "response-headers" || this.where == "reply-then-response-headers") { this.perform(); return <HeadersStatus>this.status; }
    if (this.where == "fetch-response") {
      this.dispatch(new FetchRequest("auth", "/"));
      return HeadersStatus.StopAllIterationAndWatermark;
    }
    if (this.where == "response-body") return HeadersStatus.StopIteration;
    return HeadersStatus.Continue;
  }
  onResponseBody(body: Body<Response>, endOfStream: bool): DataStatus {
    if (this.where == "response-body" || this.where == "response-body-sent") { this.perform(); return endOfStream ? DataStatus.Continue : <DataStatus>this.status; }
    return DataStatus.Continue;
  }
  onResponseTrailers(trailers: HeaderMap): TrailersStatus {
    if (this.where == "response-trailers") { this.perform(); return <TrailersStatus>this.status; }
    return TrailersStatus.Continue;
  }
  onFetch(token: u32, response: FetchResponse): void {
    this.perform();
    if (this.status == 1) { this.resumeRequest(); if (this.where == "fetch-response") this.resumeResponse(); }
  }
  onLog(stream: Stream): void {
    if (this.where == "log") this.perform();
  }
  onDone(): void {
    if (this.where == "done") this.perform();
    if (kept === this) kept = null;
  }
}
`;

interface Sent {
  body?: string[];
  trailers?: true;
}

describe("a low-level filter cannot hurt Envoy", () => {
  let envoy: TestEnvoy;
  let created: number;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: FILTER,
      upstream(request, response) {
        if (request.url.includes("empty")) return void response.end();
        if (!request.url.includes("response-trailers")) return void response.end(`upstream saw ${request.body.toString("utf8")}`);
        response.write("upstream saw ");
        response.addTrailers({ "x-last": "1" });
        response.end();
      },
      clusters: { auth: (_, response) => void response.end("auth") },
      // Envoy takes trailers from an HTTP/2 upstream only.
      upstreamOptions: { http2: true },
      hcm: { delayed_close_timeout: "0.01s" },
    });
    created = await envoy.stat("wasm.envoy.wasm.runtime.v8.created");
  });
  afterAll(() => envoy.close());
  afterEach(async () => {
    process.kill(envoy.pid, 0);
    expect((await send(`${envoy.url}/plain`)).status).toBe(200);
    expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.created")).toBe(created);
  });

  async function outcome(path: string, { body, trailers }: Sent = {}): Promise<[number, string][]> {
    const head = `${body ? "POST" : "GET"} ${path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n`;
    const chunks = (body ?? []).map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`);
    const text = await exchange(
      envoy.port,
      body ? [`${head}transfer-encoding: chunked\r\n\r\n`, ...chunks, trailers ? "0\r\nx-end: 1\r\n\r\n" : "0\r\n\r\n"] : `${head}\r\n`,
    );
    return parseResponses(text).map(({ status, body: content }: RawResponse) => [status, content]);
  }
  const requestsTo = (path: string) => envoy.upstream.seen.filter((seen) => seen.url === path).length;
  const BODY: Sent = { body: ["abc", "def"] };
  const TRAILERS: Sent = { body: ["abc"], trailers: true };
  const through = (sent?: Sent): [number, string][] => [[200, `upstream saw ${sent?.body?.join("") ?? ""}`]];

  describe("a resume inside the callback that it is about is a Continue", () => {
    const rows: [string, string, number, Sent?][] = [];
    for (const status of [0, 1, 3, 4])
      rows.push(
        ["request-headers", "resumeRequest", status],
        ["request-headers", "resumeRequest+resumeRequest", status, BODY],
        ["response-headers", "resumeResponse", status],
        ["response-headers", "resumeResponse+resumeResponse", status],
      );
    for (const status of [1, 2]) rows.push(["request-body", "resumeRequest", status, BODY], ["response-body", "resumeResponse", status]);
    for (const status of [0, 1]) rows.push(["request-trailers", "resumeRequest", status, TRAILERS], ["response-trailers", "resumeResponse", status]);
    test.each(rows)("%s: %s with status %i", async (where, acts, status, sent) => {
      const path = `/${where}/${acts}/${status}`;
      expect(await outcome(path, sent)).toEqual(through(sent));
      expect(requestsTo(path)).toBe(1);
    });
  });

  test.each([
    ["create", undefined],
    ["request-headers", undefined],
    ["request-body", BODY],
    ["request-trailers", TRAILERS],
    ["fetch-request", undefined],
  ] as [string, Sent | undefined][])("resumeResponse before there is a response (%s) is ignored and said", async (where, sent) => {
    const path = `/${where}/resumeResponse/${where === "fetch-request" ? 1 : 0}`;
    const before = envoy.logs.length;
    expect(await outcome(path, sent)).toEqual(through(sent));
    await envoy.logged(/resume of the response ignored: it has not begun/);
    expect(envoy.logs.slice(before).join("\n")).toContain("resume of the response ignored");
  });

  test.each(["response-headers", "response-body", "response-trailers", "fetch-response"])("resumeRequest in %s changes nothing", async (where) => {
    expect(await outcome(`/${where}/resumeRequest+resumeRequest/${where === "fetch-response" ? 1 : 0}`)).toEqual(through());
  });

  test.each(["resumeRequest+resumeRequest", "resumeRequest+resumeResponse", "resumeRequest+next+text+fetch"])(
    "%s when a callout was answered lets the request go once",
    async (acts) => {
      for (const sent of [undefined, BODY, TRAILERS]) {
        const path = `/fetch-request/${acts}/0?${JSON.stringify(sent ?? {}).length}`;
        expect(await outcome(path, sent)).toEqual(through(sent));
        expect(requestsTo(path)).toBe(1);
      }
    },
  );

  test.each(["resumeResponse", "resumeResponse+resumeResponse", "resumeRequest+resumeResponse"])(
    "%s when a callout was answered lets the response go once",
    async (acts) => {
      expect(await outcome(`/fetch-response/${acts}`)).toEqual(through());
      expect(await outcome(`/fetch-response/${acts}/0/empty`)).toEqual([[200, ""]]);
    },
  );

  const ENDS: [string, number | "reset"][] = [
    ["reply", 418],
    ["reply+reply", 418],
    ["reply+reset", 418],
    ["reply+resumeRequest+resumeResponse", 418],
    ["reply+throw", 418],
    ["reset", "reset"],
    ["reset+reply", "reset"],
    ["reset+reset", "reset"],
    ["reset+throw", "reset"],
    ["reset+resumeRequest+resumeResponse", "reset"],
  ];
  describe.each([
    ["create", undefined],
    ["request-headers", undefined],
    ["request-body", BODY],
    ["request-trailers", TRAILERS],
    ["response-headers", undefined],
    ["response-body", undefined],
    ["fetch-request", undefined],
    ["fetch-response", undefined],
  ] as [string, Sent | undefined][])("in %s", (where, sent) => {
    test.each(ENDS)("%s", async (acts, expected) => {
      for (const status of [0, 1]) {
        const path = `/${where}/${acts}/${status}`;
        expect(await outcome(path, sent)).toEqual(expected === "reset" ? [] : [[418, "reply"]]);
        if (["create", "request-headers", "fetch-request"].includes(where)) expect(requestsTo(path)).toBe(0);
      }
    });
  });

  test.each(ENDS.map(([acts]) => acts))("%s in the response body after its headers went ends the stream", async (acts) => {
    await expect(send(`${envoy.url}/response-body-sent/${acts}`)).rejects.toThrow();
    await expect(send(`${envoy.url}/response-trailers/${acts}`)).rejects.toThrow();
  });

  test.each(["resumeRequest+reply", "resumeRequest+reset", "resumeResponse+reply", "resumeResponse+reset"])(
    "%s in one callback: one well-formed answer or none",
    async (acts) => {
      for (const where of ["request-headers", "fetch-request", "response-headers", "fetch-response"]) {
        for (const tail of ["", "/empty"]) {
          const all = await outcome(`/${where}/${acts}/1${tail}`).catch((error: Error) => error.message);
          // A stream that is reset after a part of its response went is a closed connection.
          if (typeof all !== "string") expect(all.length).toBeLessThanOrEqual(1);
          else expect(all).toMatch(/without end|instead of/);
        }
      }
    },
  );

  test.each(["reply", "reset", "reply+reply", "reset+reset", "resumeRequest+resumeResponse", "next+fetch+text", "dispatch", "throw"])(
    "%s in onLog and onDone changes nothing",
    async (acts) => {
      expect(await outcome(`/log/${acts}`)).toEqual(through());
      expect(await outcome(`/done/${acts}`)).toEqual(through());
    },
  );

  test("waiting calls of the linear style return at once", async () => {
    for (const where of ["create", "request-headers", "response-headers", "fetch-request"])
      expect(await outcome(`/${where}/next+fetch+text/${where.startsWith("fetch") ? 1 : 0}`)).toEqual(through());
  });

  test("headers with CR or LF are refused", async () => {
    for (const where of ["request-headers", "response-headers"]) expect(await outcome(`/${where}/evil/0`)).toEqual(through());
  });

  test("a status Envoy does not know holds, and its own resume lets it go", async () => {
    for (const status of [2, 5, -1]) expect(await outcome(`/request-headers/resumeRequest/${status}`)).toEqual(through());
  });

  test("a body cannot be buffered after a part of it was continued: the stream gets 500 and the log says why", async () => {
    expect(await outcome("/mixed", { body: ["abc", "defgh"] })).toEqual([[500, ""]]);
    await envoy.logged(/the request body cannot be buffered after a part of it was continued: return StopIterationAndBuffer from the first frame on/);
  });

  test("no stream is left hanging", async () => {
    expect(await envoy.stat("http.ingress.downstream_rq_active")).toBe(0);
  });

  const EVERYWHERE = ["request-headers", "response-headers", "response-body", "fetch-request", "fetch-response", "log", "done"];
  const statusIn = (where: string) => (where.startsWith("fetch") ? 1 : 0);

  test.each(EVERYWHERE)("a stream that another one resumes in %s goes on, and the other is as it was", async (where) => {
    const held = outcome("/keep");
    await waitFor(async () => (await envoy.stat("http.ingress.downstream_rq_active")) === 1);
    expect(await outcome(`/${where}/kept-resume/${statusIn(where)}`)).toEqual(through());
    expect(await held).toEqual(through());
  });

  test.each(EVERYWHERE)("a stream that another one answers or resets in %s is as it was, and so is the other", async (where) => {
    for (const act of ["kept-reply", "kept-reset", "kept-reply+reply"]) {
      const held = outcome("/keep");
      await waitFor(async () => (await envoy.stat("http.ingress.downstream_rq_active")) === 1);
      expect(await outcome(`/${where}/${act}/${statusIn(where)}`)).toEqual(
        act.endsWith("+reply") && where !== "log" && where !== "done" ? [[418, "reply"]] : through(),
      );
      await envoy.logged(/(reply|reset) ignored: a stream can only be (answered|reset) in its own callbacks/);
      expect(await outcome("/request-headers/kept-resume/0")).toEqual(through());
      expect(await held).toEqual(through());
    }
  });

  test("a paused stream goes on while others fail", async () => {
    const held = outcome("/keep");
    await waitFor(async () => (await envoy.stat("http.ingress.downstream_rq_active")) === 1);
    for (const where of ["create", "request-headers", "response-headers", "fetch-request", "fetch-response"])
      expect(await outcome(`/${where}/throw/0`)).toEqual([[500, ""]]);
    expect(await outcome("/request-headers/kept-resume/0")).toEqual(through());
    expect(await held).toEqual(through());
  });
});

async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}
