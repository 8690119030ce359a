// Requests that filters make (envoy: Http::AsyncClient): through a router of their own, with the same answers of its own as a client would get.

import { Bytes } from "../vm/bytes.js";
import type { AsyncClient, AsyncStream, AsyncStreamCallbacks, HttpCallCallbacks } from "../vm/environment.js";
import { isGrpcType } from "../vm/grpc-status.js";
import type { HeaderMap } from "../vm/headermap.js";
import type { LocalReply } from "../vm/stream-callbacks.js";
import { type Clock, StreamInfo } from "../vm/stream-info.js";
import type { ClusterManager } from "./clusters.js";
import { connectionSays } from "./hop-headers.js";
import { localReplyMessage } from "./local-reply.js";
import { Router, type RouterRoute, type RouterStream } from "./router.js";
import type { Scheduler } from "./scheduler.js";

/** envoy 1.40: runtime http.async_response_buffer_limit. */
const RESPONSE_LIMIT = 32 * 1024 * 1024;

export function createAsyncClient(clusters: ClusterManager, scheduler: Scheduler, clock: Clock): AsyncClient {
  const start = (cluster: string, callbacks: AsyncStreamCallbacks, timeoutMs: number | undefined): Stream =>
    new Stream(cluster, callbacks, timeoutMs ?? 0, clusters, scheduler, clock);

  return {
    hasCluster: (name) => clusters.get(name) !== undefined,
    start,
    send(cluster, headers, body, timeoutMs, callbacks) {
      const response = collect(callbacks);
      const stream = start(cluster, response.callbacks, timeoutMs);
      response.cancel = () => stream.reset();
      stream.sendHeaders(headers, body.length === 0);
      if (body.length > 0 && !response.over()) stream.sendData(new Bytes(body), true);
      return response.over() ? undefined : { cancel: () => response.give() };
    },
  };
}

/** Gathers a whole response. */
function collect(callbacks: HttpCallCallbacks) {
  let headers: HeaderMap | undefined;
  let trailers: HeaderMap | undefined;
  const body = new Bytes();
  let over = false;
  const state = {
    cancel: () => {},
    over: () => over,
    give() {
      if (over) return;
      over = true;
      state.cancel();
    },
    callbacks: {
      onHeaders(map: HeaderMap) {
        headers = map;
      },
      onData(data: Bytes) {
        body.move(data);
        if (body.length > RESPONSE_LIMIT && !over) {
          over = true;
          state.cancel();
          callbacks.onFailure();
        }
      },
      onTrailers(map: HeaderMap) {
        trailers = map;
      },
      onComplete() {
        if (over) return;
        over = true;
        callbacks.onSuccess(headers!, body, trailers);
      },
      onReset() {
        if (over) return;
        over = true;
        callbacks.onFailure();
      },
    },
  };
  return state;
}

class Stream implements AsyncStream, RouterStream {
  readonly info: StreamInfo;
  requestComplete = false;
  private readonly router: Router;
  private over = false;
  private isGrpc = false;
  private isHead = false;
  /** It asks for another protocol. */
  private upgrade = false;
  private responseStarted = false;
  private readonly asyncRoute: RouterRoute;

  constructor(
    cluster: string,
    private readonly callbacks: AsyncStreamCallbacks,
    timeoutMs: number,
    clusters: ClusterManager,
    readonly scheduler: Scheduler,
    clock: Clock,
  ) {
    this.info = new StreamInfo(clock, { id: 0, remoteAddress: "", localAddress: "" });
    this.asyncRoute = {
      clusterName: () => cluster,
      clusterNotFoundStatus: 503,
      timeoutMs,
      finalizeRequestHeaders() {},
      finalizeResponseHeaders() {},
    };
    this.router = new Router(this, clusters);
  }

  get details(): string {
    return this.info.responseCodeDetails ?? "";
  }

  route(): RouterRoute {
    return this.asyncRoute;
  }

  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    this.isGrpc = isGrpcType(headers.get("content-type"));
    this.isHead = headers.get(":method") === "HEAD";
    this.upgrade = connectionSays(headers, "upgrade") && headers.has("upgrade");
    headers.assign("x-envoy-internal", "true");
    this.requestComplete = endStream;
    this.router.decodeHeaders(headers, endStream);
  }

  sendData(data: Bytes, endStream: boolean): void {
    if (this.over) return;
    this.requestComplete = endStream;
    this.router.decodeData(data, endStream);
  }

  reset(): void {
    if (this.over) return;
    this.over = true;
    this.router.onDestroy();
  }

  sendLocalReply(reply: LocalReply): void {
    if (this.over) return;
    this.info.responseCodeDetails = reply.details;
    if (this.responseStarted) {
      this.resetStream();
      return;
    }
    const rewrite = ({ status, body }: { status: number; body: string }) => ({ status, body });
    const { headers, body } = localReplyMessage(reply, { isGrpc: this.isGrpc, isHead: this.isHead, rewrite, info: this.info });
    const end = body === "" || this.isHead;
    this.encodeHeaders(headers, end);
    if (!end) this.encodeData(new Bytes(Buffer.from(body, "latin1")), true);
  }

  encode1xx(): void {}

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.over) return;
    this.responseStarted = true;
    headers.remove("keep-alive");
    if (this.upgrade) for (const name of ["content-length", "x-envoy-upstream-service-time"]) headers.remove(name);
    // envoy 1.40: a call has no use for another protocol: its answer ends with the headers.
    if (this.upgrade || headers.get(":status") === "101") endStream = true;
    this.callbacks.onHeaders(headers, endStream);
    if (endStream) this.complete();
  }

  encodeData(data: Bytes, endStream: boolean): void {
    if (this.over) return;
    this.callbacks.onData(data, endStream);
    if (endStream) this.complete();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.over) return;
    this.callbacks.onTrailers(trailers);
    this.complete();
  }

  private complete(): void {
    if (this.over) return;
    this.over = true;
    this.callbacks.onComplete();
    this.router.onDestroy();
  }

  resetStream(): void {
    if (this.over) return;
    this.over = true;
    this.callbacks.onReset();
    this.router.onDestroy();
  }

  /** A call is there as a whole. */
  readonly retryLimit = Number.POSITIVE_INFINITY;

  holdRequest(): void {}
}
