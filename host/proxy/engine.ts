// The embedded engine: a whole Envoy bootstrap served in this process, as `envoy -c` would, with the same log lines and the same end.
import { appendFileSync, type FSWatcher, watch } from "node:fs";
import type { Server as HttpServer } from "node:http";
import net from "node:net";
import path from "node:path";
import type { Environment, Level, Thread } from "../vm/environment.js";
import { MetricStore } from "../vm/metrics.js";
import type { PluginConfig } from "../vm/plugin.js";
import { type Plugin, Plugins } from "../vm/plugins.js";
import type { RootContext } from "../vm/root-context.js";
import { SharedData, SharedQueues } from "../vm/shared.js";
import type { Clock, StreamInfo } from "../vm/stream-info.js";
import { encodeNode } from "../vm/struct.js";
import type { Vm } from "../vm/vm.js";
import { acceptHttp } from "./accept.js";
import { createAdmin } from "./admin.js";
import { createAsyncClient } from "./async-client.js";
import { createBalancer } from "./balancer.js";
import { toUnicode } from "./byte-string.js";
import { ClusterManager, createCluster } from "./clusters.js";
import type { HostPool, Protocol } from "./codec.js";
import { type BootstrapConfig, readBootstrap } from "./config/bootstrap.js";
import type { ClusterConfig } from "./config/cluster.js";
import { ConfigError } from "./config/fields.js";
import type { AccessLogConfig, HcmConfig, HttpFilterConfig, ListenerConfig } from "./config/listener.js";
import { ConnectionManager, type HttpFilter, type HttpStatistics, type ManagerOptions } from "./connection-manager.js";
import { readExtension } from "./ecds.js";
import { EnvoyCrash, type FilterFactory } from "./filter-manager.js";
import { headerToMetadata } from "./header-to-metadata.js";
import { createHttp1Pool } from "./http1-client.js";
import { createHttp2Pool } from "./http2.js";
import { mapLocalReply } from "./local-reply.js";
import { realClock, realScheduler, type Scheduler } from "./scheduler.js";
import { Statistics } from "./statistics.js";
import { TcpConnection } from "./tcp-proxy.js";

export interface EngineLogLine {
  thread: "main" | "worker";
  logger: string;
  level: Level;
  text: string;
}

export interface EngineOptions {
  /** The bootstrap as an object. */
  bootstrap: unknown;
  /** What it was read from, for messages. */
  file?: string;
  concurrency?: number;
  /** Number of the least level of the wasm logger; 2 is info. */
  wasmLogLevel?: number;
  onLog?(line: EngineLogLine): void;
  /** Access logs that go to stdout. */
  onOutput?(text: string): void;
  scheduler?: Scheduler;
  clock?: Clock;
  /** In place of connections to hosts, by cluster. */
  pools?: Record<string, HostPool>;
  /** false: serves no ports, only `connect()`. */
  listen?: boolean;
  /** Told what a guest did that ends a real Envoy; the engine ends after it. */
  onCrash?(signal: string, call: string): void;
  /** A stream is over. */
  onStreamEnd?(info: StreamInfo): void;
}

export interface Engine {
  /** Rejects with ConfigError or PluginRefused where Envoy would not start. */
  readonly ready: Promise<void>;
  /** Exit code, or the signal that a real Envoy would have died of. */
  readonly ended: Promise<number | string>;
  /** The listeners' addresses, once it is ready. */
  listeners(): { name: string; host: string; port: number }[];
  admin(): { host: string; port: number } | undefined;
  /** Takes a socket as the first HTTP listener takes its clients'. */
  accept(socket: net.Socket): void;
  /** A client connection inside this process, to the first HTTP listener, behind its codec. */
  connect(protocol: Protocol): ConnectionManager;
  readonly metrics: MetricStore;
  /** VMs that serve streams. */
  vms(): Vm[];
  /** As SIGTERM: streams and plugins hear of the end. */
  terminate(): void;
  /** As SIGKILL. */
  kill(): void;
}

export function startEngine(options: EngineOptions): Engine {
  const engine = new Running(options);
  return engine;
}

/** envoy 1.40 says so where no overload manager limits connections. */
const NO_LIMIT =
  "There is no configured limit to the number of allowed active downstream connections. Configure a limit in `envoy.resource_monitors.global_downstream_max_connections` resource monitor.";

