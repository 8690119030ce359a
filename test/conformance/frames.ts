// Frames of HTTP/2 as text, without what depends on the compressor and the windows.

const TYPES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"];
const SHOWN = 300;

/** Bytes that one end sent, behind the preface; what is HTTP/1 stays as it is. */
export function frames(text: string): string {
  if (text.startsWith("HTTP/1")) return text;
  const bytes = Buffer.from(text, "latin1");
  const out: string[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    const type = TYPES[bytes[at + 3]!] ?? String(bytes[at + 3]);
    const flags = bytes[at + 4]!;
    const stream = bytes.readUInt32BE(at + 5);
    const payload = bytes.subarray(at + 9, at + 9 + length);
    at += 9 + length;
    if (type === "SETTINGS" || type === "WINDOW_UPDATE") continue;
    const end = (type === "DATA" || type === "HEADERS") && flags & 1 ? " END" : "";
    const shown = payload.toString("latin1").slice(0, SHOWN);
    if (type === "DATA") {
      if (!end && length === 0) continue;
      const last = out.at(-1);
      // How a body is cut into frames is nobody's business.
      if (last?.startsWith(`DATA ${stream} `) && !last.endsWith(" END")) out[out.length - 1] = `${last}${shown}${end}`;
      else out.push(`DATA ${stream} ${shown}${end}`);
    } else if (type === "RST_STREAM") out.push(`RST_STREAM ${stream} ${payload.readUInt32BE(0)}`);
    else if (type === "GOAWAY") out.push(`GOAWAY last=${payload.readUInt32BE(0)} code=${payload.readUInt32BE(4)}`);
    else if (type === "PING") out.push(`PING${flags & 1 ? " ACK" : ""}`);
    else out.push(`${type} ${stream}${end}`);
  }
  return out.join("; ");
}

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** What an upstream got, where that was HTTP/2: without the questions whether it lives, and the words at parting. */
export function upstreamFrames(text: string): string {
  if (!text.startsWith(PREFACE)) return text;
  return frames(text.slice(PREFACE.length))
    .split("; ")
    .filter((line) => line !== "PING" && line !== "GOAWAY last=0 code=0")
    .join("; ");
}
