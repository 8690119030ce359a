// The HTTP/2 codec against Node's own, and against bytes that are none.
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { fuzzing } from "../../test/fuzz/settings.js";
import { Bytes } from "../vm/bytes.js";
import { HeaderMap } from "../vm/headermap.js";
import type { MessageEncoder, ResponseEncoder, ServerCallbacks } from "./codec.js";
import { encodeHpack, HpackDecoder, HpackError } from "./hpack.js";
import { createHttp2Pool, serveHttp2 } from "./http2.js";
import { frame, PREFACE } from "./http2-frames.js";
import { HTTP2_DEFAULTS } from "./http2-session.js";
import { realScheduler } from "./scheduler.js";

const SMALL = { streamWindow: 65535, connectionWindow: 65535, maxConcurrentStreams: 3 };

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function listen(server: net.Server): Promise<number> {
  closers.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as net.AddressInfo).port;
}

/** Sends back what it gets; a request to /hold is not read, one to /reset is reset. */
const echo: ServerCallbacks = {
  newStream(encoder: ResponseEncoder) {
    let headers: HeaderMap | undefined;
    return {
      onHeaders(map, endStream) {
        headers = map;
        if (map.get(":path") === "/reset") {
          encoder.reset("LocalReset");
          return;
        }
        encoder.encodeHeaders(HeaderMap.of("response", [[":status", "200"], ...[...map.entries()].filter(([name]) => name.startsWith("x-"))]), endStream);
      },
      onData: (data, endStream) => headers && encoder.encodeData(data, endStream),
      onTrailers: (trailers) => encoder.encodeTrailers(trailers),
      onReset() {},
    };
  },
  onClose() {},
};

async function echoServer(settings = HTTP2_DEFAULTS, callbacks = echo): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    closers.push(() => socket.destroy());
    socket.on("error", () => {});
    socket.once("data", (first: Buffer) => serveHttp2(socket, first, callbacks, settings));
  });
  return listen(server);
}

/** One request over Node's client. */
function request(session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders, body: Buffer[] = [], trailers?: http2.OutgoingHttpHeaders) {
  return new Promise<{ headers: http2.IncomingHttpHeaders; body: Buffer; trailers: http2.IncomingHttpHeaders; code: number }>((resolve) => {
    const stream = session.request(headers, { endStream: body.length === 0 && !trailers, waitForTrailers: trailers !== undefined });
    const got = { headers: {}, body: Buffer.alloc(0), trailers: {}, code: 0 };
    const parts: Buffer[] = [];
    stream.on("response", (map) => Object.assign(got.headers, map));
    stream.on("trailers", (map) => Object.assign(got.trailers, map));
    stream.on("data", (data: Buffer) => parts.push(data));
    stream.on("error", () => {});
    stream.on("close", () => resolve({ ...got, body: Buffer.concat(parts), code: stream.rstCode }));
    if (trailers) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    for (const piece of body) stream.write(piece);
    if (body.length > 0 || trailers) stream.end();
  });
}

const pattern = (size: number): Buffer => Buffer.from(Uint8Array.from({ length: size }, (_, i) => i * 7 + (i >> 8)));

