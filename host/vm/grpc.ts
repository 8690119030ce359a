// gRPC calls and streams of a root context, as Envoy's gRPC client makes them. Source: facts/envoy-verified.md 8 (envoy 1.40).
import { Bytes } from "./bytes.js";
import type { AsyncStream } from "./environment.js";
import { grpcStatusOf } from "./grpc-status.js";
import { HeaderMap } from "./headermap.js";
import { readFields } from "./protobuf.js";
import type { RootContext } from "./root-context.js";

const UNKNOWN = 2;
const INTERNAL = 13;
const UNAVAILABLE = 14;

interface Listener {
  onInitialMetadata(metadata: HeaderMap): void;
  onMessage(message: Uint8Array): void;
  onTrailingMetadata(metadata: HeaderMap): void;
  onClose(status: number, message: string): void;
}

interface Start {
  service: string;
  method: string;
  metadata: [string, string][];
  timeoutMs: number | undefined;
}

interface Target {
  cluster: string;
  authority: string | undefined;
  /** GrpcService.initial_metadata */
  metadata: [string, string][];
}

/** At most eight digits (envoy 1.40: Grpc::Common::toGrpcTimeout). */
function grpcTimeout(ms: number): string {
  let value = ms;
  for (const [unit, factor] of [
    ["m", 1000],
    ["S", 60],
    ["M", 60],
    ["H", 1],
  ] as const) {
    if (value <= 99_999_999) return `${value}${unit}`;
    value = Math.floor(value / factor);
  }
  return "99999999H";
}

/** The `service` argument: a serialized GrpcService, or the bare name of a cluster. */
function targetOf(bytes: Uint8Array, text: string): Target | "no protobuf" | "no target" {
  const fields = readFields(bytes);
  if (!fields) return "no protobuf";
  const last = fields.findLast((field) => field.number === 1 || field.number === 2);
  if (!last) return "no target";
  if (last.number !== 1) return "no target";
  const inner = readFields(last.bytes);
  if (!inner) return "no protobuf";
  const value = (number: number) => {
    const field = inner.findLast((f) => f.number === number);
    return field && Buffer.from(field.bytes).toString("latin1");
  };
  const metadata = fields
    .filter((field) => field.number === 5)
    .map(({ bytes: header }): [string, string] => {
      const parts = readFields(header) ?? [];
      const part = (number: number) => Buffer.from(parts.findLast((f) => f.number === number)?.bytes ?? []).toString("latin1");
      return [part(1), part(2)];
    });
  return { cluster: value(1) ?? text, authority: value(2), metadata };
}

/** One exchange: frames of messages over an HTTP stream. */
class Exchange {
  private stream: AsyncStream | undefined;
  private rest = new Bytes();
  private closed = false;
  /** The end came before the stream was handed over. */
  private resetWhenStarted = false;

  constructor(private readonly listener: Listener) {}

  /** Returns false where it failed before this returned. */
  start(root: RootContext, target: Target, start: Start): boolean {
    const { client } = root.vm.env;
    if (!client.hasCluster(target.cluster)) {
      this.finish(UNAVAILABLE, "Cluster not available");
      return false;
    }
    const headers = new HeaderMap("request");
    headers.add(":method", "POST");
    headers.add(":path", `/${start.service}/${start.method}`);
    headers.add(":authority", target.authority || target.cluster);
    headers.add(":scheme", "http");
    headers.add("te", "trailers");
    if (start.timeoutMs !== undefined) headers.add("grpc-timeout", grpcTimeout(start.timeoutMs));
    headers.add("content-type", "application/grpc");
    for (const [name, value] of [...start.metadata, ...target.metadata]) {
      const key = name.toLowerCase();
      headers.add(key, key.endsWith("-bin") ? Buffer.from(value, "latin1").toString("base64") : value);
    }
    this.stream = client.start(
      target.cluster,
      {
        onHeaders: (response, endStream) => this.onHeaders(response, endStream),
        onData: (data, endStream) => this.onData(data, endStream),
        onTrailers: (trailers) => this.onTrailers(trailers),
        onComplete: () => {},
        onReset: () => this.fail(INTERNAL, ""),
      },
      start.timeoutMs === 0 ? undefined : start.timeoutMs,
    );
    if (this.resetWhenStarted) this.stream.reset();
    else this.stream.sendHeaders(headers, false);
    return !this.closed;
  }

