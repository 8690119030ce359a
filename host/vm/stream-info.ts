// What is known about one stream (an HTTP exchange or a TCP connection): the source of properties, access logs and routing decisions.
import type { HeaderMap } from "./headermap.js";

/** A google.protobuf.Struct's field as JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** An object of Envoy's filter state. */
export interface FilterStateObject {
  /** As access logs (`PLAIN`), matchers and load balancers read it: a byte string. */
  value: string;
  /** Written by `proxy_set_property` (envoy: CelState); such a one has no hash for `hash_policy.filter_state`. */
  fromWasm: boolean;
  readOnly: boolean;
  /** The type that `declare_property` gave it; raw bytes where nobody did. */
  type?: "bytes" | "string" | "flatbuffers" | "protobuf";
}

export interface ConnectionInfo {
  /** Counted from 0 per process. */
  id: number;
  /** "ip:port" */
  remoteAddress: string;
  localAddress: string;
  terminationDetails?: string;
}

/** What routing found. */
export interface RouteFacts {
  routeName: string;
  virtualHostName: string;
  clusterName: string;
  /** `metadata` of the configuration: filter_metadata by namespace. */
  routeMetadata?: Record<string, Json>;
  virtualHostMetadata?: Record<string, Json>;
  clusterMetadata?: Record<string, Json>;
}

export interface UpstreamFacts {
  /** "ip:port" of the host that was picked. */
  host?: string;
  /** "ip:port" of the peer; set when a connection to it is ready. */
  remoteAddress?: string;
  localAddress?: string;
  hostMetadata?: Record<string, Json>;
  /** A host was picked. */
  picked: boolean;
  endpoints: number;
  attempts: number;
  readyNanoseconds?: bigint;
  transportFailure?: string;
}

/** Response flags as Envoy's access log shows them (`%RESPONSE_FLAGS%`). */
export type ResponseFlag =
  | "UH"
  | "UF"
  | "UO"
  | "NR"
  | "URX"
  | "NC"
  | "UT"
  | "DC"
  | "LH"
  | "LR"
  | "UR"
  | "UC"
  | "DI"
  | "FI"
  | "RL"
  | "UAEX"
  | "RLSE"
  | "IH"
  | "SI"
  | "DPE"
  | "UPE"
  | "UMSDR"
  | "OM"
  | "DF"
  | "DR"
  | "NFCF";

/** Nanoseconds of the wall clock, and of a clock that never goes back. */
export interface Clock {
  wall(): bigint;
  monotonic(): bigint;
}

export class StreamInfo {
  /** The virtual host that was found for the request, also where it has no route. */
  virtualHostName: string | undefined;
  readonly startWall: bigint;
  readonly startMonotonic: bigint;
  /** Set when the stream is over. */
  endMonotonic?: bigint;
  protocol?: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";
  requestHeaders?: HeaderMap;
  requestTrailers?: HeaderMap;
  responseHeaders?: HeaderMap;
  responseTrailers?: HeaderMap;
  responseCode?: number;
  responseCodeDetails?: string;
  readonly flags = new Set<ResponseFlag>();
  /** Body bytes. */
  bytesReceived = 0;
  bytesSent = 0;
  route?: RouteFacts;
  readonly upstream: UpstreamFacts = { picked: false, endpoints: 0, attempts: 0 };
  listener?: { metadata?: Record<string, Json>; direction: number };
  /** Cluster the request went to, for `%UPSTREAM_CLUSTER%`. */
  upstreamCluster?: string;
  /** Dynamic metadata: a Struct by namespace. */
  readonly dynamicMetadata: Record<string, Record<string, Json>> = {};
  readonly filterState = new Map<string, FilterStateObject>();
  /** Monotonic times of the message's milestones. */
  lastRequestByte?: bigint;
  firstUpstreamSent?: bigint;
  firstUpstreamReceived?: bigint;
  lastUpstreamReceived?: bigint;
  lastResponseByte?: bigint;

  constructor(
    readonly clock: Clock,
    readonly connection: ConnectionInfo,
  ) {
    this.startWall = clock.wall();
    this.startMonotonic = clock.monotonic();
  }
}
