// Envoy's HTTP connection manager: a client's requests through the filters to the router, and the answers back; timeouts, access logs, and the end of each stream.
import { randomBytes } from "node:crypto";
import type { Bytes } from "../vm/bytes.js";
import { HeaderMap } from "../vm/headermap.js";
import { type ConnectionInfo, StreamInfo } from "../vm/stream-info.js";
import type { ClusterManager } from "./clusters.js";
import type { Protocol, RequestDecoder, ResetReason, ResponseEncoder, ServerCallbacks, ServerConnection } from "./codec.js";
import { EnvoyCrash, type FilterFactory, FilterManager } from "./filter-manager.js";
import { cleanRequestHeaders, cleanResponseHeaders } from "./hop-headers.js";
import { reasonPhrase } from "./http1-writer.js";
import { Router, type RouterRoute, type RouterStream } from "./router.js";
import type { Scheduler } from "./scheduler.js";
import type { Counter, ResponseCounters } from "./statistics.js";

/** A route as the connection manager uses it. */
export interface StreamRoute extends RouterRoute {
  readonly facts: NonNullable<StreamInfo["route"]>;
  /** Whether a filter of this name is switched off (or on) for the route. */
  filterDisabled(name: string): boolean | undefined;
  readonly requestBufferLimit?: number | undefined;
}

export interface HttpFilter {
  name: string;
  disabled: boolean;
  /** Undefined where the filter is left out. */
  factory(): FilterFactory | undefined;
}

export interface ManagerOptions {
  scheduler: Scheduler;
  clusters: ClusterManager;
  filters: HttpFilter[];
  matchRoute(headers: HeaderMap, info: StreamInfo): StreamRoute | undefined;
  accessLog: ((info: StreamInfo) => void)[];
  bufferLimit: number;
  /** What a stream of HTTP/2 may send without being asked for more (initial_stream_window_size). */
  http2Window: number;
  streamIdleTimeoutMs: number;
  requestTimeoutMs: number;
  serverName: string;
  generateRequestId: boolean;
  upgrades: ReadonlySet<string>;
  statistics: HttpStatistics;
  rewriteLocalReply(reply: { status: number; headers: HeaderMap; body: string }, info: StreamInfo): { status: number; body: string };
  listener?: StreamInfo["listener"];
  newConnectionId(): number;
  clock: StreamInfo["clock"];
  /** A guest did what takes an Envoy down. */
  onCrash(crash: EnvoyCrash): void;
  /** Streams that begin and end, for whoever counts them. */
  onStreamEnd?(info: StreamInfo): void;
}

export interface HttpStatistics {
  connections: Counter;
  activeConnections: Counter;
  requests: Counter;
  activeRequests: Counter;
  responses: ResponseCounters;
}

/** How deep one stream may end inside its own end before that counts as the endless recursion it is in Envoy. */
const RECURSION = 60;

/** One client connection. */
export class ConnectionManager implements ServerCallbacks {
  readonly streams = new Set<ActiveStream>();
  readonly info: ConnectionInfo;
  closing = false;
  private connection: ServerConnection | undefined;
  protocol: Protocol = "HTTP/1.1";

  constructor(
    readonly options: ManagerOptions,
    remoteAddress: string,
    localAddress: string,
  ) {
    this.info = { id: options.newConnectionId(), remoteAddress, localAddress };
    options.statistics.connections.value++;
    options.statistics.activeConnections.value++;
  }

  attach(connection: ServerConnection): void {
    this.connection = connection;
    this.protocol = connection.protocol;
  }

  newStream(encoder: ResponseEncoder): RequestDecoder {
    const stream = new ActiveStream(this, encoder);
    this.streams.add(stream);
    this.options.statistics.requests.value++;
    this.options.statistics.activeRequests.value++;
    return stream;
  }

  /** envoy 1.40: a request that cannot be read is answered with 400 and logged, and the filters see its end only. */
  onProtocolError(encoder: ResponseEncoder, details: string, status: number): void {
    for (const stream of this.streams) if (stream.encoder === encoder) stream.onCodecError(details, status);
  }

  onClose(): void {
    this.options.statistics.activeConnections.value--;
    for (const stream of [...this.streams]) stream.onReset("ConnectionTermination");
  }

  /** The process ends. */
  shutDown(): void {
    for (const stream of [...this.streams]) stream.onShutdown();
    this.connection?.close(false);
  }
}

