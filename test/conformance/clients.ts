// A scenario's clients: raw bytes over TCP, HTTP/2 requests, questions to the admin port.
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { frames } from "./frames.js";
import type { ClientObservation, ClientSpec, Http2Request } from "./scenario.js";
import { play, sleep } from "./upstreams.js";

export function rawClient(port: number, client: ClientSpec, seen: ClientObservation): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    let text = "";
    let ended = false;
    seen.closed_by_envoy = false;
    socket.on("data", (data) => {
      text += data.toString("latin1");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      seen.error = error.code!;
    });
    socket.on("end", () => {
      if (!ended) seen.closed_by_envoy = true;
    });
    socket.on("close", () => {
      seen.raw = client.frames ? frames(text) : text;
      resolve();
    });
    socket.on("connect", async () => {
      await play(socket, client.send ?? []);
      await sleep(client.wait ?? 250);
      ended = true;
      socket.destroy();
    });
  });
}

export function http2Client(port: number, requests: Http2Request[], seen: ClientObservation): Promise<void> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    seen.streams = [];
    let left = requests.length;
    session.on("error", (error: NodeJS.ErrnoException) => {
      seen.error = error.code!;
      resolve();
    });
    requests.forEach(async (request, i) => {
      const record: NonNullable<ClientObservation["streams"]>[number] = {};
      seen.streams![i] = record;
      if (request.at) await sleep(request.at);
      const endStream = !request.body && !request.trailers;
      const stream = session.request(request.headers, { endStream, waitForTrailers: !!request.trailers });
      let body = "";
      let timer: NodeJS.Timeout | undefined;
      stream.on("response", (headers) => {
        record.headers = { ...headers };
      });
      stream.on("trailers", (trailers) => {
        record.trailers = { ...trailers };
      });
      stream.on("data", (data) => {
        body += data.toString("latin1");
      });
      stream.on("error", () => {});
      stream.on("close", () => {
        clearTimeout(timer);
        record.body = body;
        record.rst = stream.rstCode;
        if (--left === 0) {
          session.destroy();
          resolve();
        }
      });
      if (request.trailers) stream.on("wantTrailers", () => stream.sendTrailers(request.trailers!));
      timer = setTimeout(() => {
        if (stream.closed) return;
        record.timeout = true;
        stream.close(http2.constants.NGHTTP2_CANCEL);
      }, request.wait ?? 1500);
      if (endStream) return;
      for (const step of request.body ?? []) {
        if (typeof step === "number") await sleep(step);
        else stream.write(Buffer.from(step, "latin1"));
      }
      if (!request.keepOpen) stream.end();
    });
  });
}

export function adminGet(port: number, path: string, method = "GET"): Promise<{ code: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", port, path, method, agent: false }, (response) => {
      let body = "";
      response.on("data", (data) => {
        body += data;
      });
      response.on("end", () => resolve({ code: response.statusCode!, body }));
    });
    request.on("error", reject);
    request.setTimeout(2000, () => request.destroy(new Error("timeout")));
    request.end();
  });
}
