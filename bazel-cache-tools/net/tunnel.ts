// A socket to a host behind a proxy: CONNECT (RFC 9110 §9.3.6) or SOCKS5, with TLS on top where the target speaks it.
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type SecureContext } from "node:tls";
import { basic } from "./credentials.js";
import { TransferError } from "./failure.js";
import type { ForwardProxy } from "./proxy.js";
import { socksConnect } from "./socks.js";

export interface TunnelOptions {
  host: string;
  port: number;
  /** The target speaks TLS. */
  secure: boolean;
  secureContext: SecureContext | undefined;
  /** Ends a tunnel that is still being built. */
  signal: AbortSignal;
}

/** A connected socket, ready for the first byte of HTTP. */
export async function openTunnel(proxy: ForwardProxy, options: TunnelOptions): Promise<Socket> {
  const { host, port, secure, secureContext, signal } = options;
  const raw = proxy.scheme === "socks" ? await throughSocks(proxy, host, port, signal) : await throughConnect(proxy, options);
  if (!secure) return raw;
  const socket = connectTls({
    socket: raw,
    host,
    servername: isIP(host) ? "" : host,
    ALPNProtocols: ["http/1.1"],
    ...(secureContext ? { secureContext } : {}),
  });
  return opened(socket, "secureConnect", signal);
}

async function opened(socket: Socket, event: "connect" | "secureConnect", signal: AbortSignal): Promise<Socket> {
  try {
    await once(socket, event, { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function throughSocks(proxy: ForwardProxy, host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const socket = await opened(connectTcp({ host: proxy.host, port: proxy.port }), "connect", signal);
  const stop = () => socket.destroy(new TransferError("connect-timeout", "no answer from the SOCKS proxy"));
  signal.addEventListener("abort", stop);
  try {
    await socksConnect(socket, proxy, host, port);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Authorization for the proxy, where its URL has a user. */
export function proxyHeaders(proxy: ForwardProxy): Record<string, string> {
  return proxy.user === "" && proxy.password === "" ? {} : { "proxy-authorization": basic(proxy.user, proxy.password) };
}

function throughConnect(proxy: ForwardProxy, { host, port, signal, secureContext }: TunnelOptions): Promise<Socket> {
  const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const request = (proxy.scheme === "https" ? httpsRequest : httpRequest)({
    method: "CONNECT",
    host: proxy.host,
    port: proxy.port,
    path: target,
    headers: { host: target, ...proxyHeaders(proxy) },
    agent: false,
    ...(secureContext && proxy.scheme === "https" ? { secureContext } : {}),
  });
  const stop = () => request.destroy(new TransferError("connect-timeout", `no answer from the proxy ${proxy.shown}`));
  signal.addEventListener("abort", stop);
  // Not http's own `signal`, which would end the socket that came of it as well.
  request.once("close", () => signal.removeEventListener("abort", stop));
  return new Promise((resolve, reject) => {
    request.on("error", reject);
    // Without a listener for "connect" Node would hang up; with one it comes for refusals too.
    request.on("connect", (response, socket) => {
      signal.removeEventListener("abort", stop);
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) {
        resolve(socket as Socket);
        return;
      }
      socket.destroy();
      reject(new TransferError("proxy", `the proxy refuses to connect to ${target}: ${status} ${response.statusMessage ?? ""}`.trim(), { status }));
    });
    request.end();
  });
}
