// Between the fetch standard's messages and a codec's: a handler's Request and Response, a test's Request and Response, on both engines alike.

import type { MessageDecoder, MessageEncoder, ResponseDecoder } from "../proxy/codec.js";
import { Bytes } from "../vm/bytes.js";
import { HeaderMap } from "../vm/headermap.js";
import type { RequestBody, SentBody } from "./body.js";
import type { Outgoing } from "./client.js";
import { type Handler, ResetError, setTrailers, trailersOf } from "./handlers.js";
import { split } from "./random.js";

/** Statuses that have no body in the fetch standard. */
const NO_BODY = new Set([101, 103, 204, 205, 304]);

const HOP = new Set(["transfer-encoding"]);

/** A body that arrives. Whole ones are handed over in one piece. */
class Incoming {
  private parts: Uint8Array[] = [];
  private ended = false;
  private error: { is: unknown } | undefined;
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  trailers: Record<string, string> | undefined;

  constructor(private readonly kept?: Uint8Array[]) {}

  push(data: Bytes): void {
    if (data.length === 0) return;
    const bytes = Uint8Array.from(data.all());
    this.kept?.push(bytes);
    if (this.controller) this.controller.enqueue(bytes);
    else this.parts.push(bytes);
  }

  end(): void {
    this.ended = true;
    this.controller?.close();
  }

  fail(error: unknown): void {
    this.error = { is: error };
    this.controller?.error(error);
  }

  get complete(): boolean {
    return this.ended;
  }

  /** Bytes where everything is there, a stream where it is not. */
  body(): Uint8Array | ReadableStream<Uint8Array> | null {
    if (this.ended) return this.parts.length === 0 ? null : this.parts.length === 1 ? this.parts[0]! : Buffer.concat(this.parts);
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.controller = controller;
        for (const part of this.parts) controller.enqueue(part);
        if (this.ended) controller.close();
        else if (this.error) controller.error(this.error.is);
      },
    });
  }
}

function toHeaders(map: HeaderMap): [string, string][] {
  const list: [string, string][] = [];
  for (const [name, value] of map.entries()) if (name.charCodeAt(0) !== 58 && !HOP.has(name)) list.push([name, value]);
  return list;
}

/** Headers that the fetch standard can hold; the others (of a guest's making) are left out. */
function headersOf(list: [string, string][]): Headers {
  const headers = new Headers();
  for (const [name, value] of list) {
    try {
      headers.append(name, value);
    } catch {
      // Nothing that a test could read by this name.
    }
  }
  return headers;
}

/** A Request of any method and target: those that the constructor refuses (TRACE, CONNECT, "//[") are shown all the same. */
function requestOf(url: string, method: string, headers: Headers, body: BodyInit | null): Request {
  const make = (at: string, as: string) => new Request(at, { method: as, headers, ...(body === null ? {} : { body, duplex: "half" }) } as RequestInit);
  const shown = (request: Request, name: string, value: string) => Object.defineProperty(request, name, { value });
  const standard = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method) && !/^(connect|trace|track)$/i.test(method);
  const valid = URL.canParse(url);
  const request = make(valid ? url : "http://cluster/", standard ? method : "POST");
  if (!standard) shown(request, "method", method);
  if (!valid) shown(request, "url", url);
  return request;
}

/** Where a response to a handler's request goes. */
export interface Answer {
  encoder: Omit<MessageEncoder, "readDisable">;
  /** The handler broke the connection, before its answer or (`begun`) in the middle of it. */
  onReset(begun: boolean): void;
  /** The handler failed: its own fault, not a part of the test. */
  onError(error: Error): void;
}

/** A request that reached a cluster. */
export class SeenRequest {
  readonly parts: Uint8Array[] = [];
  trailers: Record<string, string> = {};

  constructor(
    readonly method: string,
    /** With its query. */
    readonly path: string,
    readonly headers: Headers,
  ) {}

  /** What has arrived of the body. */
  get bytes(): Uint8Array {
    return Buffer.concat(this.parts);
  }

  get text(): string {
    return Buffer.concat(this.parts).toString("utf8");
  }
}

/** A response that no server could send. */
class HandlerError extends Error {}

