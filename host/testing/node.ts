// A mounted filter on the Node engine: everything in this process, without a socket.
import type { HostPool, ResponseDecoder, ResponseEncoder } from "../proxy/codec.js";
import { type Engine, startEngine } from "../proxy/engine.js";
import { removeNamedByConnection } from "../proxy/hop-headers.js";
import { ManualTime } from "../proxy/scheduler.js";
import { Bytes } from "../vm/bytes.js";
import { LEVELS } from "../vm/environment.js";
import type { HeaderMap } from "../vm/headermap.js";
import { type FetchInit, receive, requestHeaders, type SeenRequest, sendBody, serve } from "./exchange.js";
import { type ClusterSpec, type Handler, noHosts, refused } from "./handlers.js";
import { Leaks } from "./leaks.js";
import { generator, split } from "./random.js";
import { Records } from "./records.js";
import { type Module, settingFor, withoutHosts } from "./setting.js";
import type { Mounted, MountOptions } from "./types.js";

const BODILESS = new Set(["GET", "HEAD", "DELETE", "TRACE", "CONNECT"]);

/** Who is told of what a cluster's function gets and does. */
interface Heard {
  onRequest(request: SeenRequest): void;
  onError(error: Error): void;
}

/** A cluster that is a function: its "connections" are calls. */
function functionPool(handler: Handler, http2: boolean, random: (() => number) | undefined, heard: Heard): HostPool {
  return {
    newStream(decoder, { onReady }) {
      let cancelled = false;
      // As a connection that has to be made first: the caller has gone on by then.
      queueMicrotask(() => {
        if (cancelled) return;
        const server = connectFunction(handler, decoder, http2, random, heard);
        onReady(server, { protocol: http2 ? "HTTP/2" : "HTTP/1.1", remoteAddress: "127.0.0.1:9000", localAddress: "127.0.0.1:40001", readyNanoseconds: 0 });
      });
      return () => {
        cancelled = true;
      };
    },
    close() {},
  };
}

function connectFunction(handler: Handler, decoder: ResponseDecoder, http2: boolean, random: (() => number) | undefined, heard: Heard) {
  let over = false;
  let mayAnswer = false;
  let waiting: (() => void)[] | undefined;
  /** A request that is on its way in one go is there before its answer, as over a wire. */
  const afterRequest = (step: () => void) => {
    if (waiting) waiting.push(step);
    else if (mayAnswer) step();
    else {
      waiting = [step];
      setImmediate(() => {
        mayAnswer = true;
        const steps = waiting!;
        waiting = undefined;
        for (const one of steps) one();
      });
    }
  };
  const deliver = (data: Bytes, endStream: boolean) => {
    if (random && data.length > 1) for (const piece of split(data.all(), random)) decoder.onData(new Bytes(piece), false);
    else if (data.length > 0) decoder.onData(data, http2 && endStream);
    if (endStream && !(http2 && data.length > 0 && !random)) decoder.onData(new Bytes(), true);
  };
  const side = serve(
    handler,
    {
      onError: heard.onError,
      onReset: () =>
        afterRequest(() => {
          if (over) return;
          over = true;
          decoder.onReset("ConnectionTermination");
        }),
      encoder: {
        encodeHeaders: (headers, endStream) =>
          afterRequest(() => {
            if (over) return;
            headers.remove("keep-alive");
            if (endStream) over = true;
            // What Envoy finds in a chunked answer of HTTP/1.
            else if (!http2 && !headers.has("content-length")) headers.add("transfer-encoding", "chunked");
            decoder.onHeaders(headers, endStream);
          }),
        encodeData: (data, endStream) =>
          afterRequest(() => {
            if (over) return;
            if (endStream) over = true;
            deliver(data, endStream);
          }),
        encodeTrailers: (trailers) =>
          afterRequest(() => {
            if (over) return;
            over = true;
            decoder.onTrailers(trailers);
          }),
        reset() {
          over = true;
        },
      },
    },
    heard.onRequest,
  );
  return {
    encodeHeaders(headers: HeaderMap, endStream: boolean) {
      const sent = headers.copy();
      if (endStream && !BODILESS.has(sent.get(":method") ?? "") && !sent.has("content-length")) sent.add("content-length", "0");
      mayAnswer = endStream;
      side.onHeaders(sent, endStream);
    },
    encodeData(data: Bytes, endStream: boolean) {
      if (endStream) mayAnswer = true;
      side.onData(data, endStream);
    },
    encodeTrailers(trailers: HeaderMap) {
      mayAnswer = true;
      side.onTrailers(trailers);
    },
    reset() {
      over = true;
      side.onReset("LocalReset");
    },
    readDisable() {},
  };
}

function poolFor(spec: ClusterSpec, random: (() => number) | undefined, heard: Heard): HostPool {
  if (spec === refused) {
    return {
      newStream(_decoder, { onFailure }) {
        let cancelled = false;
        setImmediate(() => {
          if (!cancelled) onFailure("RemoteConnectionFailure", "delayed connect error: Connection refused");
        });
        return () => {
          cancelled = true;
        };
      },
      close() {},
    };
  }
  if (typeof spec === "function") return functionPool(spec, false, random, heard);
  return functionPool((spec as { http2: Handler }).http2, true, random, heard);
}