export class ActiveStream implements RequestDecoder, RouterStream {
  readonly info: StreamInfo;
  private manager!: FilterManager;
  private router: Router | undefined;
  private requestHeaders: HeaderMap | undefined;
  private cachedRoute: StreamRoute | undefined | null = null;
  requestComplete = false;
  private responseStarted = false;
  private encodeDone = false;
  private ended = false;
  private ending = 0;
  private endedTwice = false;
  private stopIdle: (() => void) | undefined;
  private stopRequestTimer: (() => void) | undefined;
  private idleMs: number;
  /** What filters may hold of a body. */
  private bodyLimit = 0;

  constructor(
    private readonly connection: ConnectionManager,
    readonly encoder: ResponseEncoder,
  ) {
    const { options } = connection;
    this.info = new StreamInfo(options.clock, connection.info);
    this.info.protocol = connection.protocol;
    if (options.listener) this.info.listener = options.listener;
    this.idleMs = options.streamIdleTimeoutMs;
    if (options.requestTimeoutMs > 0) {
      this.stopRequestTimer = this.scheduler.setTimeout(() => {
        this.guard(() => this.replyOrReset({ status: 408, body: "request timeout", details: "request_overall_timeout" }));
      }, options.requestTimeoutMs);
    }
  }

  get retryLimit(): number {
    return this.bodyLimit;
  }

  get scheduler(): Scheduler {
    return this.connection.options.scheduler;
  }