/** Receives a request, asks the handler when its headers are there, and sends what it says. */
export function serve(handler: Handler, answer: Answer, onRequest: (request: SeenRequest) => void): MessageDecoder {
  let body: Incoming | undefined;
  let seen: SeenRequest | undefined;
  let request: Request | undefined;
  let gone = false;
  const start = (headers: HeaderMap, endStream: boolean) => {
    const method = headers.get(":method") ?? "GET";
    const url = `http://${headers.get(":authority") ?? "cluster"}${headers.get(":path") ?? "/"}`;
    const list = toHeaders(headers);
    const host = headers.get(":authority");
    if (host !== undefined) list.push(["host", host]);
    const record = new SeenRequest(method, headers.get(":path") ?? "/", headersOf(list));
    seen = record;
    onRequest(record);
    const incoming = new Incoming(record.parts);
    body = incoming;
    if (endStream) incoming.end();
    const stream = endStream || method === "GET" || method === "HEAD" ? null : incoming.body();
    request = requestOf(url, method, record.headers, stream as BodyInit | null);
    void respond(handler, request, answer, () => gone);
  };
  return {
    onHeaders: start,
    onData(data, endStream) {
      body?.push(data);
      if (endStream) body?.end();
    },
    onTrailers(trailers) {
      const found = Object.fromEntries(trailers.entries());
      if (request) setTrailers(request, found);
      if (seen) seen.trailers = found;
      body?.end();
    },
    onReset() {
      gone = true;
      body?.fail(new Error("the request was reset"));
    },
  };
}

async function respond(handler: Handler, request: Request, { encoder, onReset, onError }: Answer, gone: () => boolean): Promise<void> {
  let response: Response;
  try {
    response = await handler(request);
    if (!(response instanceof Response)) throw new TypeError(`a cluster's function returned ${typeof response}, not a Response`);
  } catch (error) {
    // What it was about to answer is of no interest any more.
    if (gone()) return;
    if (!(error instanceof ResetError)) onError(error instanceof Error ? error : new Error(String(error)));
    onReset(false);
    return;
  }
  if (gone()) return;
  let begun = false;
  const watched: Answer["encoder"] = {
    encodeHeaders(headers, endStream) {
      begun = true;
      encoder.encodeHeaders(headers, endStream);
    },
    encodeData: (data, endStream) => encoder.encodeData(data, endStream),
    encodeTrailers: (trailers) => encoder.encodeTrailers(trailers),
    reset: (reason) => encoder.reset(reason),
  };
  try {
    await send(response, request.method === "HEAD", watched, gone);
  } catch (error) {
    if (gone()) return;
    if (error instanceof HandlerError) onError(error);
    // Its body failed on the way.
    onReset(begun);
  }
}

/** Sends a response: with content-length where its body is there at once, chunked where it is not. */
async function send(response: Response, isHead: boolean, encoder: Answer["encoder"], gone: () => boolean): Promise<void> {
  const headers = new HeaderMap("response");
  headers.add(":status", String(response.status));
  response.headers.forEach((value, name) => {
    if (name !== "set-cookie") headers.add(name, value);
  });
  for (const cookie of response.headers.getSetCookie()) headers.add("set-cookie", cookie);
  const trailers = Object.entries(trailersOf(response));
  const length = headers.get("content-length");
  const promised = length !== undefined && /^\d+$/.test(length) ? Number(length) : undefined;
  let sent = 0;
  const data = (bytes: Uint8Array) => {
    sent += bytes.length;
    if (promised !== undefined && sent > promised) throw new HandlerError(`its response has content-length: ${promised} and a longer body`);
    encoder.encodeData(new Bytes(bytes), false);
  };
  const end = () => {
    // Over HTTP/1 that can only be the end of the connection.
    if (promised !== undefined && sent < promised) throw new Error("the body is shorter than its content-length");
    if (trailers.length > 0) encoder.encodeTrailers(HeaderMap.of("response-trailers", trailers));
    else encoder.encodeData(new Bytes(), true);
  };
  if (response.body === null || isHead || NO_BODY.has(response.status)) {
    if (!isHead && !NO_BODY.has(response.status) && !headers.has("content-length")) headers.add("content-length", "0");
    if (trailers.length === 0 && (!promised || isHead || NO_BODY.has(response.status))) return encoder.encodeHeaders(headers, true);
    encoder.encodeHeaders(headers, false);
    end();
    return;
  }
  const reader = response.body.getReader();
  const first = await reader.read();
  let next = first.done ? undefined : reader.read();
  const second = next && (await Promise.race([next, soon()]));
  if (gone()) return;
  const whole = second !== undefined && second !== "later" && second.done && trailers.length === 0;
  if (first.done || whole) {
    const bytes: Uint8Array = first.value ?? new Uint8Array(0);
    if (length === undefined) headers.add("content-length", String(bytes.length));
    encoder.encodeHeaders(headers, bytes.length === 0 && !promised);
    if (bytes.length > 0) data(bytes);
    if (bytes.length > 0 || promised) end();
    return;
  }
  encoder.encodeHeaders(headers, false);
  data(first.value);
  for (;;) {
    const { done, value } = await next!;
    if (gone()) return;
    if (done) break;
    data(value);
    next = reader.read();
  }
  end();
}

/** A few microtasks: a body that is there already has come to its end by then. */
async function soon(): Promise<"later"> {
  for (let i = 0; i < 8; i++) await null;
  return "later";
}

