// One attempt to have a request answered by a host: through the cluster's own filters, if it has any, to a stream of the host's pool.
import { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";
import { DataStatus, HeadersStatus, type LocalReply, type StreamFilter, TrailersStatus } from "../vm/stream-callbacks.js";
import type { StreamInfo } from "../vm/stream-info.js";
import type { Cluster, Host } from "./clusters.js";
import type { RequestEncoder, ResetReason, ResponseDecoder } from "./codec.js";
import { FilterManager } from "./filter-manager.js";

export interface UpstreamCallbacks {
  on1xx(headers: HeaderMap): void;
  onHeaders(headers: HeaderMap, endStream: boolean): void;
  onData(data: Bytes, endStream: boolean): void;
  onTrailers(trailers: HeaderMap): void;
  onReset(reason: ResetReason, details: string | undefined): void;
  /** A filter of the upstream answered. */
  onLocalReply(reply: LocalReply): void;
  /** A filter of the upstream ends the whole stream. */
  onFilterReset(details: string): void;
  /** Looks at the headers as they leave for the upstream; answers and returns false where they must not. */
  checkHeaders(headers: HeaderMap): boolean;
  /** The host does not take the request as fast as it comes. */
  holdRequest(hold: boolean): void;
}

export class UpstreamRequest implements ResponseDecoder {
  private encoder: RequestEncoder | undefined;
  private cancel: (() => void) | undefined;
  private readonly filters: FilterManager | undefined;
  /** What the upstream's filters hold back until there is a connection. */
  private beforeReady: (() => void)[] = [];
  private ready = false;
  private over = false;
  private requestEnded = false;
  private responseEnded = false;
  private held = 0;

  constructor(
    private readonly cluster: Cluster,
    private readonly host: Host,
    private readonly info: StreamInfo,
    private readonly callbacks: UpstreamCallbacks,
  ) {
    if (cluster.filters.length > 0) this.filters = this.makeFilters();
  }

  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    const pool = this.cluster.poolFor(this.host);
    const { info } = this;
    const cancel = pool.newStream(this, {
      onReady: (encoder, upstream) => {
        this.cancel = undefined;
        this.encoder = encoder;
        info.upstream.remoteAddress = upstream.remoteAddress;
        info.upstream.localAddress = upstream.localAddress;
        info.upstream.readyNanoseconds = BigInt(Math.round(upstream.readyNanoseconds));
        this.cluster.statistics.requests.value++;
        this.ready = true;
        for (let i = 0; i < this.held; i++) encoder.readDisable(true);
        for (const step of this.beforeReady.splice(0)) {
          if (this.over) return;
          step();
        }
      },
      onFailure: (reason, details) => {
        this.cancel = undefined;
        if (this.over) return;
        this.over = true;
        info.upstream.transportFailure = details;
        info.upstream.readyNanoseconds ??= 0n;
        this.destroyFilters();
        this.callbacks.onReset(reason, details);
      },
    });
    if (!this.ready && !this.over) this.cancel = cancel;
    // envoy 1.40: the upstream's filters do not wait for a connection; what they pass on does.
    if (this.filters) this.filters.decodeHeaders(headers, endStream);
    else this.passHeaders(headers, endStream);
  }

  sendData(data: Bytes, endStream: boolean): void {
    if (this.over) return;
    if (this.filters) this.filters.decodeData(data, endStream);
    else this.passData(data, endStream);
  }

  sendTrailers(trailers: HeaderMap): void {
    if (this.over) return;
    if (this.filters) this.filters.decodeTrailers(trailers);
    else this.passTrailers(trailers);
  }

  private whenReady(step: () => void): void {
    if (this.over) return;
    if (this.ready) step();
    else this.beforeReady.push(step);
  }

  readDisable(disable: boolean): void {
    if (this.over) return;
    this.held += disable ? 1 : -1;
    this.encoder?.readDisable(disable);
  }

  /** Gives up on it; nothing more is heard. */
  reset(reason: ResetReason): void {
    if (this.over) return;
    this.over = true;
    this.cancel?.();
    if (this.encoder && !(this.requestEnded && this.responseEnded)) this.encoder.reset(reason);
    this.destroyFilters();
  }

  private destroyFilters(): void {
    if (!this.filters) return;
    this.filters.gone = true;
    this.filters.destroy();
  }

  // Towards the host.

  private waiting: { data: Bytes; endStream: boolean } | undefined;

  private passHeaders(headers: HeaderMap, endStream: boolean): void {
    this.whenReady(() => this.writeHeaders(headers, endStream));
  }

  private writeHeaders(headers: HeaderMap, endStream: boolean): void {
    // envoy 1.40: looked at by the codec, when there is a connection.
    if (!this.callbacks.checkHeaders(headers)) return;
    this.info.firstUpstreamSent = this.info.clock.monotonic();
    if (endStream) this.requestEnded = true;
    this.encoder!.encodeHeaders(headers, endStream);
  }

  private passData(data: Bytes, endStream: boolean): void {
    const { waiting } = this;
    if (waiting) {
      waiting.data.move(data);
      waiting.endStream = endStream;
      return;
    }
    // envoy 1.40: what comes before there is a connection becomes one piece.
    const first = { data, endStream };
    if (!this.ready) this.waiting = first;
    this.whenReady(() => {
      this.waiting = undefined;
      if (first.endStream) this.requestEnded = true;
      this.encoder!.encodeData(first.data, first.endStream);
    });
  }

  private passTrailers(trailers: HeaderMap): void {
    this.whenReady(() => {
      this.requestEnded = true;
      this.encoder!.encodeTrailers(trailers);
    });
  }

  // From the host.

  on1xx(headers: HeaderMap): void {
    if (!this.over) this.callbacks.on1xx(headers);
  }

  onHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.over) return;
    this.info.firstUpstreamReceived ??= this.info.clock.monotonic();
    if (endStream) this.onResponseEnd();
    if (this.filters) this.filters.encodeHeaders(headers, endStream);
    else this.deliverHeaders(headers, endStream);
  }

  onData(data: Bytes, endStream: boolean): void {
    if (this.over) return;
    if (endStream) this.onResponseEnd();
    if (this.filters) this.filters.encodeData(data, endStream);
    else this.deliverData(data, endStream);
  }

  onTrailers(trailers: HeaderMap): void {
    if (this.over) return;
    this.onResponseEnd();
    if (this.filters) this.filters.encodeTrailers(trailers);
    else this.deliverTrailers(trailers);
  }

  onWatermark(above: boolean): void {
    if (!this.over) this.callbacks.holdRequest(above);
  }

  onReset(reason: ResetReason, details?: string): void {
    if (this.over) return;
    this.over = true;
    this.destroyFilters();
    this.callbacks.onReset(reason, details);
  }

  private onResponseEnd(): void {
    this.responseEnded = true;
    this.info.lastUpstreamReceived = this.info.clock.monotonic();
  }

  private deliverHeaders(headers: HeaderMap, endStream: boolean): void {
    if (endStream) this.finish();
    this.callbacks.onHeaders(headers, endStream);
  }

  private deliverData(data: Bytes, endStream: boolean): void {
    if (endStream) this.finish();
    this.callbacks.onData(data, endStream);
  }

  private deliverTrailers(trailers: HeaderMap): void {
    this.finish();
    this.callbacks.onTrailers(trailers);
  }

  /** The response is delivered; a request that is not has to be given up by the router. */
  private finish(): void {
    if (!this.requestEnded) return;
    this.over = true;
    this.destroyFilters();
  }

  private makeFilters(): FilterManager {
    const request = this;
    const codec: StreamFilter = {
      decodeHeaders(headers, endStream) {
        request.passHeaders(headers, endStream);
        return HeadersStatus.StopIteration;
      },
      decodeData(data, endStream) {
        const moved = new Bytes();
        moved.move(data);
        request.passData(moved, endStream);
        return DataStatus.StopIterationNoBuffer;
      },
      decodeTrailers(trailers) {
        request.passTrailers(trailers);
        return TrailersStatus.StopIteration;
      },
      encodeHeaders: () => HeadersStatus.Continue,
      encodeData: () => DataStatus.Continue,
      encodeTrailers: () => TrailersStatus.Continue,
      log() {},
      onDestroy() {},
    };
    const manager: FilterManager = new FilterManager(
      this.info,
      {
        encodeHeaders: (headers, endStream) => request.deliverHeaders(headers, endStream),
        encodeData: (data, endStream) => request.deliverData(data, endStream),
        encodeTrailers: (trailers) => request.deliverTrailers(trailers),
        onEncodeComplete() {},
        resetStream: (details) => request.resetByFilter(details),
        clearRouteCache() {},
        holdRequest() {},
        holdResponse: (hold) => request.readDisable(hold),
        rewriteLocalReply: ({ status, body }) => ({ status, body }),
        redirectLocalReply(reply) {
          request.callbacks.onLocalReply(reply);
          return true;
        },
      },
      this.cluster.bufferLimit,
      [...this.cluster.filters, () => codec],
    );
    return manager;
  }

  /** envoy 1.40: what the upstream has begun to say counts as its answer. */
  private resetByFilter(details: string): void {
    if (!this.over) this.callbacks.onFilterReset(this.info.firstUpstreamReceived === undefined ? details : "via_upstream");
  }
}