  /** What a guest can do to a whole Envoy must not reach the event loop. */
  private guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof EnvoyCrash)) throw error;
      this.connection.options.onCrash(error);
    }
  }

  private touch(): void {
    this.stopIdle?.();
    if (this.idleMs <= 0 || this.ended) return;
    this.stopIdle = this.scheduler.setTimeout(() => {
      this.guard(() => {
        this.info.flags.add("SI");
        this.replyOrReset({ status: this.requestComplete ? 504 : 408, body: "stream timeout", details: "stream_idle_timeout" });
      });
    }, this.idleMs);
  }

  private replyOrReset(reply: { status: number; body: string; details: string }): void {
    if (this.ended) return;
    if (!this.manager) this.makeManager();
    if (this.responseStarted) {
      this.info.responseCodeDetails = reply.details;
      this.resetStream(reply.details);
    } else this.manager.sendLocalReply(reply);
  }

  // The request.

  onHeaders(headers: HeaderMap, endStream: boolean): void {
    this.guard(() => {
      const { options } = this.connection;
      this.touch();
      this.requestHeaders = headers;
      this.info.requestHeaders = headers;
      this.requestComplete = endStream;
      if (endStream) this.onRequestEnd();
      if (headers.get("expect")?.toLowerCase() === "100-continue") {
        // envoy 1.40: answered at once, the upstream hears nothing of it.
        headers.remove("expect");
        this.encoder.encode1xx(HeaderMap.of("response", [[":status", "100"]]));
      }
      const upgrade = cleanRequestHeaders(headers, { generateRequestId: options.generateRequestId, newId: requestId });
      const refused = refusalOf(headers);
      if (refused) {
        this.cachedRoute = undefined;
        this.makeManager();
        this.reply(refused.status, "", refused.details);
        return;
      }
      const route = this.route();
      this.makeManager(route);
      if (upgrade !== undefined && !options.upgrades.has(upgrade)) {
        this.reply(403, "", "upgrade_failed");
        return;
      }
      this.manager.decodeHeaders(headers, endStream);
    });
  }

  private reply(status: number, body: string, details: string): void {
    this.manager.request.headers = this.requestHeaders;
    this.manager.sendLocalReply({ status, body, details });
  }

  private makeManager(route?: StreamRoute): void {
    const { options } = this.connection;
    const factories: FilterFactory[] = [];
    for (const filter of options.filters) {
      if (route?.filterDisabled(filter.name) ?? filter.disabled) continue;
      const factory = filter.factory();
      if (factory) factories.push(factory);
    }
    this.router = new Router(this, options.clusters);
    const { router } = this;
    factories.push(() => router);
    const limit = route?.requestBufferLimit;
    // envoy 1.40: a HTTP/2 stream may hold its window (initial_stream_window_size), whatever the connection's limit is.
    const own = this.connection.protocol === "HTTP/2" ? options.http2Window : options.bufferLimit;
    this.bodyLimit = Math.max(own, limit ?? 0);
    this.manager = new FilterManager(this.info, this.owner, this.bodyLimit, factories);
  }

  private readonly owner = {
    encodeHeaders: (headers: HeaderMap, endStream: boolean) => this.sendHeaders(headers, endStream),
    encodeData: (data: Bytes, endStream: boolean) => this.sendData(data, endStream),
    encodeTrailers: (trailers: HeaderMap) => this.sendTrailers(trailers),
    onEncodeComplete: () => this.onEncodeComplete(),
    resetStream: (details: string) => this.resetStream(details),
    clearRouteCache: () => {
      if (!this.responseStarted) this.cachedRoute = null;
    },
    holdRequest: (hold: boolean) => this.encoder.readDisable(hold),
    holdResponse: (hold: boolean) => this.router!.readDisable(hold),
    rewriteLocalReply: (reply: { status: number; headers: HeaderMap; body: string }) => {
      // envoy 1.40: after a bad request, whoever found it bad, nothing is expected of a HTTP/1 client.
      if (reply.status === 400) this.connection.closing = true;
      this.route()?.finalizeResponseHeaders(reply.headers);
      return this.connection.options.rewriteLocalReply(reply, this.info);
    },
  };

  onData(data: Bytes, endStream: boolean): void {
    this.guard(() => {
      this.touch();
      this.info.bytesReceived += data.length;
      this.requestComplete = endStream;
      if (endStream) this.onRequestEnd();
      if (!this.ended) this.manager.decodeData(data, endStream);
    });
  }

  onTrailers(trailers: HeaderMap): void {
    this.guard(() => {
      this.touch();
      this.requestComplete = true;
      this.info.requestTrailers = trailers;
      this.onRequestEnd();
      if (!this.ended) this.manager.decodeTrailers(trailers);
    });
  }

  private onRequestEnd(): void {
    this.stopRequestTimer?.();
    this.info.lastRequestByte = this.info.clock.monotonic();
  }

  onReset(reason: ResetReason, details?: string): void {
    this.guard(() => {
      if (this.ended) return;
      this.info.responseCodeDetails = details ?? "downstream_remote_disconnect";
      this.info.flags.add(reason === "ConnectionTermination" ? "DC" : reason === "ProtocolError" ? "DPE" : "DR");
      this.end();
    });
  }

  onWatermark(above: boolean): void {
    if (!this.ended) this.router?.readDisable(above);
  }

  onCodecError(details: string, status: number): void {
    this.guard(() => {
      if (this.ended) return;
      if (!this.manager) this.makeManager();
      this.info.flags.add("DPE");
      this.connection.closing = true;
      this.replyOrReset({ status, body: reasonPhrase(status), details });
    });
  }

  onShutdown(): void {
    this.guard(() => {
      if (this.ended) return;
      // The connection goes with it.
      this.encodeDone = true;
      this.info.responseCodeDetails = "downstream_local_disconnect(purging_socket_that_have_not_progressed_to_connections)";
      this.info.flags.add("DC");
      this.end();
    });
  }

  // For the router.

  route(): StreamRoute | undefined {
    if (this.cachedRoute === null) {
      const route = this.requestHeaders ? this.connection.options.matchRoute(this.requestHeaders, this.info) : undefined;
      this.cachedRoute = route;
      delete this.info.upstreamCluster;
      if (route) {
        this.info.route = route.facts;
        const cluster = this.connection.options.clusters.get(route.facts.clusterName);
        if (cluster) {
          this.info.upstreamCluster = cluster.name;
          this.info.upstream.endpoints = cluster.hosts.length;
        }
        if (route.idleTimeoutMs !== undefined) this.idleMs = route.idleTimeoutMs;
      }
    }
    return this.cachedRoute ?? undefined;
  }

  sendLocalReply(reply: Parameters<FilterManager["sendLocalReply"]>[0]): void {
    this.guard(() => this.manager.sendLocalReply(reply));
  }

  /** envoy 1.40: without `proxy_100_continue` the upstream's informational answers end here. */
  encode1xx(): void {}

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.guard(() => {
      this.touch();
      // envoy 1.40: of the headers of one hop, filters do not see this one where the client speaks HTTP/1.
      if (this.connection.protocol !== "HTTP/2") headers.remove("keep-alive");
      this.manager.encodeHeaders(headers, endStream);
    });
  }

  encodeData(data: Bytes, endStream: boolean): void {
    this.guard(() => {
      this.touch();
      this.manager.encodeData(data, endStream);
    });
  }

  encodeTrailers(trailers: HeaderMap): void {
    this.guard(() => {
      this.touch();
      this.manager.encodeTrailers(trailers);
    });
  }

  holdRequest(hold: boolean): void {
    this.encoder.readDisable(hold);
  }

  // Towards the client.

  private sendHeaders(headers: HeaderMap, endStream: boolean): void {
    const { options, protocol } = this.connection;
    this.stopRequestTimer?.();
    this.responseStarted = true;
    this.info.responseHeaders = headers;
    this.info.responseCode = Number(headers.get(":status"));
    options.statistics.responses.charge(this.info.responseCode);
    const upgraded = headers.get(":status") === "101";
    cleanResponseHeaders(headers, upgraded);
    if (!headers.has("date")) headers.add("date", httpDate(options.clock.wall()));
    headers.assign("server", options.serverName);
    if (protocol !== "HTTP/2") {
      if (!this.requestComplete && !upgraded) this.connection.closing = true;
      if (this.connection.closing) headers.assign("connection", "close");
    }
    this.encoder.encodeHeaders(headers, endStream);
  }

  private sendData(data: Bytes, endStream: boolean): void {
    this.info.bytesSent += data.length;
    this.encoder.encodeData(data, endStream);
  }

  private sendTrailers(trailers: HeaderMap): void {
    this.info.responseTrailers = trailers;
    this.encoder.encodeTrailers(trailers);
  }

  private onEncodeComplete(): void {
    this.encodeDone = true;
    this.info.lastResponseByte = this.info.clock.monotonic();
    this.end();
  }

  resetStream(details: string): void {
    this.info.responseCodeDetails ??= details;
    this.end();
  }

  /** envoy 1.40: doEndStream. A filter that ends its stream while it is told of the end makes a real Envoy use what is gone. */
  private end(): void {
    const again = this.ended;
    if (again && this.ending === 0) throw new EnvoyCrash("SIGSEGV", `a second end of a stream that is over (${this.info.responseCodeDetails ?? "?"})`);
    if (this.ending > RECURSION) throw new EnvoyCrash("SIGSEGV", "a reply or close from on_log, on_done or on_delete: the stream ends again and again");
    this.ended = true;
    this.ending++;
    // A request that could not be read has no filters: envoy 1.40 only logs it.
    const manager = this.manager as FilterManager | undefined;
    if (manager) manager.gone = true;
    this.stopIdle?.();
    this.stopRequestTimer?.();
    if (!again && !this.encodeDone) this.encoder.reset("LocalReset");
    this.info.endMonotonic ??= this.info.clock.monotonic();
    manager?.log();
    for (const write of this.connection.options.accessLog) write(this.info);
    manager?.destroy();
    this.ending--;
    if (this.connection.streams.delete(this)) this.connection.options.statistics.activeRequests.value--;
    if (again) this.endedTwice = true;
    if (this.ending > 0) return;
    if (this.endedTwice) throw new EnvoyCrash("SIGSEGV", TWICE);
    this.connection.options.onStreamEnd?.(this.info);
  }
}

