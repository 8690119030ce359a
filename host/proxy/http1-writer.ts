// Writes HTTP/1 messages byte for byte as envoy 1.40 does: lower-case names in map order, framing headers last.
import type net from "node:net";
import type { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";

/** Small pieces of one turn leave in one write. */
const GATHER = 8 * 1024;

export class MessageWriter {
  private text = "";
  private scheduled = false;
  private chunked = false;

  constructor(
    private readonly socket: net.Socket,
    private readonly enableTrailers: boolean,
  ) {}

  /** Begins a message. `framing`: what to write where the map has no content-length. */
  head(startLine: string, headers: HeaderMap, framing: "chunked" | "zero" | "none"): void {
    const { names, values } = headers.lists();
    let text = startLine;
    let hasLength = false;
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      if (name.charCodeAt(0) === 58) continue;
      if (name === "content-length") hasLength = true;
      text += `${name}: ${values[i]}\r\n`;
    }
    this.chunked = !hasLength && framing === "chunked";
    if (this.chunked) text += "transfer-encoding: chunked\r\n";
    else if (!hasLength && framing === "zero") text += "content-length: 0\r\n";
    this.text += `${text}\r\n`;
    this.schedule();
  }

  data(data: Bytes, endStream: boolean): void {
    const size = data.length;
    if (size > 0) {
      if (this.chunked) this.text += `${size.toString(16)}\r\n`;
      if (size <= GATHER) this.text += Buffer.from(data.all()).toString("latin1");
      else {
        this.flush();
        for (const piece of data.parts()) this.socket.write(piece);
      }
      if (this.chunked) this.text += "\r\n";
      data.clear();
    }
    if (endStream && this.chunked) this.text += "0\r\n\r\n";
    if (endStream || this.text.length > GATHER) this.flush();
    else this.schedule();
  }

  trailers(trailers: HeaderMap): void {
    if (this.chunked) {
      this.text += "0\r\n";
      if (this.enableTrailers) for (const [name, value] of trailers.entries()) this.text += `${name}: ${value}\r\n`;
      this.text += "\r\n";
    }
    this.flush();
  }

  /** Bytes as they are. */
  raw(text: string): void {
    this.text += text;
    this.flush();
  }

  private schedule(): void {
    if (this.scheduled || this.text === "") return;
    this.scheduled = true;
    process.nextTick(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  flush(): void {
    if (this.text === "") return;
    const { text } = this;
    this.text = "";
    if (!this.socket.destroyed && this.socket.writable) this.socket.write(text, "latin1");
  }
}
