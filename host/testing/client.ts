// The test's side of an exchange, alike on both engines: a request as fetch's caller gives it, its response, and every way in which there is none.
import type { HostPool, RequestEncoder, ResponseDecoder } from "../proxy/codec.js";
import type { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";
import { readBody } from "./body.js";
import { type FetchInit, type Reception, receive, requestHeaders, sendBody } from "./exchange.js";
import type { Records } from "./records.js";

/** A request on its way. */
export interface Outgoing {
  headers(endStream: boolean): void;
  data(data: Bytes, endStream: boolean): void;
  trailers(trailers: HeaderMap): void;
  /** Lets what was sent arrive before the next piece. */
  next(): Promise<unknown>;
  /** The client goes away. */
  abort(): void;
}

/** Over a codec; each piece in a packet of its own, as far as that can be. */
function overConnection(encoder: RequestEncoder, headers: HeaderMap): Outgoing {
  return {
    headers: (endStream) => encoder.encodeHeaders(headers, endStream),
    data: (data, endStream) => encoder.encodeData(data, endStream),
    trailers: (trailers) => encoder.encodeTrailers(trailers),
    next: () => new Promise((resolve) => setImmediate(resolve)),
    abort: () => encoder.reset("LocalReset"),
  };
}

/** On a pool's connection. */
export function openOn(pool: HostPool, headers: HeaderMap, decoder: ResponseDecoder): Promise<Outgoing> {
  return new Promise((resolve, reject) => {
    pool.newStream(decoder, {
      onReady: (encoder) => resolve(overConnection(encoder, headers)),
      onFailure: (_reason, details) => reject(new Error(details)),
    });
  });
}

export interface ClientOptions {
  records: Records;
  /** Breaks bodies where it is given. */
  random: (() => number) | undefined;
  /** Gets a request on its way, without sending anything yet. */
  open(headers: HeaderMap, decoder: ResponseDecoder): Outgoing | Promise<Outgoing>;
  /** What is behind an exchange's failure, where that takes time to be known. */
  explain?(): Promise<unknown>;
}

export class Client {
  private readonly live = new Set<Reception>();
  /** Why there are no more answers. */
  private over: Error | undefined;

  constructor(private readonly options: ClientOptions) {}

  /** Everybody who waits for an answer, now or later, gets this error. */
  end(error: Error): void {
    this.over ??= error;
    for (const reception of this.live) reception.fail(this.over);
    this.live.clear();
  }

  /** Throws where nothing can be asked any more. */
  check(): void {
    if (this.over) throw this.over;
  }

  async fetch(path: string, init: FetchInit = {}): Promise<Response> {
    const { records, random, open, explain } = this.options;
    const { signal, trailers } = init;
    this.check();
    signal?.throwIfAborted();
    const reading = readBody(init.body);
    const body = reading instanceof Promise ? await reading : reading;
    const headers = requestHeaders(path, init, body);
    const reception = receive();
    records.begun++;
    this.live.add(reception);
    void reception.ended.then(() => this.live.delete(reception));
    try {
      const opening = open(headers, reception.decoder);
      const request = opening instanceof Promise ? await opening : opening;
      const breakOff = (error: unknown) => {
        reception.fail(error);
        request.abort();
      };
      signal?.addEventListener("abort", () => breakOff(signal.reason), { once: true });
      const endStream = body.pieces === undefined && !trailers;
      request.headers(endStream);
      if (!endStream) await sendBody(body.pieces, trailers, random, request).catch(breakOff);
      return await reception.response;
    } catch (error) {
      await explain?.();
      throw this.over ?? error;
    }
  }
}
