// What host functions see of a context: its header maps, its buffers, its stream. Which of them are there depends on the callback (facts/envoy-verified.md 5).
import type { Bytes } from "./bytes.js";
import type { HeaderMap } from "./headermap.js";
import type { RootContext } from "./root-context.js";
import type { LocalReply } from "./stream-callbacks.js";
import type { FilterStateObject, StreamInfo } from "./stream-info.js";
import type { Vm } from "./vm.js";

/** Numbers of the maps, as on the wire. */
export const MapType = {
  RequestHeaders: 0,
  RequestTrailers: 1,
  ResponseHeaders: 2,
  ResponseTrailers: 3,
  GrpcReceiveInitialMetadata: 4,
  GrpcReceiveTrailingMetadata: 5,
  HttpCallResponseHeaders: 6,
  HttpCallResponseTrailers: 7,
} as const;

export const BufferType = {
  HttpRequestBody: 0,
  HttpResponseBody: 1,
  NetworkDownstreamData: 2,
  NetworkUpstreamData: 3,
  HttpCallResponseBody: 4,
  GrpcReceiveBuffer: 5,
  VmConfiguration: 6,
  PluginConfiguration: 7,
  CallData: 8,
} as const;

/** A buffer as the guest finds it: one it may change, bytes it may only read, an empty one that takes no change ("none"), or nothing there (undefined). */
export type GuestBuffer = Bytes | Uint8Array | "none" | undefined;

export abstract class Context {
  readonly id: number;
  /** What its log lines begin with. */
  abstract readonly logPrefix: string;
  /** The root context it belongs to; a root is its own. */
  abstract readonly root: RootContext;
  /** What `declare_property` said of properties. envoy 1.40: it counts where it is said, and `set_property` looks at the root context's only. */
  declared: Map<string, { readOnly: boolean; type: NonNullable<FilterStateObject["type"]> }> | undefined;
  /** What `CallData` shows: the last constant buffer that was read (envoy 1.40). */
  private scratch: Uint8Array | "none" = "none";

  constructor(readonly vm: Vm) {
    this.id = vm.nextContextId();
    vm.add(this);
  }

  /** A map to read. */
  readableMap(type: number): HeaderMap | undefined {
    const { root } = this;
    if (type === MapType.GrpcReceiveInitialMetadata) return root.grpcInitialMetadata;
    if (type === MapType.GrpcReceiveTrailingMetadata) return root.grpcTrailingMetadata;
    if (type === MapType.HttpCallResponseHeaders) return root.callResponse?.headers;
    if (type === MapType.HttpCallResponseTrailers) return root.callResponse?.trailers;
    return undefined;
  }

  /** A map to change. Asking for trailers may make them. */
  writableMap(_type: number): HeaderMap | undefined {
    return undefined;
  }

  get inLog(): boolean {
    return false;
  }

  buffer(type: number): GuestBuffer {
    switch (type) {
      case BufferType.HttpCallResponseBody:
        return this.root.callResponse?.body;
      case BufferType.GrpcReceiveBuffer:
        return this.root.grpcMessage ?? "none";
      case BufferType.VmConfiguration:
        this.scratch = this.vm.config.configuration;
        return this.scratch;
      case BufferType.PluginConfiguration:
        if (!this.root.configurationReadable) return undefined;
        this.scratch = this.root.plugin.configuration;
        return this.scratch;
      case BufferType.CallData:
        return this.scratch;
      default:
        return "none";
    }
  }

  /** The stream it belongs to. */
  get stream(): StreamInfo | undefined {
    return undefined;
  }

  /** The stream whose attributes may be read: for an access logger not its own. */
  get observed(): StreamInfo | undefined {
    return this.stream;
  }

  /** A request header was changed. */
  onRequestHeadersChanged(): void {}

  /** envoy 1.40: acts once the callback is through. Returns a status. */
  continueStream(type: number): number {
    return type === 3 ? 12 : 0;
  }

  closeStream(_type: number): number {
    return 0;
  }

  sendLocalReply(_reply: LocalReply): void {}

  clearRouteCache(): void {}
}
