// What a codec (HTTP/1, HTTP/2, or a function in this process) and the proxy say to each other about one message exchange. The proxy sees headers, data and trailers;
// how they look on the wire is the codec's affair.
import type { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";

/** Envoy's reasons for a stream's sudden end. */
export type ResetReason =
  | "LocalReset"
  | "RemoteReset"
  | "RemoteRefusedStreamReset"
  | "LocalConnectionFailure"
  | "RemoteConnectionFailure"
  | "ConnectionTimeout"
  | "ConnectionTermination"
  | "Overflow"
  | "ProtocolError";

export type Protocol = "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";

/** Where a message goes: the encoding side of a codec. */
export interface MessageEncoder {
  encodeHeaders(headers: HeaderMap, endStream: boolean): void;
  /** Takes the bytes out of `data`. */
  encodeData(data: Bytes, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
  /** Ends the stream without a proper end: RST_STREAM, or the end of the HTTP/1 connection. No callback follows. */
  reset(reason: ResetReason): void;
  /** Stops (or starts again) reading what the peer sends on this stream. Calls are counted: as many `false` as `true` let it flow. */
  readDisable(disable: boolean): void;
}

/** A response on its way to the client. */
export interface ResponseEncoder extends MessageEncoder {
  /** 100 and 103. */
  encode1xx(headers: HeaderMap): void;
}

export type RequestEncoder = MessageEncoder;

/** Where a message comes in. After `onReset`, or after the end of the message, nothing more is called. */
export interface MessageDecoder {
  onHeaders(headers: HeaderMap, endStream: boolean): void;
  onData(data: Bytes, endStream: boolean): void;
  onTrailers(trailers: HeaderMap): void;
  /** The peer is gone, or broke the protocol; `details` says more where the codec knows. */
  onReset(reason: ResetReason, details?: string): void;
  /** Of the message that goes the other way more waits to be sent than the peer takes; or that is over. */
  onWatermark?(above: boolean): void;
}

export type RequestDecoder = MessageDecoder;

/** What an upstream's codec tells the router. */
export interface ResponseDecoder extends MessageDecoder {
  /** 100 and 103. 101 comes as `onHeaders`. */
  on1xx(headers: HeaderMap): void;
}

/** What a connection from a client tells the connection manager. */
export interface ServerCallbacks {
  /** A request begins. `encoder` answers it. */
  newStream(encoder: ResponseEncoder): RequestDecoder;
  /** What came is no request that can be read: `encoder` (of the request under way, or a new one) may answer with `status`; the connection ends then. */
  onProtocolError?(encoder: ResponseEncoder, details: string, status: number): void;
  /** The connection is gone; its streams were reset before. */
  onClose(): void;
}

/** A client's connection, as the connection manager uses it. */
export interface ServerConnection {
  readonly protocol: Protocol;
  readonly remoteAddress: string;
  readonly localAddress: string;
  /** Closes when the responses under way are written (`flush`), or at once. */
  close(flush: boolean): void;
}

/** Facts about a connection to a host, known once a stream is ready on it. */
export interface UpstreamInfo {
  protocol: Protocol;
  /** "ip:port" of both ends. */
  remoteAddress: string;
  localAddress: string;
  /** Nanoseconds from asking for a stream to having one. */
  readyNanoseconds: number;
}

/** Asks for a stream to a host; exactly one of the two is called, perhaps at once, unless cancelled before. */
export interface PoolCallbacks {
  onReady(encoder: RequestEncoder, info: UpstreamInfo): void;
  /** `details`: the transport's own reason, e.g. "delayed connect error: Connection refused". */
  onFailure(reason: ResetReason, details: string): void;
}

/** Streams to one host of a cluster. */
export interface HostPool {
  /** Returns a function that cancels the wish while it is not fulfilled. */
  newStream(decoder: ResponseDecoder, callbacks: PoolCallbacks): () => void;
  close(): void;
}
