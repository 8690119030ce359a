// Clusters that are functions, inside this process: their "connections" are calls that say what the codecs of both ends would.
import type { HostPool, ResponseDecoder } from "../proxy/codec.js";
import { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";
import { type SeenRequest, serve } from "./exchange.js";
import { type ClusterSpec, type Handler, refused } from "./handlers.js";
import { split } from "./random.js";

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
      onReset: (begun) =>
        afterRequest(() => {
          if (over) return;
          over = true;
          // As the codecs find it: an HTTP/1 message without its end is an error of the protocol.
          decoder.onReset(http2 ? "RemoteReset" : begun ? "ProtocolError" : "ConnectionTermination");
        }),
      encoder: {
        encodeHeaders: (headers, endStream) =>
          afterRequest(() => {
            if (over) return;
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

export function poolFor(spec: ClusterSpec, random: (() => number) | undefined, heard: Heard): HostPool {
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