  send(message: Uint8Array, endStream: boolean): void {
    if (this.closed) return;
    const frame = new Uint8Array(5 + message.length);
    new DataView(frame.buffer).setUint32(1, message.length);
    frame.set(message, 5);
    this.stream?.sendData(new Bytes(frame), endStream);
  }

  halfClose(): void {
    if (!this.closed) this.stream?.sendData(new Bytes(), true);
  }

  reset(): void {
    if (this.closed) return;
    this.closed = true;
    this.stream?.reset();
  }

  private onHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.closed) return;
    const status = Number(headers.get(":status"));
    this.listener.onInitialMetadata(endStream || status !== 200 ? new HeaderMap("response") : headers);
    if (status !== 200) {
      if (endStream && headers.has("grpc-status")) this.onTrailers(headers);
      else this.fail(grpcStatusOf(status), "");
      return;
    }
    if (endStream) this.onTrailers(headers);
  }

  private onData(data: Bytes, endStream: boolean): void {
    if (this.closed) return;
    this.rest.move(data);
    while (this.rest.length >= 5) {
      const head = this.rest.read(0, 5);
      const size = new DataView(head.buffer, head.byteOffset, 5).getUint32(1);
      if (head[0] !== 0 && !(head[0] === 1 && size === 0)) {
        this.fail(INTERNAL, "");
        return;
      }
      if (this.rest.length < 5 + size) break;
      const message = Uint8Array.from(this.rest.read(5, size));
      this.rest.drain(5 + size);
      this.listener.onMessage(message);
      if (this.closed) return;
    }
    if (endStream) this.fail(UNKNOWN, "");
  }

  private onTrailers(trailers: HeaderMap): void {
    if (this.closed) return;
    this.listener.onTrailingMetadata(trailers);
    const status = trailers.get("grpc-status");
    // envoy 1.40: a status that gRPC does not know is "invalid", 2^32 - 1.
    this.finish(
      status === undefined ? UNKNOWN : /^\d+$/.test(status) && Number(status) <= 16 ? Number(status) : 0xffffffff,
      trailers.get("grpc-message") ?? "",
    );
  }

  private fail(status: number, message: string): void {
    if (this.closed) return;
    this.listener.onTrailingMetadata(new HeaderMap("response-trailers"));
    this.finish(status, message);
    if (this.stream) this.stream.reset();
    else this.resetWhenStarted = true;
  }

  /** envoy 1.40: the message ends with how the HTTP stream came to its end. */
  private finish(status: number, message: string): void {
    if (this.closed) return;
    this.closed = true;
    const details = this.stream?.details ?? "";
    this.listener.onClose(status, details === "" ? message : message === "" ? details : `${message}{${details}}`);
  }
}

const Ok = 0;
const NotFound = 1;
const BadArgument = 2;
const ParseFailure = 4;
const InternalFailure = 10;

export class GrpcCalls {
  private readonly calls = new Map<number, Exchange>();
  private readonly streams = new Map<number, { exchange: Exchange; localClosed: boolean; remoteClosed: boolean }>();
  private lastCall = 1;
  private lastStream = 2;

  constructor(private readonly root: RootContext) {}

  get size(): number {
    return this.calls.size + this.streams.size;
  }

  private target(bytes: Uint8Array, text: string): Target | number {
    const target = targetOf(bytes, text);
    if (target === "no target") {
      // A message without a target, the empty one too, is what Envoy's release build aborts over.
      this.root.vm.env.crash("SIGABRT", `a gRPC service argument ("${text}") that parses as a GrpcService without a target; pass a serialized GrpcService`);
      return InternalFailure;
    }
    if (target !== "no protobuf") return target;
    return this.root.vm.env.client.hasCluster(text) ? { cluster: text, authority: undefined, metadata: [] } : ParseFailure;
  }

  /** Returns [status, token]. */
  call(service: Uint8Array, serviceText: string, start: Start, message: Uint8Array): [number, number?] {
    const target = this.target(service, serviceText);
    if (typeof target === "number") return [target];
    this.lastCall += 4;
    const token = this.lastCall;
    let response: Uint8Array | undefined;
    const exchange = new Exchange({
      onInitialMetadata: () => {},
      onTrailingMetadata: () => {},
      onMessage: (bytes) => {
        response = bytes;
      },
      onClose: (status, text) => {
        if (status !== Ok) this.onClose(token, status, text);
        else if (!response) this.onClose(token, INTERNAL, "");
        else this.onMessage(token, response, () => this.calls.delete(token));
      },
    });
    this.calls.set(token, exchange);
    if (!exchange.start(this.root, target, start)) {
      this.calls.delete(token);
      return [InternalFailure];
    }
    exchange.send(message, true);
    return [Ok, token];
  }