/** A plugin of the configuration, which ECDS may replace. */
interface Slot {
  plugin: Plugin | undefined;
}

class Running implements Engine {
  readonly ready: Promise<void>;
  readonly ended: Promise<number | string>;
  private end!: (how: number | string) => void;
  private readonly main: Thread = { name: "main", index: 0 };
  private readonly workers: Thread[];
  private readonly env: Environment;
  private readonly plugins: Plugins;
  private readonly clusters = new ClusterManager();
  readonly metrics = new MetricStore();
  private inProcess: (() => ConnectionManager) | undefined;
  private readonly statistics: Statistics;
  private readonly scheduler: Scheduler;
  private readonly clock: Clock;
  private readonly slots: Slot[] = [];
  private readonly servers: { name: string; server: net.Server }[] = [];
  private acceptFirst: ((socket: net.Socket) => void) | undefined;
  private readonly managers = new Set<ConnectionManager>();
  private readonly tcp = new Set<TcpConnection>();
  private readonly sockets = new Set<net.Socket>();
  private readonly watchers: FSWatcher[] = [];
  private readonly timers = new Set<() => void>();
  private adminServer: HttpServer | undefined;
  private wasmLogLevel: number;
  private connections = 0;
  private turn = 0;
  private over = false;
  private ending = false;

  constructor(private readonly options: EngineOptions) {
    this.scheduler = options.scheduler ?? realScheduler;
    this.clock = options.clock ?? realClock;
    this.wasmLogLevel = options.wasmLogLevel ?? 2;
    this.workers = Array.from({ length: options.concurrency ?? 1 }, (_, i): Thread => ({ name: "worker", index: i + 1 }));
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
    this.env = this.environment();
    this.plugins = new Plugins(this.env, this.main, this.workers);
    this.statistics = new Statistics(this.metrics);
    this.ready = this.start();
    this.ready.catch(() => {});
  }

  private environment(): Environment {
    const engine = this;
    return {
      clock: this.clock,
      setTimer(callback, ms) {
        const stop = engine.scheduler.setTimeout(() => {
          engine.timers.delete(stop);
          if (!engine.over) engine.guarded(callback);
        }, ms);
        engine.timers.add(stop);
        return () => {
          engine.timers.delete(stop);
          stop();
        };
      },
      post: (callback) => {
        setImmediate(() => {
          if (!engine.over) engine.guarded(callback);
        });
      },
      get wasmLogLevel() {
        return engine.wasmLogLevel;
      },
      log(thread, level, text) {
        engine.log(thread.name, "wasm", level, text);
      },
      sharedData: new SharedData(),
      queues: new SharedQueues(),
      metrics: this.metrics,
      client: createAsyncClient(this.clusters, this.scheduler, this.clock),
      node: { id: "", cluster: "", metadata: {}, encoded: new Uint8Array(0) },
      crash: (signal, call) => engine.crash(signal, call),
    };
  }

  private log(thread: "main" | "worker", logger: string, level: Level, text: string): void {
    if (this.over && logger === "wasm") return;
    this.options.onLog?.({ thread, logger, level, text });
  }

