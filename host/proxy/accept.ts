// A client's connection at its beginning: HTTP/1 or HTTP/2, by configuration or by its first bytes.
import type net from "node:net";
import type { HcmConfig } from "./config/listener.js";
import type { ConnectionManager } from "./connection-manager.js";
import { serveHttp1 } from "./http1-server.js";
import { serveHttp2 } from "./http2.js";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export function acceptHttp(socket: net.Socket, hcm: HcmConfig, manager: ConnectionManager): void {
  const begin = (first: Buffer) => {
    const isHttp2 =
      hcm.codec === "HTTP2" || (hcm.codec === "AUTO" && first.subarray(0, PREFACE.length).equals(PREFACE.subarray(0, first.length)) && first.length >= 3);
    if (isHttp2) {
      manager.protocol = "HTTP/2";
      manager.attach(serveHttp2(socket, first, manager, hcm.http2));
      return;
    }
    const options = { enableTrailers: hcm.enableTrailers, acceptHttp10: hcm.acceptHttp10, defaultHostForHttp10: hcm.defaultHostForHttp10 };
    manager.attach(serveHttp1(socket, first, manager, options));
  };
  socket.once("data", (first: Buffer) => begin(first));
  socket.once("end", () => socket.end());
}
