// Writes HTTP/1 messages byte for byte as envoy 1.40 does: lower-case names in map order, framing headers last.
import { STATUS_CODES } from "node:http";
import type net from "node:net";
import type { Bytes } from "../vm/bytes.js";
import type { HeaderMap } from "../vm/headermap.js";

/** Envoy's names of statuses: fewer than Node's. */
const UNNAMED = new Set([102, 103, 418, 451, 509]);

/** envoy 1.40: what it has no name for is "Unknown". */
export function reasonPhrase(status: number): string {
  if (status === 599) return "Last Unassigned Server Error Code";
  return UNNAMED.has(status) ? "Unknown" : (STATUS_CODES[status] ?? "Unknown");
}

/** Up to this size a body's piece is joined with what surrounds it. */
const JOIN = 16 * 1024;

/** Of what is written and not taken, more than this holds back where it comes from. */
const HIGH_WATERMARK = 1 << 20;

export class MessageWriter {
  private text = "";
  private pieces: (string | Uint8Array)[] = [];
  private scheduled = false;
  private chunked = false;
  private above = false;

  constructor(
    private readonly socket: net.Socket,
    private readonly enableTrailers: boolean,
    /** Told when more waits to be sent than the peer takes, and when that is over. */
    private readonly onWatermark: (above: boolean) => void,
  ) {
    socket.on("drain", () => this.setAbove(false));
  }

  private setAbove(above: boolean): void {
    if (this.above === above) return;
    this.above = above;
    this.onWatermark(above);
  }

  /** What waits now belongs to a message that is over: the next one begins without it. */
  forget(): void {
    this.setAbove(false);
  }

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
      if (size <= JOIN) this.text += Buffer.from(data.all()).toString("latin1");
      else {
        this.pieces.push(this.text, ...data.parts());
        this.text = "";
      }
      if (this.chunked) this.text += "\r\n";
      data.clear();
    }
    if (endStream && this.chunked) this.text += "0\r\n\r\n";
    this.schedule();
  }

  trailers(trailers: HeaderMap): void {
    if (this.chunked) {
      this.text += "0\r\n";
      if (this.enableTrailers) for (const [name, value] of trailers.entries()) this.text += `${name}: ${value}\r\n`;
      this.text += "\r\n";
    }
    this.schedule();
  }

  /** Everything of one turn of the event loop leaves together. */
  private schedule(): void {
    if (this.scheduled || (this.text === "" && this.pieces.length === 0)) return;
    this.scheduled = true;
    process.nextTick(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  flush(): void {
    const { socket, text, pieces } = this;
    this.text = "";
    if (socket.destroyed || !socket.writable) return;
    if (pieces.length > 0) {
      this.pieces = [];
      socket.cork();
      for (const piece of pieces) if (piece.length > 0) socket.write(piece as string, "latin1");
      if (text !== "") socket.write(text, "latin1");
      socket.uncork();
    } else if (text !== "") socket.write(text, "latin1");
    if (socket.writableLength > HIGH_WATERMARK) this.setAbove(true);
  }
}
