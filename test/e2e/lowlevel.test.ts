// The low-level style: every status of every callback, what Envoy then does, resumes, and calls.

import type { ServerResponse } from "node:http";
import http from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clients } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTER = `
import { Body, DataStatus, FetchRequest, FetchResponse, HeaderMap, HeadersStatus, OnError, Request, Response, Stream, StreamFilter, TrailersStatus, filter, log } from "envoyscript-sdk";

class Config { mark: string = "?"; }

/** Statuses come as headers: x-request-headers, x-request-body (one per callback, "," between), x-request-trailers, and the same for the response. */
@filter("low", OnError.Open)
export class Low extends StreamFilter<Config> {
  steps: string[] = [];
  requestBodies: i32 = 0;
  responseBodies: i32 = 0;
  token: u32 = 0;
  answer: string = "";

  private ask(name: string): string {
    const value = this.stream.request.headers.get(name);
    return value === null ? "" : value;
  }
  private status(name: string, index: i32): i32 {
    const list = this.ask(name).split(",");
    const text = list[min(index, list.length - 1)];
    return text.length == 0 ? 0 : i32(parseInt(text));
  }
  private call(when: string): void {
    const wanted = this.ask("x-call");
    if (!wanted.startsWith(when)) return;
    const call = new FetchRequest(wanted.endsWith("nowhere") ? "nowhere" : "other", "/" + when);
    this.token = this.dispatch(call);
    if (this.token == 0) log.info("no call: " + this.lastError);
  }

  /** A status that holds, unless what it waits for is there already. */
  private until(status: i32): i32 {
    return this.token != 0 && this.answer.length > 0 ? 0 : status;
  }

  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    this.steps.push("H" + (endOfStream ? "e" : ""));
    headers.set("x-mark", this.config.mark);
    this.call("request");
    if (this.ask("x-fault") == "headers") unreachable();
    return this.status("x-request-headers", 0);
  }
  onRequestBody(body: Body<Request>, endOfStream: bool): DataStatus {
    this.steps.push("B" + body.size.toString() + (endOfStream ? "e" : ""));
    const edit = this.ask("x-edit");
    if (body.size > 0 && edit == "replace") body.replace(body.chunkText.toUpperCase());
    if (body.size > 0 && edit == "drop") body.drop();
    if (edit == "append" && endOfStream) body.append("!");
    return this.until(this.status("x-request-body", this.requestBodies++));
  }
  onRequestTrailers(trailers: HeaderMap): TrailersStatus {
    this.steps.push("T" + trailers.length.toString());
    trailers.set("x-low", "1");
    this.call("trailers");
    return this.until(this.status("x-request-trailers", 0));
  }
  onResponseHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    this.steps.push("h" + (endOfStream ? "e" : ""));
    headers.set("x-steps", this.steps.join(" "));
    headers.set("x-answer", this.answer);
    this.call("response");
    return this.status("x-response-headers", 0);
  }
  onResponseBody(body: Body<Response>, endOfStream: bool): DataStatus {
    this.steps.push("b" + body.size.toString() + (endOfStream ? "e" : ""));
    if (body.size > 0 && this.ask("x-edit") == "response") body.replace(body.chunkText.toUpperCase());
    return this.until(this.status("x-response-body", this.responseBodies++));
  }
  onResponseTrailers(trailers: HeaderMap): TrailersStatus {
    this.steps.push("t" + trailers.length.toString());
    trailers.set("x-low", "1");
    return this.status("x-response-trailers", 0);
  }
  onFetch(token: u32, response: FetchResponse): void {
    this.steps.push("F");
    this.answer = (token == this.token).toString() + response.status.toString() + response.text() + response.error;
    const then = this.ask("x-then");
    if (then == "fault") unreachable();
    if (then == "reply") return this.stream.reply(403, "no: " + this.answer);
    if (then == "reset") return this.stream.reset();
    if (this.stream.response.status == 0) this.stream.request.headers.set("x-answer", this.answer);
    else this.stream.response.headers.set("x-answer", this.answer);
    this.resumeRequest();
    this.resumeResponse();
  }
  onLog(stream: Stream): void {
    log.info("log " + stream.request.path + " " + this.steps.join(" "));
  }
  onDone(): void {
    log.info("done " + this.stream.request.path);
  }
}`;

const calls: ServerResponse[] = [];
let called: () => void = () => {};