  stream(service: Uint8Array, serviceText: string, start: Start): [number, number?] {
    const target = this.target(service, serviceText);
    if (typeof target === "number") return [target];
    this.lastStream += 4;
    const token = this.lastStream;
    const exchange = new Exchange({
      onInitialMetadata: (metadata) => this.onInitialMetadata(token, metadata),
      onTrailingMetadata: (metadata) => this.onTrailingMetadata(token, metadata),
      onMessage: (bytes) => this.onMessage(token, bytes, () => {}),
      onClose: (status, text) => this.onClose(token, status, text),
    });
    this.streams.set(token, { exchange, localClosed: false, remoteClosed: false });
    if (!exchange.start(this.root, target, start)) {
      this.streams.delete(token);
      return [InternalFailure];
    }
    return [Ok, token];
  }

  send(token: number, message: Uint8Array, endStream: boolean): number {
    if ((token & 3) !== 2) return BadArgument;
    const stream = this.streams.get(token);
    if (!stream) return NotFound;
    if (stream.localClosed) return Ok;
    stream.exchange.send(message, endStream);
    if (endStream) stream.localClosed = true;
    return Ok;
  }

  /** On a stream: no more messages from here. On a call: cancels it. */
  halfClose(token: number): number {
    if ((token & 3) === 1) return this.cancel(token);
    if ((token & 3) !== 2) return BadArgument;
    const stream = this.streams.get(token);
    if (!stream) return NotFound;
    if (!stream.localClosed) stream.exchange.halfClose();
    stream.localClosed = true;
    if (stream.remoteClosed) this.streams.delete(token);
    return Ok;
  }

  cancel(token: number): number {
    const kind = token & 3;
    if (kind !== 1 && kind !== 2) return BadArgument;
    const exchange = kind === 1 ? this.calls.get(token) : this.streams.get(token)?.exchange;
    if (!exchange) return NotFound;
    exchange.reset();
    this.calls.delete(token);
    this.streams.delete(token);
    return Ok;
  }

  close(): void {
    for (const exchange of this.calls.values()) exchange.reset();
    for (const { exchange } of this.streams.values()) exchange.reset();
    this.calls.clear();
    this.streams.clear();
  }

  // What the guest hears. envoy 1.40: metadata at once, even inside the host call that started the stream; the rest after the callback that runs.

  private onInitialMetadata(token: number, metadata: HeaderMap): void {
    const { root } = this;
    if (!root.vm.callbacks.proxy_on_grpc_receive_initial_metadata) return;
    root.grpcInitialMetadata = metadata;
    root.vm.notify("proxy_on_grpc_receive_initial_metadata", root, root.id, token, metadata.length);
    root.grpcInitialMetadata = undefined;
  }

  private onTrailingMetadata(token: number, metadata: HeaderMap): void {
    const { root } = this;
    if (!root.vm.callbacks.proxy_on_grpc_receive_trailing_metadata) return;
    root.grpcTrailingMetadata = metadata;
    root.vm.notify("proxy_on_grpc_receive_trailing_metadata", root, root.id, token, metadata.length);
    root.grpcTrailingMetadata = undefined;
  }

  private onMessage(token: number, message: Uint8Array, cleanUp: () => void): void {
    const { root } = this;
    const tell = () => {
      root.grpcMessage = new Bytes(message);
      root.vm.notify("proxy_on_grpc_receive", root, root.id, token, message.length);
      root.grpcMessage = undefined;
      cleanUp();
    };
    if (root.vm.current) root.vm.defer(tell);
    else tell();
  }

  private onClose(token: number, status: number, message: string): void {
    const { root } = this;
    if (root.vm.current) {
      root.vm.defer(() => this.onClose(token, status, message));
      return;
    }
    root.statusCode = status;
    root.statusMessage = message;
    const stream = this.streams.get(token);
    if (stream) stream.remoteClosed = true;
    root.vm.notify("proxy_on_grpc_close", root, root.id, token, status);
    root.statusMessage = "";
    if ((token & 3) === 1) this.calls.delete(token);
    else if (stream?.localClosed) this.streams.delete(token);
  }
}
