// Envoy's router: the last filter of a request, and the way of a call that a filter makes. Picks cluster and host, sends the request on, brings the response back,
// and answers itself where that cannot be. Texts, details and flags as envoy 1.40.
import { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";
import { DataStatus, HeadersStatus, type LocalReply, type StreamFilter, TrailersStatus } from "../vm/stream-callbacks.js";
import type { StreamInfo } from "../vm/stream-info.js";
import type { Cluster, ClusterManager } from "./clusters.js";
import type { ResetReason } from "./codec.js";
import { checkRequiredRequestHeaders } from "./local-reply.js";
import type { Scheduler } from "./scheduler.js";
import { UpstreamRequest } from "./upstream-request.js";

/** What the router needs to know of a route. */
export interface RouterRoute {
  clusterName(headers: HeaderMap): string;
  clusterNotFoundStatus: number;
  timeoutMs: number;
  idleTimeoutMs?: number | undefined;
  directResponse?: { status: number; body: string } | undefined;
  redirect?: ((headers: HeaderMap) => { status: number; location: string }) | undefined;
  finalizeRequestHeaders(headers: HeaderMap): void;
  finalizeResponseHeaders(headers: HeaderMap): void;
  metadataMatch?: Record<string, unknown> | undefined;
  hash?(headers: HeaderMap): string | undefined;
}

/** The stream that a router works for. */
export interface RouterStream {
  readonly info: StreamInfo;
  readonly scheduler: Scheduler;
  route(): RouterRoute | undefined;
  sendLocalReply(reply: LocalReply): void;
  encode1xx(headers: HeaderMap): void;
  encodeHeaders(headers: HeaderMap, endStream: boolean): void;
  encodeData(data: Bytes, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
  resetStream(details: string): void;
  /** The request is complete as far as the client is concerned. */
  readonly requestComplete: boolean;
  /** Bodies of this size are held at most while a connection is made. */
  holdRequest(hold: boolean): void;
}

/** envoy 1.40: how a reset reads in a reply's text. */
const REASONS: Record<ResetReason, string> = {
  LocalReset: "local reset",
  RemoteReset: "remote reset",
  RemoteRefusedStreamReset: "remote refused stream reset",
  LocalConnectionFailure: "local connection failure",
  RemoteConnectionFailure: "remote connection failure",
  ConnectionTimeout: "connection timeout",
  ConnectionTermination: "connection termination",
  Overflow: "overflow",
  ProtocolError: "protocol error",
};

const FLAGS: Partial<Record<ResetReason, "UF" | "UC" | "LR" | "UR" | "UO" | "UPE">> = {
  LocalConnectionFailure: "UF",
  RemoteConnectionFailure: "UF",
  ConnectionTimeout: "UF",
  ConnectionTermination: "UC",
  LocalReset: "LR",
  RemoteReset: "UR",
  RemoteRefusedStreamReset: "UR",
  Overflow: "UO",
  ProtocolError: "UPE",
};

export class Router implements StreamFilter {
  private upstream: UpstreamRequest | undefined;
  private route: RouterRoute | undefined;
  private cluster: Cluster | undefined;
  private stopTimeout: (() => void) | undefined;
  private responseStarted = false;
  private completeAt: bigint | undefined;
  private over = false;

  constructor(
    private readonly stream: RouterStream,
    private readonly clusters: ClusterManager,
  ) {}

  decodeHeaders(headers: HeaderMap, endStream: boolean): HeadersStatus {
    const { stream } = this;
    const { info } = stream;
    const route = stream.route();
    if (!route) {
      info.flags.add("NR");
      stream.sendLocalReply({ status: 404, body: "", details: "route_not_found" });
      return HeadersStatus.StopIteration;
    }
    this.route = route;
    if (route.directResponse) {
      const { status, body } = route.directResponse;
      const modifyHeaders = (map: HeaderMap) => {
        // envoy 1.40: RFC 9110 10.2.2.
        if (status === 201 || (status >= 300 && status < 400))
          map.add("location", `${headers.get(":scheme")}://${headers.get(":authority")}${headers.get(":path")}`);
      };
      stream.sendLocalReply({ status, body, details: "direct_response", modifyHeaders });
      return HeadersStatus.StopIteration;
    }
    if (route.redirect) {
      const { status, location } = route.redirect(headers);
      const modifyHeaders = (map: HeaderMap) => {
        map.add("location", location);
      };
      stream.sendLocalReply({ status, body: "", details: "direct_response", modifyHeaders });
      return HeadersStatus.StopIteration;
    }
    const name = route.clusterName(headers);
    const cluster = this.clusters.get(name);
    if (!cluster) {
      info.flags.add("NC");
      stream.sendLocalReply({ status: route.clusterNotFoundStatus, body: "", details: "cluster_not_found" });
      return HeadersStatus.StopIteration;
    }
    this.cluster = cluster;
    info.upstreamCluster = name;
    info.upstream.endpoints = cluster.hosts.length;
    const timeoutMs = requestedTimeout(headers) ?? route.timeoutMs;
    for (const name of [
      "x-envoy-retry-on",
      "x-envoy-retry-grpc-on",
      "x-envoy-max-retries",
      "x-envoy-retriable-header-names",
      "x-envoy-retriable-status-codes",
      "x-envoy-hedge-on-per-try-timeout",
      "x-envoy-upstream-rq-per-try-timeout-ms",
    ])
      headers.remove(name);
    if (timeoutMs > 0) headers.assign("x-envoy-expected-rq-timeout-ms", String(timeoutMs));
    const host = cluster.pick({ headers, info, metadataMatch: route.metadataMatch, hash: route.hash?.(headers) });
    info.upstream.attempts++;
    if (!host) {
      info.flags.add("UH");
      cluster.statistics.responses.charge(503);
      stream.sendLocalReply({ status: 503, body: "no healthy upstream", details: "no_healthy_upstream" });
      return HeadersStatus.StopIteration;
    }
    route.finalizeRequestHeaders(headers);
    info.upstream.picked = true;
    info.upstream.host = host.address;
    if (host.metadata) info.upstream.hostMetadata = host.metadata;
    const upstream = new UpstreamRequest(cluster, host, info, {
      on1xx: (map) => stream.encode1xx(map),
      onHeaders: (map, end) => this.onUpstreamHeaders(map, end),
      onData: (data, end) => this.onUpstreamData(data, end),
      onTrailers: (map) => this.onUpstreamTrailers(map),
      onReset: (reason, details) => this.onUpstreamReset(reason, details),
      onLocalReply: (reply) => {
        this.endUpstream();
        stream.sendLocalReply(reply);
      },
      onFilterReset: (details) => stream.resetStream(details),
      checkHeaders: (map) => this.checkHeaders(map),
      holdRequest: (hold) => stream.holdRequest(hold),
    });
    this.upstream = upstream;
    this.timeoutMs = timeoutMs;
    if (endStream) this.onRequestComplete();
    upstream.sendHeaders(headers, endStream);
    return HeadersStatus.StopIteration;
  }

  private timeoutMs = 0;

  /** Returns false where the request was answered because of its headers. */
  private checkHeaders(headers: HeaderMap): boolean {
    const problem = checkRequiredRequestHeaders(headers);
    if (problem === undefined) return true;
    this.stream.info.flags.add("DPE");
    this.endUpstream();
    const details = `filter_removed_required_request_headers{${problem.replace(/\s/g, "_")}}`;
    this.stream.sendLocalReply({ status: 503, body: problem, details });
    return false;
  }

  decodeData(data: Bytes, endStream: boolean): DataStatus {
    if (!this.upstream) {
      data.clear();
      return DataStatus.StopIterationNoBuffer;
    }
    if (endStream) this.onRequestComplete();
    const moved = new Bytes();
    moved.move(data);
    this.upstream.sendData(moved, endStream);
    return DataStatus.StopIterationNoBuffer;
  }

  decodeTrailers(trailers: HeaderMap): TrailersStatus {
    this.onRequestComplete();
    this.upstream?.sendTrailers(trailers);
    return TrailersStatus.StopIteration;
  }

  /** envoy 1.40: a route's timeout counts from the complete request. */
  private onRequestComplete(): void {
    this.completeAt = this.stream.info.clock.monotonic();
    if (this.timeoutMs > 0 && !this.stopTimeout) this.stopTimeout = this.stream.scheduler.setTimeout(() => this.onTimeout(), this.timeoutMs);
  }

  private onTimeout(): void {
    if (this.over) return;
    this.stream.info.flags.add("UT");
    this.endUpstream();
    this.cluster?.statistics.responses.charge(504);
    if (this.responseStarted) {
      this.stream.info.responseCodeDetails = "response_timeout";
      this.stream.resetStream("response_timeout");
    } else this.stream.sendLocalReply({ status: 504, body: "upstream request timeout", details: "response_timeout", grpcStatus: 14 });
  }

  private endUpstream(): void {
    const { upstream } = this;
    this.upstream = undefined;
    this.stopTimeout?.();
    upstream?.reset("LocalReset");
  }

  // The response.

  private onUpstreamHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.over) return;
    const { info } = this.stream;
    this.responseStarted = true;
    info.responseCode = Number(headers.get(":status"));
    info.responseCodeDetails = "via_upstream";
    this.cluster?.statistics.responses.charge(info.responseCode);
    if (this.completeAt !== undefined) {
      const ms = (info.clock.monotonic() - this.completeAt) / 1_000_000n;
      headers.assign("x-envoy-upstream-service-time", String(ms));
    }
    this.route?.finalizeResponseHeaders(headers);
    if (endStream) this.onUpstreamComplete();
    this.stream.encodeHeaders(headers, endStream);
  }

  private onUpstreamData(data: Bytes, endStream: boolean): void {
    if (this.over) return;
    if (endStream) this.onUpstreamComplete();
    this.stream.encodeData(data, endStream);
  }

  private onUpstreamTrailers(trailers: HeaderMap): void {
    if (this.over) return;
    this.onUpstreamComplete();
    this.stream.encodeTrailers(trailers);
  }

  /** envoy 1.40: what is left of the request is of no use then: the upstream stream is reset. */
  private onUpstreamComplete(): void {
    const { upstream } = this;
    this.stopTimeout?.();
    if (this.completeAt === undefined && upstream) {
      this.upstream = undefined;
      upstream.reset("LocalReset");
    } else {
      this.upstream = undefined;
    }
  }

  private onUpstreamReset(reason: ResetReason, transport: string | undefined): void {
    if (this.over) return;
    const { info } = this.stream;
    this.upstream = undefined;
    this.stopTimeout?.();
    const flag = FLAGS[reason];
    if (flag) info.flags.add(flag);
    const text = REASONS[reason];
    const details = `{${text}${transport ? `|${transport}` : ""}}`.replace(/\s/g, "_");
    // envoy 1.40: an answer that broke the protocol is the upstream's fault (502), everything else unavailability. Where headers have left already it is a reset.
    const status = reason === "ProtocolError" ? 502 : 503;
    if (!this.responseStarted) this.cluster?.statistics.responses.charge(status);
    this.stream.sendLocalReply({
      status,
      body: `upstream connect error or disconnect/reset before headers. reset reason: ${text}`,
      details: `upstream_reset_${this.responseStarted ? "after" : "before"}_response_started${details}`,
      grpcStatus: 14,
    });
  }

  encodeHeaders(): HeadersStatus {
    return HeadersStatus.Continue;
  }

  encodeData(): DataStatus {
    return DataStatus.Continue;
  }

  encodeTrailers(): TrailersStatus {
    return TrailersStatus.Continue;
  }

  log(): void {}

  onDestroy(): void {
    this.over = true;
    this.endUpstream();
  }

  /** Holds the upstream back while the client is slow. */
  readDisable(disable: boolean): void {
    this.upstream?.readDisable(disable);
  }
}

/** envoy 1.40: a caller may ask for another timeout. */
function requestedTimeout(headers: HeaderMap): number | undefined {
  const value = headers.get("x-envoy-upstream-rq-timeout-ms");
  if (value === undefined) return undefined;
  headers.remove("x-envoy-upstream-rq-timeout-ms");
  return /^\d+$/.test(value) ? Number(value) : undefined;
}
