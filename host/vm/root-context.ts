// A plugin's root context: its start, ticks, queues, and the calls it makes to other servers.
import type { Bytes } from "./bytes.js";
import type { Expressions } from "./cel.js";
import { Context, MapType } from "./context.js";
import { GrpcCalls } from "./grpc.js";
import type { HeaderMap } from "./headermap.js";
import type { PluginConfig } from "./plugin.js";
import type { StreamInfo } from "./stream-info.js";
import type { Vm } from "./vm.js";

interface CallResponse {
  headers: HeaderMap;
  /** Read-only to the guest (envoy 1.40). */
  body: Uint8Array;
  trailers: HeaderMap | undefined;
}

export class RootContext extends Context {
  readonly logPrefix: string;
  readonly streamPrefix: string;
  override readonly root: RootContext = this;
  callResponse: CallResponse | undefined;
  grpcInitialMetadata: HeaderMap | undefined;
  grpcTrailingMetadata: HeaderMap | undefined;
  grpcMessage: Bytes | undefined;
  /** What `proxy_get_status` tells. */
  statusCode = 0;
  statusMessage = "";
  /** Buffer 7 may be read. */
  configurationReadable = false;
  readonly grpc: GrpcCalls;
  expressions: Expressions | undefined;
  /** Streams that live on it. */
  streams = 0;
  private readonly calls = new Map<number, { cancel(): void }>();
  private tickMs = 0;
  private stopTick: (() => void) | undefined;
  private retired = false;
  private state: "running" | "pending" | "deleting" | "gone" = "running";
  onGone: (() => void) | undefined;

  constructor(
    vm: Vm,
    readonly plugin: PluginConfig,
  ) {
    super(vm);
    const parts = [plugin.rootId, plugin.vm.vmId].filter((part) => part !== "");
    this.logPrefix = parts.map((part) => ` ${part}`).join("");
    this.streamPrefix = [plugin.name, ...parts]
      .filter((part) => part !== "")
      .map((part) => ` ${part}`)
      .join("");
    this.grpc = new GrpcCalls(this);
  }

  /** Creates, starts and configures. Returns what went wrong: the callback that said no or trapped. */
  start(isNew: boolean): "start" | "configure" | undefined {
    const { vm, plugin } = this;
    if (isNew) {
      this.configurationReadable = true;
      vm.notify("proxy_on_context_create", this, this.id, 0);
      this.configurationReadable = false;
      if (vm.callbacks.proxy_on_vm_start && vm.notify("proxy_on_vm_start", this, this.id, plugin.vm.configuration.length) === 0) return "start";
    }
    if (vm.failed) return "start";
    this.configurationReadable = true;
    const configured = vm.callbacks.proxy_on_configure ? vm.notify("proxy_on_configure", this, this.id, plugin.configuration.length) : 1;
    this.configurationReadable = false;
    return configured === 0 || vm.failed ? "configure" : undefined;
  }

  // Ticks.

  setTick(ms: number): void {
    this.tickMs = ms;
    this.stopTick?.();
    this.stopTick = undefined;
    if (ms > 0) this.arm();
  }

  private arm(): void {
    this.stopTick = this.vm.env.setTimer(() => {
      this.stopTick = undefined;
      if (this.vm.failed || this.state === "gone") return;
      this.vm.notify("proxy_on_tick", this, this.id);
      if (this.tickMs > 0 && !this.stopTick && !this.isGone) this.arm();
    }, this.tickMs);
  }

  private get isGone(): boolean {
    return this.state === "gone";
  }

  onQueueReady(token: number): void {
    if (this.state === "gone") return;
    this.vm.notify("proxy_on_queue_ready", this, this.id, token);
  }

  // HTTP calls.

  private lastCall = 0;

  /** Returns [status, token]. */
  httpCall(cluster: string, headers: HeaderMap, body: Uint8Array, timeoutMs: number): [number, number] {
    const { client } = this.vm.env;
    if (!client.hasCluster(cluster) || timeoutMs < 0) return [2, 0];
    if (!headers.has(":method") || !headers.has(":path") || !headers.has(":authority")) return [2, 0];
    if (body.length > 0) headers.assign("content-length", String(body.length));
    this.lastCall += 4;
    const token = this.lastCall;
    const call = client.send(cluster, headers, body, timeoutMs === 0 ? undefined : timeoutMs, {
      onSuccess: (responseHeaders, responseBody, trailers) => this.onCallEnd(token, { headers: responseHeaders, body: responseBody.all(), trailers }),
      onFailure: () => this.onCallEnd(token, undefined),
    });
    if (!call) return [10, 0];
    this.calls.set(token, call);
    return [0, token];
  }

  private onCallEnd(token: number, response: CallResponse | undefined): void {
    if (this.vm.current) {
      // envoy 1.40: the guest is running; by then the token will be unknown.
      this.vm.defer(() => this.onCallEnd(token, response));
      return;
    }
    if (!this.calls.delete(token)) return;
    if (!response) {
      this.statusCode = 11;
      this.statusMessage = "reset";
    }
    this.callResponse = response;
    const size = (map: HeaderMap | undefined) => map?.length ?? 0;
    this.vm.notify("proxy_on_http_call_response", this, this.id, token, size(response?.headers), response?.body.length ?? 0, size(response?.trailers));
    this.callResponse = undefined;
    this.statusMessage = "";
  }

  // An access logger (envoy.access_loggers.wasm).

  private logged: StreamInfo | undefined;

  logStream(info: StreamInfo): void {
    if (this.vm.failed) return;
    this.logged = info;
    this.vm.notify("proxy_on_log", this, this.id);
    this.logged = undefined;
  }

  override get inLog(): boolean {
    return this.logged !== undefined;
  }

  override get observed(): StreamInfo | undefined {
    return this.logged;
  }

  override readableMap(type: number): HeaderMap | undefined {
    const { logged } = this;
    if (!logged || type > MapType.ResponseTrailers) return super.readableMap(type);
    return {
      [MapType.RequestHeaders]: logged.requestHeaders,
      [MapType.ResponseHeaders]: logged.responseHeaders,
      [MapType.ResponseTrailers]: logged.responseTrailers,
    }[type];
  }

  // Its end.

  onStreamGone(): void {
    this.streams--;
    if (this.retired) this.finish();
  }

  /** No new streams come; it ends with the last one. */
  retire(): void {
    this.retired = true;
    this.finish();
  }

  private finish(): void {
    if (this.streams > 0 || this.state !== "running") return;
    if (this.vm.failed) {
      this.end();
      return;
    }
    const done = this.vm.callbacks.proxy_on_done ? this.vm.notify("proxy_on_done", this, this.id) : 1;
    if (done !== 0) this.delete();
    else this.state = "pending";
  }

  /** `proxy_done`: only a root that said it was not done may. */
  done(): number {
    if (this.state !== "pending") return 1;
    this.state = "deleting";
    this.vm.defer(() => this.delete());
    return 0;
  }

  private delete(): void {
    if (!this.vm.failed) this.vm.notify("proxy_on_delete", this, this.id);
    this.end();
  }

  end(): void {
    if (this.state === "gone") return;
    this.state = "gone";
    this.stopTick?.();
    for (const call of this.calls.values()) call.cancel();
    this.calls.clear();
    this.grpc.close();
    this.vm.contexts.delete(this.id);
    this.onGone?.();
  }
}