/** What a test's fetch got. */
export class FetchError extends Error {}

export interface Reception {
  decoder: ResponseDecoder;
  /** It is there when its headers are. */
  response: Promise<Response>;
  /** The caller of `fetch`, or the reader of the body, gets this error; nothing where both have all. */
  fail(error: unknown): void;
  /** It is complete, or has failed. */
  ended: Promise<void>;
}

/** Receives a response. */
export function receive(): Reception {
  const incoming = new Incoming();
  let resolve!: (response: Response) => void;
  let reject!: (error: unknown) => void;
  const response = new Promise<Response>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Whoever does not wait for it any more is not told.
  response.catch(() => {});
  let made: Response | undefined;
  let headers: HeaderMap | undefined;
  let onEnd!: () => void;
  const ended = new Promise<void>((done) => {
    onEnd = done;
  });
  const fail = (error: unknown) => {
    if (incoming.complete) return;
    onEnd();
    if (headers) {
      make();
      incoming.fail(error);
    } else reject(error);
  };
  const make = () => {
    if (made || !headers) return;
    const status = Number(headers.get(":status"));
    made = responseOf(status, toHeaders(headers), incoming);
    resolve(made);
  };
  return {
    response,
    fail,
    ended,
    decoder: {
      on1xx() {},
      onHeaders(map, endStream) {
        headers = map;
        if (endStream) {
          incoming.end();
          onEnd();
          make();
        } else queueMicrotask(make);
      },
      onData(data, endStream) {
        incoming.push(data);
        if (!endStream) return;
        incoming.end();
        onEnd();
      },
      onTrailers(trailers) {
        make();
        if (made) setTrailers(made, Object.fromEntries(trailers.entries()));
        incoming.end();
        onEnd();
      },
      onReset(reason, details) {
        fail(new FetchError(`the connection ended without ${headers ? "the rest of the" : "an"} answer (${details ?? reason})`));
      },
    },
  };
}

/** A Response of any status: those that the constructor refuses (1xx, 99, 1000) are shown all the same. */
function responseOf(status: number, headers: [string, string][], incoming: Incoming): Response {
  const possible = status >= 200 && status <= 599;
  const body = NO_BODY.has(status) ? null : incoming.body();
  const response = new Response(body as BodyInit | null, { status: possible ? status : 200, headers: headersOf(headers) });
  if (!possible) Object.defineProperty(response, "status", { value: status });
  return response;
}

export interface FetchInit {
  method?: string;
  headers?: Record<string, string | string[]> | [string, string][] | Headers;
  body?: RequestBody;
  trailers?: Record<string, string>;
  /** Ends the exchange: `fetch` rejects with its reason, or the response's body fails with it. */
  signal?: AbortSignal;
}

function headerList(headers: FetchInit["headers"]): [string, string][] {
  if (!headers) return [];
  if (Array.isArray(headers)) return headers;
  if (headers instanceof Headers) return [...headers];
  return Object.entries(headers).flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one): [string, string] => [name, one]));
}

/** The headers of a test's request as an HTTP/1.1 client sends them: what is given, and how the body is framed. */
export function requestHeaders(path: string, init: FetchInit, { pieces, whole, contentType }: SentBody): HeaderMap {
  const list = headerList(init.headers);
  const headers = new HeaderMap("request");
  headers.add(":authority", list.find(([name]) => name.toLowerCase() === "host")?.[1] ?? "test");
  headers.add(":path", path);
  headers.add(":method", init.method ?? (pieces === undefined ? "GET" : "POST"));
  for (const [name, value] of list) if (name.toLowerCase() !== "host") headers.add(name.toLowerCase(), Buffer.from(value, "utf8").toString("latin1"));
  if (contentType !== undefined && !headers.has("content-type")) headers.add("content-type", contentType);
  if (whole && Array.isArray(pieces) && !headers.has("content-length") && !headers.has("transfer-encoding") && !init.trailers)
    headers.add("content-length", String(pieces[0]!.length));
  headers.remove("transfer-encoding");
  return headers;
}

/** Sends a body, in random pieces where `random` is given, and what ends it. Rejects with the error of a body that cannot be read to its end. */
export async function sendBody(
  pieces: SentBody["pieces"],
  trailers: Record<string, string> | undefined,
  random: (() => number) | undefined,
  sink: Pick<Outgoing, "data" | "trailers" | "next">,
): Promise<void> {
  const parts = Array.isArray(pieces) && random ? pieces.flatMap((piece) => split(piece, random)) : (pieces ?? []);
  for await (const piece of parts) {
    sink.data(new Bytes(piece), false);
    await sink.next();
  }
  if (trailers) sink.trailers(HeaderMap.of("request-trailers", Object.entries(trailers)));
  else sink.data(new Bytes(), true);
}
