// The two styles of a filter. `Filter`: one linear function per stream. `StreamFilter`: callbacks and statuses, as Envoy has them.
import { Body } from "./body";
import { FetchRequest, FetchResponse } from "./fetch";
import { HeaderMap } from "./headers";
import { Request, Response } from "./message";
import { lowDispatch, lowResume } from "./runtime/lowlevel";
import { Stream } from "./stream";

/** What becomes of a stream in which a filter fails: 500, or on without this filter. */
export enum OnError {
  Closed = 0,
  Open = 1,
}

/** A configuration without fields. */
export class NoConfig {}

/** @internal The configuration that the filter under construction gets; set by the generated code. */
export let given: Object | null = null;
/** @internal */
export function give(config: Object | null): void {
  given = config;
}

/** @internal The stream that the low-level filter under construction gets. */
export let givenStream: Stream | null = null;
/** @internal */
export function giveStream(stream: Stream | null): void {
  givenStream = stream;
}

/** @internal What the runtime sees of either style. */
export class AnyFilter {
  /** @internal */
  enter(stream: Stream): void {}

  /** Called once per stream when it is over, before Envoy writes its access log. It cannot wait or reply. */
  onLog(stream: Stream): void {}
}

/**
 * A filter in linear style. One instance serves every stream of a configuration, so its fields are shared between streams: what belongs to one
 * stream is a local variable of `handle`.
 * @example
 * @filter("hello")
 * export class Hello extends Filter<NoConfig> {
 *   handle(stream: Stream): void {
 *     stream.next();
 *     stream.response.headers.set("x-hello", "world");
 *   }
 * }
 */
export class Filter<T> extends AnyFilter {
  /** The configuration Envoy gave, parsed and checked. */
  readonly config: T = changetype<T>(given);

  /** Runs once per stream, from top to bottom; calls that have to wait suspend only this stream. */
  handle(stream: Stream): void {}

  /** @internal */
  enter(stream: Stream): void {
    this.handle(stream);
  }
}

/** Status of a header callback. */
export enum HeadersStatus {
  /** The headers go on. */
  Continue = 0,
  /** The headers are held; this filter's body callbacks still come, and their Continue lets headers and body go. */
  StopIteration = 1,
  /** Headers and body are held in Envoy's buffer until `resume…`; over the limit 413 or 500. */
  StopAllIterationAndBuffer = 3,
  /** Headers and body are held with back-pressure until `resume…`. */
  StopAllIterationAndWatermark = 4,
}

/** Status of a body callback. */
export enum DataStatus {
  Continue = 0,
  /** Held; the next callback shows everything so far. Over the limit 413 or 500. */
  StopIterationAndBuffer = 1,
  /** Held with back-pressure; the next callback shows only what is new. */
  StopIterationAndWatermark = 2,
  /** Dropped. */
  StopIterationNoBuffer = 3,
}

/** Status of a trailer callback. */
export enum TrailersStatus {
  Continue = 0,
  StopIteration = 1,
}

/** @internal What the runtime sees of the low-level style: a class without a type parameter, because only its overrides are found from there. */
export class StreamCallbacks extends AnyFilter {
  /** The stream this instance belongs to. */
  readonly stream: Stream = changetype<Stream>(givenStream);

  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    return HeadersStatus.Continue;
  }
  /** `body.size` is the current frame, or everything so far after StopIterationAndBuffer; `chunk`, `replace`, `append`, `drop` work on it. */
  onRequestBody(body: Body<Request>, endOfStream: bool): DataStatus {
    return DataStatus.Continue;
  }
  onRequestTrailers(trailers: HeaderMap): TrailersStatus {
    return TrailersStatus.Continue;
  }
  onResponseHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    return HeadersStatus.Continue;
  }
  onResponseBody(body: Body<Response>, endOfStream: bool): DataStatus {
    return DataStatus.Continue;
  }
  onResponseTrailers(trailers: HeaderMap): TrailersStatus {
    return TrailersStatus.Continue;
  }
  /** The answer to a call made with `dispatch`. Not called when the stream ended first. */
  onFetch(token: u32, response: FetchResponse): void {}
  /** The stream is gone. */
  onDone(): void {}

  /** Starts a call; its answer comes to `onFetch` with the token returned here. 0: refused, and `lastError` says why. */
  dispatch(call: FetchRequest): u32 {
    return lowDispatch(this.stream, call);
  }
  /** Why the last `dispatch` returned 0. */
  get lastError(): string {
    return this.stream.lastError;
  }
  /** Lets a held request go on. Nothing happens where it is not held; inside a request callback that callback returns Continue. */
  resumeRequest(): void {
    lowResume(this.stream.request);
  }
  /** Lets a held response go on; see `resumeRequest`. Ignored, with an error in the log, before the response is there. */
  resumeResponse(): void {
    lowResume(this.stream.response);
  }
}

/**
 * A filter in low-level style: a new instance per stream, Envoy's own callbacks and statuses, no coroutine. The compiler exports only the
 * callbacks that are overridden. It stands alone in its configuration (no chain).
 */
export class StreamFilter<T> extends StreamCallbacks {
  /** The configuration Envoy gave, parsed and checked. */
  readonly config: T = changetype<T>(given);
}

// ---- Decorators. The compiler reads them; they do nothing at run time.

/** Registers a class as a filter under this name: Envoy's `root_id`, or `name` in a chain. */
export function filter(name: string, onError: OnError = OnError.Closed): (target: Function) => void {
  return nothing;
}
/** A field that a configuration must have. */
export function required(target: Object, field: string): void {}
/** Allowed values of a string or number field. */
export function oneOf<T>(values: T[]): (target: Object, field: string) => void {
  return ignored;
}
/** Least and greatest value of a number field; of a string or array field, its length. */
export function range(least: f64, greatest: f64): (target: Object, field: string) => void {
  return ignored;
}
/** A string field that names an Envoy cluster: `envoyscript config` then writes that cluster into the configuration. */
export function cluster(target: Object, field: string): void {}

function nothing(target: Function): void {}
function ignored(target: Object, field: string): void {}

/** A span of time in a configuration: `"250ms"`, `"1.5s"`, `"2m"`, `"1h"`, or a number of milliseconds. */
export class Duration {
  constructor(
    /** Milliseconds. */
    public ms: u32 = 0,
  ) {}
}
