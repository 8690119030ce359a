// A wasm filter's context of one TCP connection (envoy.filters.network.wasm), as envoy 1.40 drives it (facts/envoy-verified.md 3).
import type { Bytes } from "./bytes.js";
import { BufferType, Context, type GuestBuffer } from "./context.js";
import type { RootContext } from "./root-context.js";
import type { StreamInfo } from "./stream-info.js";

/** What a network filter may do to its connection. */
export interface ConnectionCallbacks {
  readonly info: StreamInfo;
  /** Hands on what was held of the client's data. */
  continueReading(): void;
  close(): void;
}

export const CloseType = { Unknown: 0, Local: 1, Remote: 2 } as const;

/** `true`: the filters after it see the data; `false`: it stays where it is. */
type Goes = boolean;

export class TcpContext extends Context {
  readonly logPrefix: string;
  private downstream: Bytes | undefined;
  private upstream: Bytes | undefined;
  private upstreamClosed = false;
  private destroyed = false;
  private logging = false;
  private failed = false;

  constructor(
    readonly root: RootContext,
    private readonly callbacks: ConnectionCallbacks,
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

  onNewConnection(): Goes {
    if (!this.vm.failed) this.vm.notify("proxy_on_context_create", this, this.id, this.root.id);
    return this.call("proxy_on_new_connection");
  }

  onDownstreamData(data: Bytes, endStream: boolean): Goes {
    this.downstream = data;
    const goes = this.call("proxy_on_downstream_data", data.length, endStream ? 1 : 0);
    // envoy 1.40: what is held can still be read, and changed.
    if (goes) this.downstream = undefined;
    return goes;
  }

  onUpstreamData(data: Bytes, endStream: boolean): Goes {
    if (this.upstreamClosed) return true;
    this.upstream = data;
    const goes = this.call("proxy_on_upstream_data", data.length, endStream ? 1 : 0);
    if (goes) this.upstream = undefined;
    if (endStream) {
      this.upstreamClosed = true;
      if (!this.vm.failed) this.vm.notify("proxy_on_upstream_connection_close", this, this.id, CloseType.Unknown);
    }
    return goes;
  }

  /** The connection is gone: `Local` where the proxy closed it last, `Remote` where the client did. */
  onClose(type: number): void {
    if (this.destroyed) return;
    this.destroyed = true;
    const { vm } = this;
    if (!vm.failed) vm.notify("proxy_on_downstream_connection_close", this, this.id, type);
    if (!vm.failed) vm.notify("proxy_on_done", this, this.id);
    this.logging = true;
    if (!vm.failed) vm.notify("proxy_on_log", this, this.id);
    this.logging = false;
    if (!vm.failed) vm.notify("proxy_on_delete", this, this.id);
    vm.contexts.delete(this.id);
    this.root.onStreamGone();
  }

  private call(name: string, ...args: number[]): Goes {
    const { vm } = this;
    if (vm.failed) return this.afterFailure();
    const guest = vm.callbacks[name];
    if (!guest) return true;
    const result = vm.enter(name, this, guest, this.id, ...args);
    const goes = vm.failed ? this.afterFailure() : result === 0;
    vm.runActions();
    return goes;
  }

  private afterFailure(): Goes {
    if (this.root.plugin.failOpen) return true;
    if (!this.failed) {
      this.failed = true;
      this.callbacks.close();
    }
    return false;
  }

  override buffer(type: number): GuestBuffer {
    if (type === BufferType.NetworkDownstreamData) return this.downstream ?? "none";
    if (type === BufferType.NetworkUpstreamData) return this.upstream ?? "none";
    return super.buffer(type);
  }

  override continueStream(type: number): number {
    if (type === 3) return 12;
    if (type === 2) this.vm.defer(() => this.callbacks.continueReading());
    return 0;
  }

  override closeStream(type: number): number {
    if (type >= 2) this.vm.defer(() => this.callbacks.close());
    return 0;
  }
}
