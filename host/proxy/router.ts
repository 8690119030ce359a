// Envoy's router: the last filter of a request, and the way of a call that a filter makes. Picks cluster and host, sends the request on, brings the response back,
// and answers itself where that cannot be. Texts, details and flags as envoy 1.40.
import { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";
import { DataStatus, HeadersStatus, type LocalReply, type StreamFilter, TrailersStatus } from "../vm/stream-callbacks.js";
import type { StreamInfo } from "../vm/stream-info.js";
import type { Cluster, ClusterManager, Host } from "./clusters.js";
import type { ResetReason } from "./codec.js";
import { checkRequiredRequestHeaders } from "./local-reply.js";
import { Retries, type RetryPolicy } from "./retry.js";
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
  retryPolicy?: RetryPolicy | undefined;
  /** x-envoy-attempt-count is told to the upstream, to the client. */
  attemptCount?: { request: boolean; response: boolean };
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
  /** So much of a request is kept at most to be sent again. */
  readonly retryLimit: number;
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
    this.timeoutMs = timeoutMs;
    const retries = Retries.of(route.retryPolicy, headers);
    this.perTryTimeoutMs = retries?.perTryTimeoutMs ?? 0;
    if (retries?.enabled) this.retries = retries;
    this.tellTime(headers, timeoutMs);
    const host = this.pick(headers);
    if (!host) return HeadersStatus.StopIteration;
    route.finalizeRequestHeaders(headers);
    if (route.attemptCount?.request) headers.assign("x-envoy-attempt-count", String(info.upstream.attempts));
    if (this.retries) this.kept = { headers: headers.copy(), data: [], size: 0, trailers: undefined, complete: endStream };
    if (endStream) this.onRequestComplete();
    this.begin(cluster, host).sendHeaders(headers, endStream);
    return HeadersStatus.StopIteration;
  }

  /** envoy 1.40: how long the upstream may take, for this try or in all. */
  private tellTime(headers: HeaderMap, left: number): void {
    const ms = this.perTryTimeoutMs > 0 && (left === 0 || this.perTryTimeoutMs < left) ? this.perTryTimeoutMs : left;
    if (ms > 0) headers.assign("x-envoy-expected-rq-timeout-ms", String(ms));
  }

  /** A host for this try; undefined where there is none, which was answered then. */
  private pick(headers: HeaderMap): Host | undefined {
    const { stream, cluster, route } = this;
    const { info } = stream;
    const host = cluster!.pick({ headers, info, metadataMatch: route!.metadataMatch, hash: route!.hash?.(headers) });
    info.upstream.attempts++;
    if (!host) {
      info.flags.add("UH");
      cluster!.statistics.responses.charge(503);
      stream.sendLocalReply({ status: 503, body: "no healthy upstream", details: "no_healthy_upstream" });
      return undefined;
    }
    info.upstream.picked = true;
    info.upstream.host = host.address;
    if (host.metadata) info.upstream.hostMetadata = host.metadata;
    return host;
  }

  private begin(cluster: Cluster, host: Host): UpstreamRequest {
    const { stream } = this;
    const upstream: UpstreamRequest = new UpstreamRequest(cluster, host, stream.info, {
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
    if (this.completeAt !== undefined) this.startTry();
    return upstream;
  }

  private retries: Retries | undefined;
  private perTryTimeoutMs = 0;
  /** What has come of a request that may be sent again. */
  private kept: { headers: HeaderMap; data: Uint8Array[]; size: number; trailers: HeaderMap | undefined; complete: boolean } | undefined;
  private stopTry: (() => void) | undefined;
  private stopRetry: (() => void) | undefined;

  /** Tries again where that was asked for and may help. Where there were enough tries, that is noted. */
  private retry(wanted: (retries: Retries) => boolean): boolean {
    const { retries, kept, stream } = this;
    if (!retries || !kept || this.responseStarted || !wanted(retries)) return false;
    const wait = retries.take();
    if (wait === undefined) {
      stream.info.flags.add("URX");
      return false;
    }
    const { upstream } = this;
    this.upstream = undefined;
    this.stopTry?.();
    upstream?.reset("LocalReset");
    this.stopRetry = stream.scheduler.setTimeout(() => {
      this.stopRetry = undefined;
      this.again(kept);
    }, wait);
    return true;
  }

  private again(kept: NonNullable<Router["kept"]>): void {
    if (this.over) return;
    const { info } = this.stream;
    const headers = kept.headers.copy();
    const host = this.pick(headers);
    if (!host) return;
    if (this.timeoutMs > 0 && this.completeAt !== undefined) {
      const passed = Number((info.clock.monotonic() - this.completeAt) / 1_000_000n);
      this.tellTime(headers, Math.max(1, this.timeoutMs - passed));
    }
    if (this.route!.attemptCount?.request) headers.assign("x-envoy-attempt-count", String(info.upstream.attempts));
    const upstream = this.begin(this.cluster!, host);
    const data = new Bytes();
    for (const piece of kept.data) data.append(piece);
    upstream.sendHeaders(headers, kept.complete && data.length === 0 && !kept.trailers);
    if (data.length > 0) upstream.sendData(data, kept.complete && !kept.trailers);
    if (kept.trailers) upstream.sendTrailers(kept.trailers.copy());
  }

  /** The time of one try begins with the complete request. */
  private startTry(): void {
    if (this.perTryTimeoutMs <= 0) return;
    this.stopTry = this.stream.scheduler.setTimeout(() => this.onTryTimeout(), this.perTryTimeoutMs);
  }

  private onTryTimeout(): void {
    if (this.over || this.responseStarted) return;
    if (this.retry((retries) => retries.wantsAfter("LocalReset"))) return;
    this.stream.info.flags.add("UT");
    this.endUpstream();
    this.cluster?.statistics.responses.charge(504);
    this.stream.sendLocalReply({ status: 504, body: "upstream request timeout", details: "upstream_per_try_timeout", grpcStatus: 14 });
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

  /** Keeps a part of the request, as long as it is not too much. */
  private keep(data: Bytes | undefined, trailers: HeaderMap | undefined, complete: boolean): void {
    const { kept } = this;
    if (!kept) return;
    kept.complete = complete;
    kept.trailers = trailers?.copy();
    kept.size += data?.length ?? 0;
    if (kept.size > this.stream.retryLimit) this.kept = undefined;
    else if (data && data.length > 0) kept.data.push(Uint8Array.from(data.all()));
  }

  decodeData(data: Bytes, endStream: boolean): DataStatus {
    this.keep(data, undefined, endStream);
    if (endStream && !this.upstream && this.stopRetry) this.onRequestComplete();
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
    this.keep(undefined, trailers, true);
    this.onRequestComplete();
    this.upstream?.sendTrailers(trailers);
    return TrailersStatus.StopIteration;
  }

  /** envoy 1.40: a route's timeout counts from the complete request. */
  private onRequestComplete(): void {
    this.completeAt = this.stream.info.clock.monotonic();
    if (this.upstream) this.startTry();
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
    this.stopTimers();
    upstream?.reset("LocalReset");
  }

  private stopTimers(): void {
    this.stopTimeout?.();
    this.stopTry?.();
    this.stopRetry?.();
  }

  // The response.

  private onUpstreamHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.over) return;
    const { info } = this.stream;
    if (this.retries && this.cluster && this.retry((retries) => retries.wants(headers))) {
      this.cluster.statistics.responses.charge(Number(headers.get(":status")));
      return;
    }
    this.responseStarted = true;
    this.stopTry?.();
    this.kept = undefined;
    info.responseCode = Number(headers.get(":status"));
    info.responseCodeDetails = "via_upstream";
    this.cluster?.statistics.responses.charge(info.responseCode);
    if (this.completeAt !== undefined) {
      const ms = (info.clock.monotonic() - this.completeAt) / 1_000_000n;
      headers.assign("x-envoy-upstream-service-time", String(ms));
    }
    if (this.route?.attemptCount?.response) headers.assign("x-envoy-attempt-count", String(info.upstream.attempts));
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
    this.stopTimers();
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
    if (this.retry((retries) => retries.wantsAfter(reason))) {
      this.cluster?.statistics.responses.charge(503);
      return;
    }
    this.stopTimers();
    const flag = FLAGS[reason];
    if (flag) info.flags.add(flag);
    const text = REASONS[reason];
    const details = `{${text}${transport ? `|${transport}` : ""}}`.replace(/\s/g, "_");
    // envoy 1.40: an answer that broke the protocol is the upstream's fault (502), everything else unavailability. Where headers have left already it is a reset.
    const status = reason === "ProtocolError" ? 502 : 503;
    if (!this.responseStarted) this.cluster?.statistics.responses.charge(status);
    this.stream.sendLocalReply({
      status,
      body: `upstream connect error or disconnect/reset before headers. ${info.upstream.attempts > 1 ? "retried and the latest " : ""}reset reason: ${text}`,
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
