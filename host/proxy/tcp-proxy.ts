// TCP connections: the network filters of a listener, then a connection to a host of the cluster (envoy.filters.network.tcp_proxy).
import net from "node:net";
import { Bytes } from "../vm/bytes.js";
import type { RootContext } from "../vm/root-context.js";
import { type ConnectionInfo, StreamInfo } from "../vm/stream-info.js";
import { CloseType, type ConnectionCallbacks, TcpContext } from "../vm/tcp-context.js";
import type { ClusterManager } from "./clusters.js";

export interface TcpOptions {
  clusters: ClusterManager;
  cluster: string;
  /** The plugins of the network filters, first one first: a root to make a context on, or what its failure policy says. */
  filters: (() => RootContext | "close" | "leave out")[];
  accessLog: ((info: StreamInfo) => void)[];
  clock: StreamInfo["clock"];
  newConnectionId(): number;
}

const BUFFER = 1 << 20;

export class TcpConnection {
  private readonly info: StreamInfo;
  private readonly contexts: TcpContext[] = [];
  private upstream: net.Socket | undefined;
  /** What came from the client and no filter has passed on. */
  private readonly incoming = new Bytes();
  private incomingEnded = false;
  private readonly outgoing = new Bytes();
  /** How far down the filters reading has come to a stop: the index of the filter that holds. */
  private stoppedAt: number | undefined;
  private over = false;
  private clientEnded = false;
  private closedBy: number = CloseType.Remote;

  constructor(
    private readonly socket: net.Socket,
    private readonly options: TcpOptions,
  ) {
    const connection: ConnectionInfo = {
      id: options.newConnectionId(),
      remoteAddress: `${socket.remoteAddress}:${socket.remotePort}`,
      localAddress: `${socket.localAddress}:${socket.localPort}`,
    };
    this.info = new StreamInfo(options.clock, connection);
  }

  start(): void {
    const { socket, options } = this;
    socket.on("error", () => {});
    const callbacks: ConnectionCallbacks = { info: this.info, continueReading: () => this.continueReading(), close: () => this.close() };
    for (const filter of options.filters) {
      const root = filter();
      if (root === "close") {
        this.over = true;
        socket.resetAndDestroy();
        for (const write of options.accessLog) write(this.info);
        return;
      }
      if (root !== "leave out") this.contexts.push(new TcpContext(root, callbacks));
    }
    const onRead = together(() => {
      // envoy 1.40: what is held is counted again with each read.
      this.info.bytesReceived += this.incoming.length;
      if (this.stoppedAt !== -1) this.read(0);
    });
    socket.on("data", (data: Buffer) => {
      this.incoming.append(data);
      onRead();
      this.pace();
    });
    socket.on("drain", () => this.pace());
    socket.on("end", () => {
      this.clientEnded = true;
      this.incomingEnded = true;
      onRead();
    });
    // What was read before the end comes first.
    socket.on("close", () => setImmediate(() => setImmediate(() => setImmediate(() => this.end()))));
    this.begin(0);
  }

  private begun = 0;

  /** Tells the filters of the connection, as far as one of them holds it. */
  private begin(first: number): void {
    for (let i = first; i < this.contexts.length; i++) {
      if (this.over) return;
      this.begun = i + 1;
      this.stoppedAt = -1;
      const goes = this.contexts[i]!.onNewConnection();
      // It may have gone on by itself already.
      if (this.stoppedAt === undefined || this.begun > i + 1) return;
      if (!goes) {
        // envoy 1.40: nothing is read for a filter that holds the new connection.
        this.socket.pause();
        return;
      }
    }
    if (this.over) return;
    this.stoppedAt = undefined;
    this.socket.resume();
    this.connect();
  }