describe.each([
  ["as Envoy announces them", HTTP2_DEFAULTS],
  ["small", SMALL],
])("windows %s", (_what, settings) => {
  test("bodies of any size, many at a time, headers and trailers come back from this server", async () => {
    const session = http2.connect(`http://127.0.0.1:${await echoServer(settings)}`);
    closers.push(() => session.destroy());
    // How many streams there may be is known then.
    await once(session, "remoteSettings");
    const sizes = [0, 1, 16384, 16385, 65535, 65536, 1_000_000, 3_000_000];
    const answers = await Promise.all(
      sizes.map((size, i) =>
        request(session, { ":method": "POST", ":path": "/", "x-i": `é${i}`.repeat(i * 900 + 1) }, size === 0 ? [] : [pattern(size)], { "x-t": String(i) }),
      ),
    );
    for (const [i, answer] of answers.entries()) {
      expect(answer.headers[":status"]).toBe(200);
      expect(answer.headers["x-i"]).toBe(`é${i}`.repeat(i * 900 + 1));
      expect(answer.body.equals(pattern(sizes[i]!))).toBe(true);
      expect(answer.trailers["x-t"]).toBe(String(i));
    }
  });

  test("this client's bodies come back from Node's server", async () => {
    const server = http2.createServer((incoming, outgoing) => {
      outgoing.writeHead(200);
      incoming.pipe(outgoing);
    });
    closers.push(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as net.AddressInfo;
    const pool = createHttp2Pool({
      host: "127.0.0.1",
      port,
      connectTimeoutMs: 1000,
      enableTrailers: true,
      scheduler: realScheduler,
      newConnectionId: () => 0,
      settings,
    });
    closers.push(() => pool.close());
    const send = (size: number) =>
      new Promise<Buffer>((resolve, reject) => {
        const parts: Uint8Array[] = [];
        const decoder = {
          on1xx() {},
          onHeaders: (_headers: HeaderMap, endStream: boolean) => endStream && resolve(Buffer.concat(parts)),
          onData(data: Bytes, endStream: boolean) {
            parts.push(Uint8Array.from(data.all()));
            if (endStream) resolve(Buffer.concat(parts));
          },
          onTrailers() {},
          onReset: reject,
        };
        const onReady = (encoder: MessageEncoder) => {
          encoder.encodeHeaders(
            HeaderMap.of("request", [
              [":method", "POST"],
              [":path", "/"],
              [":authority", "a"],
            ]),
            false,
          );
          encoder.encodeData(new Bytes(pattern(size)), true);
        };
        pool.newStream(decoder, { onReady, onFailure: (_reason, details) => reject(new Error(details)) });
      });
    for (const [i, body] of (await Promise.all([1, 16385, 65536, 2_000_000].map(send))).entries())
      expect(body.equals(pattern([1, 16385, 65536, 2_000_000][i]!))).toBe(true);
  });
});

test("a stream that is reset leaves the others and the connection as they are", async () => {
  const session = http2.connect(`http://127.0.0.1:${await echoServer()}`);
  closers.push(() => session.destroy());
  const [reset, other] = await Promise.all([
    request(session, { ":path": "/reset" }),
    request(session, { ":method": "POST", ":path": "/" }, [Buffer.from("x")]),
  ]);
  expect(reset.code).toBe(http2.constants.NGHTTP2_INTERNAL_ERROR);
  expect(other.body.toString()).toBe("x");
  expect((await request(session, { ":path": "/" })).headers[":status"]).toBe(200);
});

test("a body that nobody reads stops when its window is full, and goes on when it is read", async () => {
  let encoder: ResponseEncoder | undefined;
  let received = 0;
  let told: (() => void) | undefined;
  const port = await echoServer(SMALL, {
    newStream(made) {
      encoder = made;
      return {
        onHeaders: () => made.readDisable(true),
        onData(data, endStream) {
          received += data.length;
          if (received === 65535) told?.();
          if (endStream) made.encodeHeaders(HeaderMap.of("response", [[":status", "200"]]), true);
        },
        onTrailers() {},
        onReset() {},
      };
    },
    onClose() {},
  });
  const session = http2.connect(`http://127.0.0.1:${port}`);
  closers.push(() => session.destroy());
  const full = new Promise<void>((resolve) => {
    told = resolve;
  });
  const answer = request(session, { ":method": "POST", ":path": "/" }, [pattern(500_000)]);
  await full;
  // A question and its answer: whatever would have come has come by then.
  await new Promise((resolve) => session.ping(Buffer.alloc(8), resolve));
  expect(received).toBe(65535);
  encoder!.readDisable(false);
  expect((await answer).headers[":status"]).toBe(200);
  expect(received).toBe(500_000);
});

describe("HPACK", () => {
  const field = fc.tuple(
    fc.stringMatching(/^[!-~]{1,20}$/),
    fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 200 }),
  );

  test("what is written is read again", () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), (fields) => {
        const read: [string, string][] = [];
        new HpackDecoder().decode(encodeHpack(fields), (name, value) => read.push([name, value]));
        expect(read).toEqual(fields);
      }),
      fuzzing(200),
    );
  });

  test("any bytes are read, or refused as HPACK", () => {
    const decoder = new HpackDecoder();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          decoder.decode(bytes, () => {});
        } catch (error) {
          expect(error).toBeInstanceOf(HpackError);
        }
      }),
      fuzzing(2000),
    );
  });
});

test("any frames end a connection at most", async () => {
  const port = await echoServer();
  const block = fc.oneof(
    fc.uint8Array({ maxLength: 30 }),
    fc.constant(
      encodeHpack([
        [":method", "POST"],
        [":path", "/"],
        [":scheme", "http"],
        [":authority", "a"],
      ]),
    ),
  );
  const any = fc
    .tuple(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 2, 3, 5, 0x7fffffff), block)
    .map(([type, flags, id, payload]) => frame(type, flags, id, payload));
  await fc.assert(
    fc.asyncProperty(fc.array(any, { maxLength: 12 }), async (frames) => {
      await new Promise<void>((resolve) => {
        const socket = net.connect(port, "127.0.0.1", () => {
          socket.end(Buffer.concat([PREFACE, frame(4, 0, 0), ...frames]));
        });
        socket.on("error", () => {});
        socket.on("close", () => resolve());
        socket.resume();
      });
    }),
    fuzzing(300),
  );
  const session = http2.connect(`http://127.0.0.1:${port}`);
  closers.push(() => session.destroy());
  expect((await request(session, { ":path": "/" })).headers[":status"]).toBe(200);
});
