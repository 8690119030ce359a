// A mounted filter on both engines at once: every request runs on each, and what they answer has to be the same.
import { ReadableStream } from "node:stream/web";
import type { FetchInit } from "./exchange.js";
import { trailersOf } from "./handlers.js";
import type { Mounted, StreamRecord } from "./types.js";

/** Headers that differ from run to run. */
const VARYING = new Set(["date", "x-request-id", "x-envoy-upstream-service-time"]);

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
  trailers: Record<string, string>;
}

/** Reads a copy to its end. */
async function wholeOf(original: Response): Promise<Answer> {
  const response = original.clone();
  const headers: Record<string, string> = {};
  response.headers.forEach((value, name) => {
    if (!VARYING.has(name)) headers[name] = value;
  });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers, body, trailers: trailersOf(original) };
}

/** Where two engines say different things. */
export class EnginesDiffer extends Error {}

function compare(path: string, node: Answer | Error, envoy: Answer | Error): void {
  const fail = (what: string, a: unknown, b: unknown): never => {
    throw new EnginesDiffer(`${path}: the engines differ in the ${what}: node ${JSON.stringify(a)}, envoy ${JSON.stringify(b)}`);
  };
  if (node instanceof Error || envoy instanceof Error) {
    if (!(node instanceof Error && envoy instanceof Error))
      fail("answer", node instanceof Error ? node.message : node.status, envoy instanceof Error ? envoy.message : envoy.status);
    return;
  }
  if (node.status !== envoy.status) fail("status", node.status, envoy.status);
  if (JSON.stringify(node.headers) !== JSON.stringify(envoy.headers)) fail("headers", node.headers, envoy.headers);
  if (JSON.stringify(node.trailers) !== JSON.stringify(envoy.trailers)) fail("trailers", node.trailers, envoy.trailers);
  if (!node.body.equals(envoy.body)) fail("body", node.body.toString("latin1").slice(0, 200), envoy.body.toString("latin1").slice(0, 200));
}

/** A body that is made as it is read can be read once only. */
function twice(init: FetchInit | undefined): [FetchInit | undefined, FetchInit | undefined] {
  const body = init?.body;
  if (typeof body !== "object" || body === null || !(Symbol.asyncIterator in body)) return [init, init];
  const [a, b] = ReadableStream.from(body).tee();
  return [
    { ...init, body: a },
    { ...init, body: b },
  ];
}

export function mountBoth(node: Mounted, envoy: Mounted): Mounted {
  const mounted: Mounted = {
    engine: "both",
    async fetch(path: string, init?: FetchInit) {
      const run = async (engine: Mounted, own: FetchInit | undefined): Promise<{ response?: Response; answer: Answer | Error }> => {
        try {
          const response = await engine.fetch(path, own);
          return { response, answer: await wholeOf(response) };
        } catch (error) {
          return { answer: error as Error };
        }
      };
      const [first, second] = twice(init);
      const [a, b] = await Promise.all([run(node, first), run(envoy, second)]);
      compare(path, a.answer, b.answer);
      if (!a.response) throw a.answer;
      return a.response;
    },
    logs: node.logs,
    logged: async (pattern) => (await Promise.all([node.logged(pattern), envoy.logged(pattern)]))[0],
    streams: node.streams,
    async settled() {
      await Promise.all([node.settled(), envoy.settled()]);
      const key = (stream: StreamRecord) => JSON.stringify(stream);
      const [a, b] = [node.streams.map(key).sort(), envoy.streams.map(key).sort()];
      const at = a.findIndex((line, i) => line !== b[i]);
      if (at >= 0) throw new EnginesDiffer(`the engines differ in a stream: node ${a[at]}, envoy ${b[at]}`);
    },
    requests: (cluster) => node.requests(cluster),
    async metrics() {
      const [a, b] = await Promise.all([node.metrics(), envoy.metrics()]);
      for (const name of new Set([...Object.keys(a), ...Object.keys(b)]))
        if (a[name] !== b[name]) throw new EnginesDiffer(`the engines differ in the metric ${name}: node ${a[name]}, envoy ${b[name]}`);
      return a;
    },
    advance: async (ms) => {
      await Promise.all([node.advance(ms), envoy.advance(ms)]);
    },
    async close() {
      const results = await Promise.allSettled([node.close(), envoy.close()]);
      for (const result of results) if (result.status === "rejected") throw result.reason;
    },
    [Symbol.asyncDispose]: () => mounted.close(),
  };
  return mounted;
}
