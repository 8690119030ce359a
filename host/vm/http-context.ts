// A wasm filter's context of one HTTP stream: Envoy's algorithm between the filter manager and the guest's callbacks (facts/envoy-wasm.md B3, B4).
import type { Bytes } from "./bytes.js";
import { BufferType, Context, type GuestBuffer, MapType } from "./context.js";
import type { HeaderMap } from "./headermap.js";
import type { RootContext } from "./root-context.js";
import { DataStatus, HeadersStatus, type LocalReply, type StreamCallbacks, type StreamFilter, TrailersStatus } from "./stream-callbacks.js";
import type { StreamInfo } from "./stream-info.js";

/** One direction as the guest may see it now. */
interface Side {
  headers: HeaderMap | undefined;
  body: Bytes | undefined;
  trailers: HeaderMap | undefined;
  /** The guest asked to keep the body: it sees all of it from now on. */
  buffering: boolean;
}

const REQUEST = 0;
const RESPONSE = 1;

export class HttpContext extends Context implements StreamFilter {
  readonly logPrefix: string;
  private readonly sides: [Side, Side] = [empty(), empty()];
  private created = false;
  private destroyed = false;
  private logging = false;
  private endOfStream = false;
  private failureReplied = false;
  /** The call that ends the stream was made: which one, for a crash's report. */

  constructor(
    readonly root: RootContext,
    private readonly callbacks: StreamCallbacks,
    /** envoy 1.40: an upstream filter hears nothing of the access log. */
    private readonly isUpstream = false,
  ) {
    super(root.vm);
    this.logPrefix = root.streamPrefix;
    root.streams++;
  }

  override get stream(): StreamInfo {
    return this.callbacks.info;
  }

  override get inLog(): boolean {
    return this.logging;
  }

  private create(): void {
    if (this.created) return;
    this.created = true;
    if (this.vm.failed) return;
    this.vm.notify("proxy_on_context_create", this, this.id, this.root.id);
  }

  // The filter.

  decodeHeaders(headers: HeaderMap, endStream: boolean): HeadersStatus {
    this.create();
    return this.onHeaders(REQUEST, "proxy_on_request_headers", headers, endStream);
  }

