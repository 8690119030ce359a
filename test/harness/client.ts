// HTTP clients that can do what fetch hides: bodies written in given pieces, trailers, aborts, HTTP/2.
import http from "node:http";
import http2 from "node:http2";

export interface Exchange {
  method?: string;
  headers?: Record<string, string | string[]>;
  /** Written piece by piece, each in a packet of its own as far as TCP allows. */
  body?: (string | Buffer)[];
  trailers?: Record<string, string>;
  signal?: AbortSignal;
  agent?: http.Agent;
}

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  text: string;
  trailers: Record<string, string | undefined>;
}

/** One HTTP/1.1 request. Rejects where the connection breaks. */
export function send(url: string, exchange: Exchange = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunked = exchange.trailers && !exchange.headers?.["content-length"];
    const request = http.request(url, {
      method: exchange.method ?? (exchange.body ? "POST" : "GET"),
      headers: { ...(chunked ? { "transfer-encoding": "chunked", trailer: Object.keys(exchange.trailers!).join(", ") } : {}), ...exchange.headers },
      agent: exchange.agent ?? false,
      ...(exchange.signal ? { signal: exchange.signal } : {}),
    });
    request.setNoDelay(true);
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const body = Buffer.concat(chunks);
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body,
          text: body.toString("utf8"),
          trailers: response.trailers as Record<string, string | undefined>,
        });
      });
    });
    void (async () => {
      for (const piece of exchange.body ?? []) {
        await new Promise<void>((written) => request.write(piece, () => written()));
        await new Promise((next) => setImmediate(next));
      }
      if (exchange.trailers) request.addTrailers(exchange.trailers);
      request.end();
    })().catch(reject);
  });
}

/** One HTTP/2 request (without TLS) on a connection of its own. */
export function send2(url: string, exchange: Exchange = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const target = new URL(url);
    const session = http2.connect(target.origin);
    const fail = (error: Error) => {
      session.destroy();
      reject(error);
    };
    session.on("error", fail);
    const stream = session.request(
      { ":method": exchange.method ?? (exchange.body ? "POST" : "GET"), ":path": target.pathname + target.search, ...exchange.headers },
      { endStream: !exchange.body && !exchange.trailers, waitForTrailers: !!exchange.trailers },
    );
    const answer: Answer = { status: 0, headers: {}, body: Buffer.alloc(0), text: "", trailers: {} };
    const chunks: Buffer[] = [];
    stream.on("error", fail);
    stream.on("wantTrailers", () => stream.sendTrailers(exchange.trailers!));
    stream.on("response", (headers) => {
      answer.status = Number(headers[":status"]);
      answer.headers = headers as Answer["headers"];
    });
    stream.on("trailers", (trailers) => {
      answer.trailers = trailers as Answer["trailers"];
    });
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("end", () => {
      answer.body = Buffer.concat(chunks);
      answer.text = answer.body.toString("utf8");
      session.close();
      resolve(answer);
    });
    exchange.signal?.addEventListener("abort", () => {
      session.destroy();
      reject(new Error("aborted"));
    });
    void (async () => {
      if (!exchange.body && !exchange.trailers) return;
      for (const piece of exchange.body ?? []) {
        await new Promise<void>((written) => stream.write(piece, () => written()));
        await new Promise((next) => setImmediate(next));
      }
      stream.end();
    })().catch(fail);
  });
}

/** For what holds with both protocols. */
export const clients = [
  ["HTTP/1", send],
  ["HTTP/2", send2],
] as const;
