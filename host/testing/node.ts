// A mounted filter on the Node engine: everything in this process, without a socket.
import type { HostPool, ResponseDecoder, ResponseEncoder } from "../proxy/codec.js";
import { type Engine, startEngine } from "../proxy/engine.js";
import { createHttp1Pool } from "../proxy/http1-client.js";
import { isField } from "../proxy/http1-parser.js";
import { isOrdinary } from "../proxy/http1-server.js";
import { ManualTime, realScheduler } from "../proxy/scheduler.js";
import { LEVELS } from "../vm/environment.js";
import type { HeaderMap } from "../vm/headermap.js";
import { Client, type Outgoing, openOn } from "./client.js";
import { type ClusterSpec, noHosts } from "./handlers.js";
import { Leaks } from "./leaks.js";
import { checkTime } from "./options.js";
import { poolFor } from "./pools.js";
import { generator } from "./random.js";
import { Records } from "./records.js";
import { type Module, settingFor, withoutHosts } from "./setting.js";
import type { Mounted, MountOptions } from "./types.js";
import { wire } from "./wire.js";

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
      if (!/^[1-9]\d\d$/.test(copy.get(":status") ?? "") || !areFields(copy)) {
        over = true;
        decoder.onReset("ProtocolError");
        return;
      }
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

/** Whether a client's codec takes these headers. */
function areFields(headers: HeaderMap): boolean {
  const { names, values } = headers.lists();
  for (let i = 0; i < names.length; i++) {
    if (names[i]!.charCodeAt(0) !== 58 && !isField(names[i]!, values[i]!.trim())) return false;
  }
  return true;
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
  let closed: Promise<void> | undefined;
  let client: Client | undefined;
  const engine: Engine = startEngine({
    bootstrap,
    file: "mount()",
    onCrash(signal, call) {
      crash = new Error(`a real Envoy would ${signal === "hang" ? "hang" : `die (${signal})`} here: ${call}`);
      records.end(crash);
      client?.end(crash);
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

  /** For requests that the codec has something to say about: over a wire, through both ends' codecs. */
  const overWire = createHttp1Pool({
    host: "",
    port: 0,
    connectTimeoutMs: 1000,
    enableTrailers: true,
    scheduler: realScheduler,
    newConnectionId: () => 0,
    connect() {
      const [client, server] = wire();
      engine.accept(server);
      process.nextTick(() => client.emit("connect"));
      return client;
    },
  });

  const inside = (headers: HeaderMap, decoder: ResponseDecoder): Outgoing => {
    // As a client does whose connection was closed behind an answer.
    if (connection.closing) connection = engine.connect("HTTP/1.1");
    const request = connection.newStream(clientEncoder(decoder, headers.get(":method") === "HEAD"));
    return {
      headers: (endStream) => request.onHeaders(headers, endStream),
      data: (data, endStream) => request.onData(data, endStream),
      trailers: (trailers) => request.onTrailers(trailers),
      next: async () => {},
      abort: () => request.onReset("ConnectionTermination"),
    };
  };
  client = new Client({ records, random, open: (headers, decoder) => (isOrdinary(headers) ? inside(headers, decoder) : openOn(overWire, headers, decoder)) });

  const mounted: Mounted = {
    engine: "node",
    fetch: (path, init) => client!.fetch(path, init),
    logs: records.logs,
    logged: (pattern) => records.logged(pattern),
    streams: records.streams,
    settled: () => records.settled(),
    requests: (cluster) => records.requests(cluster),
    async metrics() {
      client.check();
      return Object.fromEntries(
        engine.metrics
          .all()
          .filter(({ type }) => type < 2)
          .map(({ name, value }) => [name, Number(value)]),
      );
    },
    async advance(ms) {
      client.check();
      checkTime(ms);
      if (time) await time.advance(ms, settle);
      else await new Promise((resolve) => setTimeout(resolve, ms));
    },
    close() {
      closed ??= (async () => {
        await settle();
        const found = options.leaks === false || crash ? [] : leaks.find(engine);
        overWire.close();
        engine.terminate();
        await engine.ended;
        const error = new Error("the filter was closed");
        records.end(error);
        client.end(error);
        if (crash ?? records.fault) throw crash ?? records.fault;
        if (found.length > 0) throw new Error(found.join("; "));
      })();
      return closed;
    },
    [Symbol.asyncDispose]: () => mounted.close(),
  };
  return mounted;
}