  private connect(): void {
    const cluster = this.options.clusters.get(this.options.cluster);
    const host = cluster?.pick({ headers: undefined, info: this.info, metadataMatch: undefined, hash: undefined });
    this.info.upstream.attempts++;
    this.info.upstreamCluster = this.options.cluster;
    if (!host) {
      this.info.flags.add(cluster ? "UH" : "NC");
      this.close();
      return;
    }
    this.info.upstream.host = host.address;
    this.info.upstream.picked = true;
    this.info.upstream.endpoints = cluster!.hosts.length;
    const upstream = net.connect({ host: host.host, port: host.port, allowHalfOpen: true });
    this.upstream = upstream;
    let connected = false;
    upstream.on("error", () => {
      if (connected) this.reset();
      else {
        this.info.flags.add("UF");
        this.close();
      }
    });
    upstream.on("connect", () => {
      connected = true;
      this.info.upstream.remoteAddress = `${upstream.remoteAddress}:${upstream.remotePort}`;
      this.info.upstream.localAddress = `${upstream.localAddress}:${upstream.localPort}`;
    });
    let ended = false;
    const onWrite = together(() => this.write(ended));
    upstream.on("data", (data: Buffer) => {
      this.outgoing.append(data);
      onWrite();
      this.pace();
    });
    upstream.on("drain", () => this.pace());
    upstream.on("end", () => {
      ended = true;
      onWrite();
    });
    upstream.on("close", () => setImmediate(() => setImmediate(() => this.close())));
  }

  /** Takes what has come through the filters from `first` on, and sends it to the host. */
  private read(first: number): void {
    if (this.over) return;
    for (let i = first; i < this.contexts.length; i++) {
      if (this.over) return;
      this.stoppedAt = i;
      const goes = this.contexts[i]!.onDownstreamData(this.incoming, this.incomingEnded);
      // It has gone on by itself.
      if (this.stoppedAt !== i) return;
      if (!goes) return;
    }
    this.stoppedAt = undefined;
    this.forward();
  }

  private forward(): void {
    const { upstream } = this;
    if (!upstream || this.over) return;
    for (const piece of this.incoming.parts()) upstream.write(piece);
    this.incoming.clear();
    this.pace();
    if (this.incomingEnded) upstream.end();
  }

  /** Neither side is read while what it sends is held here, or the other side does not take it (envoy 1.40: per_connection_buffer_limit_bytes). */
  private pace(): void {
    const { socket, upstream } = this;
    if (this.over) return;
    const full = (held: Bytes, to: net.Socket | undefined) => held.length > BUFFER || (to !== undefined && to.writableLength > BUFFER);
    // A filter that holds the new connection has stopped it already.
    if (this.stoppedAt !== -1) socket[full(this.incoming, upstream) ? "pause" : "resume"]();
    upstream?.[full(this.outgoing, socket) ? "pause" : "resume"]();
  }

  private continueReading(): void {
    const { stoppedAt } = this;
    if (this.over || stoppedAt === undefined) return;
    this.stoppedAt = undefined;
    if (stoppedAt === -1) {
      this.begin(this.begun);
      return;
    }
    this.read(stoppedAt + 1);
  }

  private write(endStream: boolean): void {
    if (this.over) return;
    for (let i = this.contexts.length - 1; i >= 0; i--) {
      if (!this.contexts[i]!.onUpstreamData(this.outgoing, endStream)) return;
      if (this.over) return;
    }
    this.info.bytesSent += this.outgoing.length;
    for (const piece of this.outgoing.parts()) this.socket.write(piece);
    this.outgoing.clear();
    this.pace();
    if (endStream) {
      if (this.clientEnded) this.closedBy = CloseType.Local;
      this.socket.end();
    }
  }

  /** envoy 1.40: a connection that the host resets is reset towards the client. */
  private reset(): void {
    if (this.over) return;
    this.info.flags.add("UR");
    this.closedBy = CloseType.Local;
    this.socket.resetAndDestroy();
    this.end();
  }

  close(): void {
    if (this.over) return;
    this.closedBy = CloseType.Local;
    this.socket.destroySoon();
    this.end();
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    this.upstream?.destroy();
    this.info.endMonotonic = this.info.clock.monotonic();
    for (const context of this.contexts) context.onClose(this.closedBy);
    for (const write of this.options.accessLog) write(this.info);
  }
}

/** envoy 1.40: what one turn of the event loop brings, and the end behind it, is one call. */
function together(work: () => void): () => void {
  let scheduled = false;
  return () => {
    if (scheduled) return;
    scheduled = true;
    // The end of what was read is only seen when it is read on: a turn later.
    setImmediate(() =>
      setImmediate(() => {
        scheduled = false;
        work();
      }),
    );
  };
}
