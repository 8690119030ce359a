// The filters of this folder in AssemblyScript, with @gcoredev/proxy-wasm-sdk-as. The plugin's configuration says which one.
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";

import {
  BaseContext,
  BufferTypeValues,
  Context,
  Counter,
  dequeue_shared_queue,
  enqueue_shared_queue,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  FilterStatusValues,
  Gauge,
  get_buffer_bytes,
  get_property,
  get_shared_data,
  Histogram,
  LogLevelValues,
  log,
  makeHeaderPair,
  RootContext,
  register_shared_queue,
  registerRootContext,
  send_local_response,
  set_buffer_bytes,
  set_property,
  set_shared_data,
  stream_context,
  WasmResultValues,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

const NAMES = ["headers", "body", "callout", "shared", "queue", "metrics", "properties", "tcp"];

class Root extends RootContext {
  which: string = "";
  queue: u32 = 0;
  requests: Counter | null = null;
  open: Gauge | null = null;
  sizes: Histogram | null = null;

  onConfigure(size: u32): bool {
    super.onConfigure(size);
    this.which = this.getConfiguration();
    if (!NAMES.includes(this.which)) {
      log(LogLevelValues.error, `no filter is called ${this.which}`);
      return false;
    }
    if (this.which == "queue") this.queue = register_shared_queue("lines").token;
    if (this.which == "metrics") {
      this.requests = new Counter("tool_requests");
      this.open = new Gauge("tool_open");
      this.sizes = new Histogram("tool_sizes");
    }
    return true;
  }

  onQueueReady(token: u32): void {
    for (;;) {
      const line = dequeue_shared_queue(token);
      if (line.result != WasmResultValues.Ok) return;
      log(LogLevelValues.info, `took ${String.UTF8.decode(line.data!)}`);
    }
  }

  createContext(id: u32): Context {
    return new Stream(id, this);
  }
}

class Stream extends Context {
  received: usize = 0;

  constructor(
    id: u32,
    private readonly root: Root,
  ) {
    super(id, root);
  }

  onRequestHeaders(count: u32, _end: bool): FilterHeadersStatusValues {
    const which = this.root.which;
    const headers = stream_context.headers.request;
    if (which == "headers") {
      headers.replace("x-path", headers.get(":path"));
      headers.remove("x-internal");
      headers.add("x-list", "b");
      log(LogLevelValues.info, `${count} headers`);
    } else if (which == "body") {
      headers.remove("content-length");
    } else if (which == "callout") {
      const call = [makeHeaderPair(":method", "GET"), makeHeaderPair(":path", "/who"), makeHeaderPair(":authority", "auth")];
      const result = this.root.httpCall("alt", call, new ArrayBuffer(0), [], 1000, this, (origin: BaseContext, _h: u32, size: usize, _t: u32) => {
        const context = changetype<Context>(origin);
        context.setEffectiveContext();
        const status = stream_context.headers.http_callback.get(":status");
        if (status == "200") {
          const user = get_buffer_bytes(BufferTypeValues.HttpCallResponseBody, 0, size as u32);
          stream_context.headers.request.replace("x-user", String.UTF8.decode(user));
          context.continueRequest();
        } else {
          send_local_response(403, "", String.UTF8.encode("denied"), [makeHeaderPair("x-why", "callout")], -1);
        }
      });
      if (result == WasmResultValues.Ok) return FilterHeadersStatusValues.StopAllIterationAndWatermark;
      log(LogLevelValues.error, `no call: ${result}`);
    } else if (which == "shared") {
      headers.replace("x-count", this.count().toString());
    } else if (which == "queue") {
      enqueue_shared_queue(this.root.queue, String.UTF8.encode(headers.get(":path")));
    } else if (which == "metrics") {
      const requests = this.root.requests!;
      const open = this.root.open!;
      const sizes = this.root.sizes!;
      requests.increment(2);
      open.record(open.metric_id, 7);
      sizes.record(sizes.metric_id, 100);
    } else if (which == "properties") {
      log(LogLevelValues.info, `path ${String.UTF8.decode(get_property("request\0path"))}`);
      log(LogLevelValues.info, `root ${String.UTF8.decode(get_property("plugin_root_id"))}`);
      set_property("mark", String.UTF8.encode("set"));
      log(LogLevelValues.info, `mark ${String.UTF8.decode(get_property("mark"))}`);
    }
    return FilterHeadersStatusValues.Continue;
  }

  private count(): u64 {
    let count: u64 = 0;
    let mismatch = true;
    while (mismatch) {
      const present = get_shared_data("count");
      const found = present.result == WasmResultValues.Ok;
      count = (found ? u64.parse(String.UTF8.decode(present.value!)) : 0) + 1;
      mismatch = set_shared_data("count", String.UTF8.encode(count.toString()), found ? present.cas : 0) == WasmResultValues.CasMismatch;
    }
    return count;
  }

  onRequestBody(size: usize, end: bool): FilterDataStatusValues {
    if (this.root.which != "body") return FilterDataStatusValues.Continue;
    if (!end) return FilterDataStatusValues.StopIterationAndBuffer;
    const text = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpRequestBody, 0, size as u32));
    set_buffer_bytes(BufferTypeValues.HttpRequestBody, 0, size as u32, String.UTF8.encode(`[${text.toUpperCase()}]`));
    return FilterDataStatusValues.Continue;
  }

  onResponseHeaders(_count: u32, _end: bool): FilterHeadersStatusValues {
    const headers = stream_context.headers.response;
    if (this.root.which == "headers") headers.add("x-status", headers.get(":status"));
    return FilterHeadersStatusValues.Continue;
  }

  onNewConnection(): FilterStatusValues {
    log(LogLevelValues.info, "new connection");
    return FilterStatusValues.Continue;
  }

  onDownstreamData(size: usize, end: bool): FilterStatusValues {
    if (size > 0) {
      const text = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.NetworkDownstreamData, 0, size as u32));
      set_buffer_bytes(BufferTypeValues.NetworkDownstreamData, 0, size as u32, String.UTF8.encode(text.toUpperCase()));
    }
    log(LogLevelValues.info, `downstream ${size} ${end}`);
    return FilterStatusValues.Continue;
  }

  onUpstreamData(size: usize, _end: bool): FilterStatusValues {
    this.received += size;
    return FilterStatusValues.Continue;
  }

  onLog(): void {
    if (this.root.which == "tcp") log(LogLevelValues.info, `upstream sent ${this.received}`);
    if (this.root.which == "properties") log(LogLevelValues.info, `code details ${String.UTF8.decode(get_property("response\0code_details"))}`);
  }
}

registerRootContext((id: u32) => new Root(id), "");