  decodeData(data: Bytes, endStream: boolean): DataStatus {
    return this.onData(REQUEST, "proxy_on_request_body", data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): TrailersStatus {
    return this.onTrailers(REQUEST, "proxy_on_request_trailers", trailers);
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): HeadersStatus {
    if (this.failureReplied) return HeadersStatus.Continue;
    return this.onHeaders(RESPONSE, "proxy_on_response_headers", headers, endStream);
  }

  encodeData(data: Bytes, endStream: boolean): DataStatus {
    if (this.failureReplied) return DataStatus.Continue;
    return this.onData(RESPONSE, "proxy_on_response_body", data, endStream);
  }

  encodeTrailers(trailers: HeaderMap): TrailersStatus {
    if (this.failureReplied) return TrailersStatus.Continue;
    return this.onTrailers(RESPONSE, "proxy_on_response_trailers", trailers);
  }

  private onHeaders(direction: 0 | 1, name: string, headers: HeaderMap, endStream: boolean): HeadersStatus {
    if (!this.created) return HeadersStatus.Continue;
    const side = this.sides[direction];
    side.headers = headers;
    this.endOfStream = endStream;
    const status = this.call(name, HeadersStatus.Continue, HeadersStatus.StopAllIterationAndWatermark, this.headersStatus, headers.length, endStream ? 1 : 0);
    if (status === HeadersStatus.Continue) side.headers = undefined;
    return status;
  }

  private onData(direction: 0 | 1, name: string, data: Bytes, endStream: boolean): DataStatus {
    if (!this.created) return DataStatus.Continue;
    const side = this.sides[direction];
    const held = direction === REQUEST ? this.callbacks.request : this.callbacks.response;
    this.endOfStream = endStream;
    let body = data;
    if (side.buffering) {
      held.addBuffered(data);
      if (this.destroyed) return DataStatus.StopIterationAndBuffer;
      body = held.buffered() ?? data;
    }
    side.body = body;
    const status = this.call(name, DataStatus.Continue, DataStatus.StopIterationNoBuffer, dataStatus, body.length, endStream ? 1 : 0);
    side.buffering = status === DataStatus.StopIterationAndBuffer;
    // What is not kept by the filter manager is gone with this call.
    side.body = undefined;
    return status;
  }

  private onTrailers(direction: 0 | 1, name: string, trailers: HeaderMap): TrailersStatus {
    if (!this.created) return TrailersStatus.Continue;
    const side = this.sides[direction];
    side.trailers = trailers;
    const status = this.call(name, TrailersStatus.Continue, TrailersStatus.StopIteration, trailersStatus, trailers.length);
    if (status === TrailersStatus.Continue) side.trailers = undefined;
    return status;
  }

  /** Calls the guest. `open` is the status of a filter that is not there, `closed` that of one whose VM has failed. */
  private call<S extends number>(name: string, open: S, closed: S, convert: (result: number, stopped: boolean) => S, ...args: number[]): S {
    const { vm } = this;
    if (vm.failed) return this.afterFailure(open, closed);
    const guest = vm.callbacks[name];
    if (!guest) return open;
    const result = args.length === 2 ? vm.enter(name, this, guest, this.id, args[0]!, args[1]!) : vm.enter(name, this, guest, this.id, args[0]!);
    // The status comes from before what the guest asked for is done; that is done before the status counts.
    const status = vm.failed ? this.afterFailure(open, closed) : convert(result, vm.stopIteration);
    vm.runActions();
    return status;
  }

  private afterFailure<S>(open: S, closed: S): S {
    if (this.root.plugin.failOpen) return open;
    this.fail();
    return closed;
  }

  /** envoy 1.40: the stream of a failed VM is answered with 503, once. */
  private fail(): void {
    if (this.failureReplied) return;
    this.failureReplied = true;
    this.callbacks.sendLocalReply({ status: 503, body: "", details: "wasm_fail_stream", grpcStatus: 14 });
  }

  private readonly headersStatus = (result: number, stopped: boolean): HeadersStatus => {
    if (stopped) return HeadersStatus.StopAllIterationAndWatermark;
    if (result === 0 || result === 2) return HeadersStatus.Continue;
    if (result === 1 && this.root.plugin.allowOnHeadersStopIteration) return HeadersStatus.StopIteration;
    return result === 3 ? HeadersStatus.StopAllIterationAndBuffer : HeadersStatus.StopAllIterationAndWatermark;
  };

  log(): void {
    if (this.isUpstream) return;
    this.create();
    if (this.vm.failed) return;
    this.logging = true;
    this.vm.notify("proxy_on_log", this, this.id);
    this.logging = false;
  }

  onDestroy(): void {
    if (this.destroyed || !this.created) {
      if (!this.created) this.forget();
      return;
    }
    this.destroyed = true;
    if (!this.vm.failed) this.vm.notify("proxy_on_done", this, this.id);
    if (!this.vm.failed) this.vm.notify("proxy_on_delete", this, this.id);
    this.forget();
  }

  private forget(): void {
    this.vm.contexts.delete(this.id);
    this.root.onStreamGone();
  }

  // What the guest sees.

  override readableMap(type: number): HeaderMap | undefined {
    const [request, response] = this.sides;
    if (this.logging && type <= MapType.ResponseTrailers) {
      const { info } = this.callbacks;
      return type === MapType.RequestHeaders
        ? info.requestHeaders
        : type === MapType.ResponseHeaders
          ? info.responseHeaders
          : type === MapType.ResponseTrailers
            ? info.responseTrailers
            : undefined;
    }
    switch (type) {
      case MapType.RequestHeaders:
        return request.headers;
      case MapType.RequestTrailers:
        return request.trailers;
      case MapType.ResponseHeaders:
        return response.headers;
      case MapType.ResponseTrailers:
        return response.trailers;
      default:
        return super.readableMap(type);
    }
  }

  override writableMap(type: number): HeaderMap | undefined {
    const [request, response] = this.sides;
    switch (type) {
      case MapType.RequestHeaders:
        return request.headers;
      case MapType.RequestTrailers:
        if (!request.trailers && request.body && this.endOfStream) request.trailers = this.callbacks.request.addTrailers();
        return request.trailers;
      case MapType.ResponseHeaders:
        return response.headers;
      case MapType.ResponseTrailers:
        if (!response.trailers && response.body && this.endOfStream) response.trailers = this.callbacks.response.addTrailers();
        return response.trailers;
      default:
        return undefined;
    }
  }

  override buffer(type: number): GuestBuffer {
    if (type === BufferType.HttpRequestBody) return this.body(REQUEST);
    if (type === BufferType.HttpResponseBody) return this.body(RESPONSE);
    return super.buffer(type);
  }

  private body(direction: 0 | 1): GuestBuffer {
    const side = this.sides[direction];
    if (side.body) return side.body;
    if (!side.buffering) return "none";
    return (direction === REQUEST ? this.callbacks.request : this.callbacks.response).buffered() ?? "none";
  }

  override onRequestHeadersChanged(): void {
    this.callbacks.clearRouteCache();
  }

  override clearRouteCache(): void {
    this.callbacks.clearRouteCache();
  }

  override continueStream(type: number): number {
    if (type > 1) return type === 3 ? 12 : 0;
    this.vm.defer(() => (type === REQUEST ? this.callbacks.request : this.callbacks.response).continue());
    // envoy 1.40: whichever direction goes on, the request's headers are gone.
    const request = this.sides[REQUEST];
    request.headers = undefined;
    request.body = undefined;
    request.trailers = undefined;
    return 0;
  }

  override closeStream(type: number): number {
    if (type <= 1) this.vm.defer(() => this.callbacks.resetStream("wasm_close_stream"));
    return 0;
  }

  override sendLocalReply(reply: LocalReply): void {
    this.vm.defer(() => this.callbacks.sendLocalReply(reply));
  }
}

function empty(): Side {
  return { headers: undefined, body: undefined, trailers: undefined, buffering: false };
}

const dataStatus = (result: number, stopped: boolean): DataStatus => (stopped || result > 3 ? DataStatus.StopIterationNoBuffer : (result as DataStatus));

const trailersStatus = (result: number, stopped: boolean): TrailersStatus =>
  stopped || result > 1 ? TrailersStatus.StopIteration : (result as TrailersStatus);