  /** Work of the event loop's: what takes an Envoy down ends the engine, not the process. */
  private guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof EnvoyCrash)) throw error;
      this.crash(error.signal, error.call);
    }
  }

  private crash(signal: "SIGSEGV" | "SIGABRT" | "hang", call: string): void {
    if (this.over) return;
    if (signal === "SIGABRT") this.log("worker", "assert", "critical", "panic: unset oneof");
    if (signal !== "hang") this.log("worker", "backtrace", "critical", `Caught ${signal === "SIGABRT" ? "Aborted" : "Segmentation fault"}`);
    this.options.onCrash?.(signal, call);
    this.stop(signal === "hang" ? "SIGKILL" : signal);
  }

  private async start(): Promise<void> {
    let config: BootstrapConfig;
    try {
      config = readBootstrap(this.options.bootstrap);
      this.setUp(config);
    } catch (error) {
      if (!this.over) this.refuse(error);
      throw error;
    }
    // Not before the caller has the engine.
    await null;
    try {
      await this.listen(config);
    } catch (error) {
      this.refuse(error);
      throw error;
    }
  }

  private refuse(error: unknown): void {
    const said = error instanceof ConfigError ? (error.envoyReason ?? error.message) : error instanceof Error ? error.message : String(error);
    // Names may hold anything.
    const reason = said.replace(/[\r\n]+/g, " ");
    this.log("main", "main", "critical", `error \`${reason}\` initializing config '${this.options.file ?? "bootstrap"}'\n${reason}`);
    this.stop(1);
  }

  private setUp(config: BootstrapConfig): void {
    this.log("main", "main", "warning", NO_LIMIT);
    const { node } = config;
    Object.assign(this.env.node, { ...node, encoded: encodeNode(node) });
    for (const cluster of config.clusters) this.addCluster(cluster);
    for (const listener of config.listeners) this.addListener(listener);
    for (const slot of this.slots) if (slot.plugin) this.plugins.startWorkers(slot.plugin);
    this.statistics.watch("wasm.envoy.wasm.runtime.v8.active", "gauge", () => this.plugins.active);
    this.statistics.watch("wasm.envoy.wasm.runtime.v8.created", "counter", () => this.plugins.created);
    this.statistics.watch("wasm.wasm_vm_count", "gauge", () => this.plugins.active);
    // Modules are read from files here.
    for (const name of ["cache_hits", "cache_misses", "cache_negative_hits", "fetch_failures", "fetch_successes"])
      this.statistics.watch(`wasm.remote_load_${name}`, "counter", () => 0);
    this.statistics.watch("wasm.remote_load_cache_entries", "gauge", () => 0);
    const flush = () => {
      this.statistics.flush();
      if (!this.over) this.env.setTimer(flush, config.statsFlushMs);
    };
    this.env.setTimer(flush, config.statsFlushMs);
  }

  private load(config: PluginConfig): Slot {
    const slot: Slot = { plugin: this.plugins.load(config) };
    this.slots.push(slot);
    const { stats } = slot.plugin!;
    this.statistics.watch(`wasm.${config.name}.vm_reload`, "counter", () => 0);
    for (const name of ["success", "backoff", "failure"] as const) this.statistics.watch(`wasm.${config.name}.vm_reload_${name}`, "counter", () => stats[name]);
    return slot;
  }

  private addCluster(config: ClusterConfig): void {
    const filters = config.filters.map(({ plugin }) => this.load(plugin));
    const thread = this.workers[0]!;
    const pick = createBalancer(config.balancing, config.hosts);
    const hosts = config.hosts.map(({ host, port }) => ({ host, port, address: `${host}:${port}` }));
    const given = this.options.pools?.[config.name];
    const cluster = createCluster({
      name: config.name,
      hosts,
      pick,
      bufferLimit: config.bufferLimit,
      statistics: {
        requests: this.statistics.counter(`cluster.${config.name}.upstream_rq_total`),
        responses: this.statistics.responses(`cluster.${config.name}.upstream_rq`, "cluster"),
      },
      filters: () => filters.map((slot) => slot.plugin!.on(thread).newStream(true)).filter((factory) => factory !== undefined),
      makePool: ({ host, port }) =>
        given ??
        (config.http2 ? createHttp2Pool : createHttp1Pool)({
          host,
          port,
          connectTimeoutMs: config.connectTimeoutMs,
          enableTrailers: config.enableTrailers,
          tls: config.tls,
          settings: config.http2,
          scheduler: this.scheduler,
          newConnectionId: () => this.connections++,
        }),
    });
    this.clusters.add(cluster);
  }

  private addListener(config: ListenerConfig): void {
    const handlers = config.http ? this.http(config, config.http) : this.tcpListener(config);
    const take = (socket: net.Socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => {});
      const thread = this.workers[this.turn++ % this.workers.length]!;
      handlers(socket, thread);
    };
    if (config.http) this.acceptFirst ??= take;
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, take);
    this.servers.push({ name: config.name, server });
  }

  private http(listener: ListenerConfig, hcm: HcmConfig): (socket: net.Socket, thread: Thread) => void {
    // envoy 1.40: access loggers are made before the filters.
    const logs = this.accessLogs(hcm.accessLogs);
    const filters = hcm.filters.map((filter) => this.httpFilter(filter));
    const scope = `http.${hcm.statPrefix}.downstream`;
    const statistics: HttpStatistics = {
      connections: this.statistics.counter(`${scope}_cx_total`),
      activeConnections: this.statistics.counter(`${scope}_cx_active`, "gauge"),
      requests: this.statistics.counter(`${scope}_rq_total`),
      activeRequests: this.statistics.counter(`${scope}_rq_active`, "gauge"),
      responses: this.statistics.responses(`${scope}_rq`, "listener"),
    };
    const optionsOf = (thread: Thread): ManagerOptions => ({
      scheduler: this.scheduler,
      clusters: this.clusters,
      filters: filters.map((filter): HttpFilter => ({ name: filter.name, disabled: filter.disabled, factory: () => filter.factory(thread) })),
      matchRoute: hcm.routes,
      accessLog: logs.map((log) => (info: StreamInfo) => log(info, thread)),
      bufferLimit: listener.bufferLimit,
      http2Window: hcm.http2.streamWindow,
      streamIdleTimeoutMs: hcm.streamIdleTimeoutMs,
      requestTimeoutMs: hcm.requestTimeoutMs,
      serverName: hcm.serverName,
      generateRequestId: hcm.generateRequestId,
      upgrades: hcm.upgrades,
      statistics,
      rewriteLocalReply: (reply, info) => mapLocalReply(hcm, reply, info),
      listener: { direction: listener.direction, ...(listener.metadata ? { metadata: listener.metadata } : {}) },
      newConnectionId: () => this.connections++,
      clock: this.clock,
      onCrash: (crash: EnvoyCrash) => this.crash(crash.signal, crash.call),
      ...(this.options.onStreamEnd ? { onStreamEnd: this.options.onStreamEnd } : {}),
    });
    const options = new Map(this.workers.map((thread) => [thread, optionsOf(thread)]));
    this.inProcess ??= () => {
      const manager = new ConnectionManager(options.get(this.workers[0]!)!, "127.0.0.1:40000", `${listener.host}:${listener.port}`);
      this.managers.add(manager);
      return manager;
    };
    return (socket, thread) => {
      const manager = new ConnectionManager(options.get(thread)!, `${socket.remoteAddress}:${socket.remotePort}`, `${socket.localAddress}:${socket.localPort}`);
      this.managers.add(manager);
      socket.on("close", () => this.managers.delete(manager));
      acceptHttp(socket, hcm, manager);
    };
  }

  private httpFilter(config: HttpFilterConfig): { name: string; disabled: boolean; factory(thread: Thread): FilterFactory | undefined } {
    const { name, disabled } = config;
    if (config.kind === "header_to_metadata") return { name, disabled, factory: () => (callbacks) => headerToMetadata(config.rules, callbacks) };
    const slot = config.kind === "wasm" ? this.load(config.plugin) : this.extension(name, config.file);
    return {
      name,
      disabled,
      factory: (thread) => slot.plugin?.on(thread).newStream(),
    };
  }

  /** A filter whose configuration is in a file that may change (ECDS). */
  private extension(name: string, file: string): Slot {
    const slot: Slot = { plugin: undefined };
    this.slots.push(slot);
    let present = "";
    const read = (first: boolean) => {
      try {
        const found = readExtension(file, name);
        if (!found || found.key === present) return;
        present = found.key;
        const plugin = this.plugins.load(found.plugin);
        const old = slot.plugin;
        slot.plugin = plugin;
        if (!first) this.plugins.startWorkers(plugin);
        if (old) for (const thread of [this.main, ...this.workers]) this.plugins.retire(old, thread);
      } catch (error) {
        if (this.over) return;
        const reason = error instanceof ConfigError ? (error.envoyReason ?? error.message) : error instanceof Error ? error.message : error;
        this.log("main", "config", "warning", `Filesystem config update rejected: ${reason}`);
      }
    };
    read(true);
    const watcher = watch(path.dirname(file), (_event, changed) => {
      if (!this.over && changed === path.basename(file)) this.guarded(() => read(false));
    });
    this.watchers.push(watcher);
    return slot;
  }

  private accessLogs(configs: AccessLogConfig[]): ((info: StreamInfo, thread: Thread) => void)[] {
    return configs.map((config) => {
      const write = this.accessLog(config);
      const { wanted } = config;
      return wanted ? (info, thread) => wanted(info) && write(info, thread) : write;
    });
  }

  private accessLog(config: AccessLogConfig): (info: StreamInfo, thread: Thread) => void {
    if (config.kind === "wasm") {
      const slot = this.load(config.plugin);
      return (info, thread) => slot.plugin!.on(thread).root?.logStream(info);
    }
    const { to, format } = config;
    if (to === "stdout") return (info) => this.options.onOutput?.(toUnicode(format(info)));
    if (to === "stderr") return (info) => void process.stderr.write(toUnicode(format(info)));
    return (info) => appendFileSync(to.file, format(info), "latin1");
  }

  private tcpListener(config: ListenerConfig): (socket: net.Socket, thread: Thread) => void {
    const tcp = config.tcp!;
    const slots = tcp.plugins.map((plugin) => this.load(plugin));
    const logs = this.accessLogs(tcp.accessLogs);
    return (socket, thread) => {
      const filters = slots.map((slot) => (): RootContext | "close" | "leave out" => {
        const part = slot.plugin!.on(thread);
        return part.usable() ?? (part.plugin.failurePolicy === "FAIL_OPEN" ? "leave out" : "close");
      });
      const connection = new TcpConnection(socket, {
        clusters: this.clusters,
        cluster: tcp.cluster,
        filters,
        accessLog: logs.map((log) => (info: StreamInfo) => log(info, thread)),
        clock: this.clock,
        newConnectionId: () => this.connections++,
      });
      this.tcp.add(connection);
      socket.on("close", () => this.tcp.delete(connection));
      this.guarded(() => connection.start());
    };
  }

  accept(socket: net.Socket): void {
    if (!this.acceptFirst) throw new Error("there is no HTTP listener");
    this.acceptFirst(socket);
  }

  connect(protocol: Protocol): ConnectionManager {
    if (!this.inProcess) throw new Error("there is no HTTP listener");
    const manager = this.inProcess();
    manager.protocol = protocol;
    return manager;
  }

  vms(): Vm[] {
    return this.plugins.vmsOf(this.workers);
  }

  private async listen({ listeners, admin }: BootstrapConfig): Promise<void> {
    if (this.options.listen === false) return;
    for (const [i, { server }] of this.servers.entries()) {
      const { host, port, name } = listeners[i]!;
      await listening(server, host, port, name);
      if (this.over) return;
    }
    if (!admin) return;
    const server = createAdmin({
      statistics: this.statistics,
      listeners: () => this.servers.map(({ name, server: s }) => ({ name, address: s.address() as net.AddressInfo })),
      setWasmLogLevel: (level) => {
        this.wasmLogLevel = level;
      },
      wasmLogLevel: () => this.wasmLogLevel,
      quit: () => this.terminate(),
    });
    this.adminServer = server;
    server.on("connection", (socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    await listening(server, admin.host, admin.port, "admin");
  }

  listeners(): { name: string; host: string; port: number }[] {
    return this.servers.map(({ name, server }) => {
      const { address, port } = server.address() as net.AddressInfo;
      return { name, host: address, port };
    });
  }

  admin(): { host: string; port: number } | undefined {
    const address = this.adminServer?.address() as net.AddressInfo | null | undefined;
    return address ? { host: address.address, port: address.port } : undefined;
  }

  terminate(): void {
    if (this.over || this.ending) return;
    this.ending = true;
    this.guarded(() => {
      for (const manager of [...this.managers]) manager.shutDown();
      for (const connection of [...this.tcp]) connection.close();
      // envoy 1.40: the workers' plugins first, the last one first, then the main thread's.
      for (const thread of [...this.workers, this.main]) {
        for (const { plugin } of [...this.slots].reverse()) if (plugin) this.plugins.retire(plugin, thread);
      }
    });
    // What plugins sent at their end leaves first.
    setImmediate(() => this.stop(0));
  }

  kill(): void {
    this.stop("SIGKILL");
  }

  private stop(how: number | string): void {
    if (this.over) return;
    this.over = true;
    for (const watcher of this.watchers) watcher.close();
    for (const stopTimer of [...this.timers]) stopTimer();
    for (const { server } of this.servers) server.close();
    this.adminServer?.close();
    for (const socket of [...this.sockets]) socket.destroy();
    this.clusters.close();
    this.end(how);
  }
}

function listening(server: net.Server, host: string, port: number, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "Address already in use" : error.message;
      reject(new Error(`${name === "admin" ? "" : `error adding listener '${host}:${port}': `}cannot bind '${host}:${port}': ${reason}`));
    });
    server.listen(port, host, () => resolve());
  });
}
