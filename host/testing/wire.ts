// A connection inside this process: two ends with as much of net.Socket as the HTTP/1 codec uses.
import type net from "node:net";
import { Duplex } from "node:stream";

class End extends Duplex {
  peer!: End;

  constructor(
    readonly localAddress: string,
    readonly localPort: number,
    readonly remoteAddress: string,
    readonly remotePort: number,
  ) {
    super({ allowHalfOpen: true });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // Not inside the call that writes: it arrives, as on a wire, when that is over.
    process.nextTick(() => {
      if (!this.peer.destroyed) this.peer.push(chunk);
      done();
    });
  }

  override _final(done: () => void): void {
    if (!this.peer.destroyed && !this.peer.readableEnded) this.peer.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { peer } = this;
    process.nextTick(() => {
      if (!peer.destroyed && !peer.readableEnded && !this.writableFinished) peer.push(null);
    });
    done(error);
  }

  setNoDelay(): this {
    return this;
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }
}

/** The client's end and the server's. */
export function wire(): [client: net.Socket, server: net.Socket] {
  const client = new End("127.0.0.1", 40000, "127.0.0.1", 10000);
  const server = new End("127.0.0.1", 10000, "127.0.0.1", 40000);
  client.peer = server;
  server.peer = client;
  return [client, server] as unknown as [net.Socket, net.Socket];
}