/** What is refused before a route is looked for. */
function refusalOf(headers: HeaderMap): { status: number; details: string } | undefined {
  if (!headers.has(":authority")) return { status: 400, details: "missing_host_header" };
  const path = headers.get(":path");
  if (path === undefined) return headers.get(":method") === "CONNECT" ? undefined : { status: 404, details: "missing_path_rejected" };
  if (!path.startsWith("/")) return { status: 404, details: "absolute_path_rejected" };
  if (path.includes("#")) return { status: 400, details: "path_normalization_failed" };
  return undefined;
}

const TWICE =
  "a stream that is ended twice: two replies, or a reply and a close, in one response-side callback; close_stream twice; a reply or close from on_log, on_done or on_delete";

let lastDate = 0;
let lastDateText = "";

function httpDate(wall: bigint): string {
  const second = Number(wall / 1_000_000_000n);
  if (second !== lastDate) {
    lastDate = second;
    lastDateText = new Date(second * 1000).toUTCString();
  }
  return lastDateText;
}

let pool = Buffer.alloc(0);
let used = 0;

/** A version 4 UUID. */
function requestId(): string {
  if (used + 16 > pool.length) {
    pool = randomBytes(4096);
    used = 0;
  }
  const bytes = pool.subarray(used, used + 16);
  used += 16;
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
