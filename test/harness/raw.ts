// What really goes over the wire: HTTP/1.1 by hand over a socket.
import net from "node:net";

/** Sends bytes and returns everything that comes back until the connection is closed. */
export function exchange(port: number, text: string | string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1");
    const chunks: Buffer[] = [];
    socket.setNoDelay(true);
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("close", () => resolve(Buffer.concat(chunks).toString("latin1")));
    socket.on("error", (error: NodeJS.ErrnoException) => (error.code === "ECONNRESET" || error.code === "EPIPE" ? undefined : reject(error)));
    void (async () => {
      for (const piece of [text].flat()) await new Promise<void>((written) => socket.write(piece, "latin1", () => setImmediate(written)));
    })();
  });
}

export interface RawResponse {
  status: number;
  /** Names in lower case, in order. */
  headers: [string, string][];
  body: string;
}

/** The responses in what a connection brought. Throws where it is not a sequence of complete, well-formed HTTP/1.1 responses. */
export function parseResponses(text: string): RawResponse[] {
  const found: RawResponse[] = [];
  let rest = text;
  while (rest.length > 0) {
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) throw new Error(`headers without end: ${JSON.stringify(rest)}`);
    const [first, ...lines] = rest.slice(0, end).split("\r\n");
    const status = /^HTTP\/1\.1 (\d{3}) [\x20-\x7e]*$/.exec(first!);
    if (!status) throw new Error(`not a status line: ${JSON.stringify(first)}`);
    const headers = lines.map((line): [string, string] => {
      const header = /^([!#$%&'*+.^_`|~0-9a-z-]+): ?([^\r\n\0]*)$/i.exec(line);
      if (!header) throw new Error(`not a header: ${JSON.stringify(line)}`);
      return [header[1]!.toLowerCase(), header[2]!];
    });
    rest = rest.slice(end + 4);
    const value = (name: string) => headers.find(([n]) => n === name)?.[1];
    let body = "";
    if (value("transfer-encoding") === "chunked") {
      for (;;) {
        const size = /^([0-9a-f]+)\r\n/i.exec(rest);
        if (!size) throw new Error(`not a chunk: ${JSON.stringify(rest.slice(0, 40))}`);
        const length = Number.parseInt(size[1]!, 16);
        if (length === 0) {
          // Trailers, then the empty line.
          const last = /^0\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(rest);
          if (!last) throw new Error("a body without end");
          rest = rest.slice(last[0].length);
          break;
        }
        body += rest.slice(size[0].length, size[0].length + length);
        rest = rest.slice(size[0].length + length + 2);
      }
    } else {
      const length = Number(value("content-length") ?? 0);
      if (rest.length < length) throw new Error(`a body of ${rest.length} instead of ${length} bytes`);
      body = rest.slice(0, length);
      rest = rest.slice(length);
    }
    found.push({ status: Number(status[1]), headers, body });
  }
  return found;
}