describe.each(clients)("a StreamFilter over %s", (name, client) => {
  let envoy: TestEnvoy;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: FILTER,
      config: { mark: "m" },
      upstreamOptions: { http2: true },
      upstream: (seen, response) => {
        response.write(JSON.stringify({ headers: seen.headers, body: seen.body.toString(), trailers: seen.trailers }));
        if (seen.headers["x-trailers"]) response.addTrailers({ "x-end": "1" });
        response.end();
      },
      clusters: {
        other: (seen, response) => {
          calls.push(response);
          called();
          if (!seen.headers["x-hold"]) response.end(seen.url);
        },
      },
    });
  });
  afterAll(() => envoy?.close());

  const run = async (headers: Record<string, string>, exchange: { body?: string[]; trailers?: Record<string, string> } = {}) => {
    const answer = await client(envoy.url, { headers, ...exchange });
    return { ...answer, seen: answer.status === 200 ? JSON.parse(answer.text) : undefined, steps: String(answer.headers["x-steps"]) };
  };
  const body = ["one", "two"];

  test("all Continue: sees everything, holds nothing", async () => {
    const get = await run({});
    expect(get.seen.headers["x-mark"]).toBe("m");
    expect(get.steps).toBe("He h");
    const post = await run({ "x-trailers": "1" }, { body, trailers: { "x-t": "1" } });
    expect(post.seen).toMatchObject({ body: "onetwo", trailers: { "x-t": "1", "x-low": "1" } });
    expect(post.steps).toMatch(/^H (B\d+ )+T1 h$/);
    expect(post.trailers).toMatchObject({ "x-end": "1", "x-low": "1" });
  });

  test.each([1, 3, 4])("headers status %i and a resume by the answer to a call", async (status) => {
    for (const exchange of [{}, { body }, { body, trailers: { "x-t": "1" } }]) {
      // A filter that holds its headers with StopIteration also holds what follows, or that would let them go.
      const answer = await run(
        {
          "x-call": "request",
          "x-request-headers": String(status),
          "x-request-body": status === 1 ? "1" : "0",
          "x-request-trailers": status === 1 ? "1" : "0",
        },
        exchange,
      );
      expect(answer.status).toBe(200);
      expect(answer.seen.body).toBe("body" in exchange ? "onetwo" : "");
      expect(answer.seen.headers["x-answer"]).toBe("true200/request");
      expect(answer.steps).toContain(" F ");
    }
  });

  test("headers status StopIteration: Continue of the body lets both go", async () => {
    const answer = await run({ "x-request-headers": "1", "x-request-body": "1,0" }, { body });
    expect(answer.seen.body).toBe("onetwo");
  });

  test("body statuses: Continue, AndBuffer, AndWatermark, NoBuffer", async () => {
    expect((await run({ "x-request-body": "0" }, { body })).seen.body).toBe("onetwo");
    // Held from the first frame on; the last callback continues.
    const answer = await client(envoy.url, {
      body: [...body, "three"],
      headers: { "x-request-body": "1,1,1,1,1,1", "x-call": "trailers" },
      trailers: { "x-t": "1" },
    });
    expect(JSON.parse(answer.text)).toMatchObject({ body: "onetwothree", trailers: { "x-t": "1" } });
    const dropped = await run({ "x-request-body": "3,3,3,3,3,3", "x-call": "trailers" }, { body, trailers: { "x-t": "1" } });
    expect(dropped.seen).toMatchObject({ body: "", trailers: { "x-t": "1" } });
    const watermark = await run({ "x-request-body": "2,2,2,2,2,2", "x-call": "trailers" }, { body, trailers: { "x-t": "1" } });
    expect(watermark.seen).toMatchObject({ body: "onetwo", trailers: { "x-t": "1" } });
  });

  test("a body is replaced, dropped, appended to", async () => {
    expect((await run({ "x-edit": "replace" }, { body })).seen.body).toBe("ONETWO");
    expect((await run({ "x-edit": "drop" }, { body })).seen.body).toBe("");
    expect((await run({ "x-edit": "append" }, { body })).seen.body).toBe("onetwo!");
    const response = await client(envoy.url, { headers: { "x-edit": "response" } });
    expect(response.text).toContain('"X-MARK":"M"');
  });

  test("trailers status StopIteration and a resume", async () => {
    const answer = await run({ "x-call": "trailers", "x-request-trailers": "1" }, { body, trailers: { "x-t": "1" } });
    expect(answer.seen).toMatchObject({ body: "onetwo", trailers: { "x-t": "1", "x-low": "1" } });
    expect(answer.steps).toMatch(/T1 F h$/);
  });

  test.each([1, 3, 4])("response headers status %i and a resume by the answer to a call", async (status) => {
    const answer = await run({ "x-call": "response", "x-response-headers": String(status), "x-response-body": "1" });
    expect(answer.status).toBe(200);
    expect(answer.headers["x-answer"]).toBe("true200/response");
    expect(answer.seen.body).toBe("");
  });

  test("a body held by NoBuffer under held headers is gone, and the headers can still be resumed", async () => {
    const answer = await run({ "x-call": "request", "x-request-headers": "1", "x-request-body": "3" }, { body });
    expect(answer.status).toBe(200);
    expect(answer.seen.headers["x-answer"]).toBe("true200/request");
  });

  test("a call that cannot be made says why", async () => {
    expect((await run({ "x-call": "request nowhere" })).status).toBe(200);
    await envoy.logged(/info .*no call: Envoy has no cluster "nowhere"/);
  });

  test("a reply and a reset by the answer to a call", async () => {
    expect(await run({ "x-call": "request", "x-request-headers": "4", "x-then": "reply" }, { body })).toMatchObject({
      status: 403,
      text: "no: true200/request",
    });
    expect(await run({ "x-call": "response", "x-response-headers": "4", "x-then": "reply" })).toMatchObject({ status: 403, text: "no: true200/response" });
    await expect(run({ "x-call": "request", "x-request-headers": "4", "x-then": "reset" })).rejects.toThrow();
  });

  test.each(["request", "response"])("a fault in onFetch while the %s is held, with onError open: the stream goes on", async (side) => {
    const answer = await run({ "x-call": side, [`x-${side}-headers`]: "4", "x-then": "fault" }, { body });
    expect(answer.status).toBe(200);
    expect(answer.seen.body).toBe("onetwo");
    await envoy.logged(/error .*filter "low" failed: .*; the stream goes on without it/);
  });

  test("a fault in onRequestHeaders with onError open", async () => {
    const answer = await run({ "x-fault": "headers" }, { body });
    expect(answer).toMatchObject({ status: 200, seen: { body: "onetwo" } });
    expect(answer.headers).not.toHaveProperty("x-steps");
  });

  test("onLog sees the stream, onDone comes last, each once", async () => {
    await client(`${envoy.url}/over/${name}`, { body });
    await envoy.logged(new RegExp(`info .*done /over/${name}$`));
    const lines = envoy.logs.filter((line) => line.includes(`/over/${name}`)).map((line) => line.replace(/^.*: (log|done) \S+ ?/, "$1 "));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^log H (B\d+e? )+h b\d+/);
    expect(lines[1]).toBe("done ");
  });

  test("the client goes away while a call runs: no onFetch", async () => {
    const other = await startTestEnvoy({
      filter: FILTER,
      clusters: {
        other: (_, response) => {
          calls.push(response);
          called();
        },
      },
    });
    try {
      const asked = new Promise<void>((resolve) => (called = resolve));
      const leave = new AbortController();
      const request = client(`${other.url}/gone`, { headers: { "x-call": "request", "x-request-headers": "4" }, signal: leave.signal });
      request.catch(() => {});
      await asked;
      leave.abort();
      await other.logged(/info .*done \/gone/);
      calls.at(-1)!.end("late");
      expect((await client(`${other.url}/fine`)).status).toBe(200);
      expect(other.logs.find((line) => line.includes("log /gone"))).toMatch(/log \/gone He$/);
    } finally {
      await other.close();
    }
  });

  test("frames that are continued are on their way before the rest comes", async () => {
    if (name === "HTTP/2") return;
    const steps = await new Promise<string>((resolve, reject) => {
      const request = http.request(envoy.url, { method: "POST", agent: false }, (response) => {
        response.resume();
        resolve(String(response.headers["x-steps"]));
      });
      request.on("error", reject);
      request.write("12345");
      const wait = async () => {
        while ((await envoy.stat("cluster.upstream.upstream_rq_active")) === 0) await new Promise((next) => setImmediate(next));
        request.end("678");
      };
      void wait();
    });
    expect(steps).toMatch(/^H B5 B3 B0e h$/);
  });
});
