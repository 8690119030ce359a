// What a stream's filter and the thing that runs it (the proxy's filter manager) say to each other, in Envoy's own words and numbers.
import type { Bytes } from "./bytes.js";
import type { HeaderMap } from "./headermap.js";
import type { StreamInfo } from "./stream-info.js";

/** envoy: Http::FilterHeadersStatus, as far as a wasm filter can return them. */
export const HeadersStatus = { Continue: 0, StopIteration: 1, StopAllIterationAndBuffer: 3, StopAllIterationAndWatermark: 4 } as const;
export type HeadersStatus = (typeof HeadersStatus)[keyof typeof HeadersStatus];

/** envoy: Http::FilterDataStatus. */
export const DataStatus = { Continue: 0, StopIterationAndBuffer: 1, StopIterationAndWatermark: 2, StopIterationNoBuffer: 3 } as const;
export type DataStatus = (typeof DataStatus)[keyof typeof DataStatus];

/** envoy: Http::FilterTrailersStatus. */
export const TrailersStatus = { Continue: 0, StopIteration: 1 } as const;
export type TrailersStatus = (typeof TrailersStatus)[keyof typeof TrailersStatus];

/** A filter of one stream. */
export interface StreamFilter {
  decodeHeaders(headers: HeaderMap, endStream: boolean): HeadersStatus;
  decodeData(data: Bytes, endStream: boolean): DataStatus;
  decodeTrailers(trailers: HeaderMap): TrailersStatus;
  encodeHeaders(headers: HeaderMap, endStream: boolean): HeadersStatus;
  encodeData(data: Bytes, endStream: boolean): DataStatus;
  encodeTrailers(trailers: HeaderMap): TrailersStatus;
  /** Before the access loggers, when the stream is over. */
  log(): void;
  /** The stream is gone. */
  onDestroy(): void;
}

export interface LocalReply {
  /** 0 to 65535 go as they are. */
  status: number;
  body: string;
  details: string;
  /** Applied to the finished headers before they are sent. */
  modifyHeaders?: (headers: HeaderMap) => void;
  /** For gRPC requests; mapped from `status` where undefined. */
  grpcStatus?: number | undefined;
}

/** One direction of a stream as its filter may act on it. */
export interface DirectionCallbacks {
  /** Lets a stopped filter go on. */
  continue(): void;
  /** What is held for the stopped filters of this direction. */
  buffered(): Bytes | undefined;
  /** Adds bytes to what is held; over the limit the stream is answered with 413 or 500. */
  addBuffered(data: Bytes): void;
  /** Makes trailers for a message that has none. Only while its last data is being processed. */
  addTrailers(): HeaderMap;
}

/** What a filter may do to its stream. */
export interface StreamCallbacks {
  readonly info: StreamInfo;
  readonly request: DirectionCallbacks;
  readonly response: DirectionCallbacks;
  sendLocalReply(reply: LocalReply): void;
  /** Ends the stream without an answer. */
  resetStream(details: string): void;
  clearRouteCache(): void;
}