/** The client's end of an exchange inside this process: what HTTP/1 would do to it on the wire. */
function clientEncoder(decoder: ResponseDecoder, isHead: boolean): ResponseEncoder {
  let over = false;
  let promised: number | undefined;
  let sent = 0;
  const end = () => {
    over = true;
    if (promised === undefined || promised === sent || isHead) return true;
    decoder.onReset("ProtocolError", `content-length is ${promised}, the body has ${sent} bytes`);
    return false;
  };
  return {
    encode1xx() {},
    encodeHeaders(headers, endStream) {
      if (over) return;
      const copy = headers.copy();
      const status = Number(copy.get(":status"));
      const bodiless = status < 200 || status === 204 || status === 304;
      const length = copy.get("content-length");
      if (length !== undefined && /^\d+$/.test(length) && !bodiless) promised = Number(length);
      if (endStream && length === undefined && !isHead && !bodiless) copy.add("content-length", "0");
      if (endStream && !end()) return;
      decoder.onHeaders(copy, endStream);
    },
    encodeData(data, endStream) {
      if (over) return;
      sent += data.length;
      if (isHead) data.clear();
      if (endStream && !end()) return;
      decoder.onData(data, endStream);
    },
    encodeTrailers(trailers) {
      if (over) return;
      if (end()) decoder.onTrailers(trailers);
    },
    reset() {
      if (over) return;
      over = true;
      decoder.onReset("LocalReset", "the stream was reset");
    },
    readDisable() {},
  };
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
};

export async function mountNode(modules: Module[], options: MountOptions, seed: number | undefined): Promise<Mounted> {
  const records = new Records(options.properties ?? []);
  const random = seed === undefined ? undefined : generator(seed);
  const time = options.time === "manual" ? new ManualTime() : undefined;
  const clusters: Record<string, ClusterSpec> = { upstream: () => new Response(null), ...options.clusters };
  const pools: Record<string, HostPool> = {};
  for (const [name, spec] of Object.entries(clusters))
    if (spec !== noHosts)
      pools[name] = poolFor(spec, random, { onRequest: (request) => records.request(name, request), onError: (error) => records.handlerFailed(name, error) });
  const targets = Object.entries(clusters).map(([name, spec]) => ({ name, url: "http://127.0.0.1:9000", http2: typeof spec === "object" }));
  const bootstrap = withoutHosts(
    settingFor(modules, targets, options),
    Object.entries(clusters).flatMap(([name, spec]) => (spec === noHosts ? [name] : [])),
  );
  const leaks = new Leaks();
  let crash: Error | undefined;
  const engine: Engine = startEngine({
    bootstrap,
    file: "mount()",
    onCrash(signal, call) {
      crash = new Error(`a real Envoy would ${signal === "hang" ? "hang" : `die (${signal})`} here: ${call}`);
      records.end(crash);
    },
    wasmLogLevel: LEVELS.indexOf(options.logLevel ?? "info"),
    listen: false,
    pools,
    ...(time ? { scheduler: time, clock: time } : {}),
    onLog: ({ logger, level, text }) => {
      if (logger === "wasm") records.log(level, text);
    },
    onOutput: (text) => records.output(text),
    onStreamEnd: () => leaks.sample(engine),
  });
  try {
    await engine.ready;
  } catch (error) {
    const said = records.logs.filter(({ level }) => level === "error" || level === "critical").map(({ text }) => text);
    // What a module said about a trap goes on with a backtrace: that is in the log.
    throw new Error([crash?.message ?? (error as Error).message, ...said.map((text) => text.split("\n", 1)[0]!)].join("; "));
  }
  let connection = engine.connect("HTTP/1.1");

  const fetch = async (path: string, init: FetchInit = {}): Promise<Response> => {
    if (crash) throw crash;
    const { headers, pieces } = requestHeaders(path, init);
    const { decoder, response } = receive();
    removeNamedByConnection(headers);
    const encoder = clientEncoder(decoder, headers.get(":method") === "HEAD");
    records.begun++;
    // As a client does whose connection was closed behind an answer.
    if (connection.closing) connection = engine.connect("HTTP/1.1");
    const request = connection.newStream(encoder);
    const abort = () => request.onReset("ConnectionTermination");
    init.signal?.addEventListener("abort", () => {
      decoder.onReset("LocalReset", "aborted by the test");
      abort();
    });
    const endStream = pieces === undefined && !init.trailers;
    request.onHeaders(headers, endStream);
    if (!endStream)
      await sendBody(pieces, init.trailers, random, {
        data: (data, end) => request.onData(data, end),
        trailers: (map) => request.onTrailers(map),
        next: async () => {},
      });
    try {
      return await (crash ? Promise.reject(crash) : response);
    } catch (error) {
      throw crash ?? error;
    }
  };

  const mounted: Mounted = {
    engine: "node",
    fetch,
    logs: records.logs,
    logged: (pattern) => records.logged(pattern),
    streams: records.streams,
    settled: () => records.settled(),
    requests: (cluster) => records.requests(cluster),
    async metrics() {
      return Object.fromEntries(
        engine.metrics
          .all()
          .filter(({ type }) => type < 2)
          .map(({ name, value }) => [name, Number(value)]),
      );
    },
    async advance(ms) {
      if (time) await time.advance(ms, settle);
      else await new Promise((resolve) => setTimeout(resolve, ms));
    },
    async close() {
      await settle();
      const found = options.leaks === false || crash ? [] : leaks.find(engine);
      engine.terminate();
      await engine.ended;
      records.end(new Error("the filter was closed"));
      if (crash ?? records.fault) throw crash ?? records.fault;
      if (found.length > 0) throw new Error(found.join("; "));
    },
    [Symbol.asyncDispose]: () => mounted.close(),
  };
  return mounted;
}
