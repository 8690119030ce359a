// The connections of a run: kept open between requests to the same host, so that hundreds of small registry files cost one handshake.
import { readFile } from "node:fs/promises";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import type { Env, ForwardProxy } from "./proxy.js";
import { openTunnel } from "./tunnel.js";

export interface Connections {
  /** The agent for requests of `protocol` ("http:" or "https:"), direct or behind a proxy. */
  agent(protocol: string, proxy: ForwardProxy | undefined): HttpAgent;
  /** Ends every socket, used or idle. */
  close(): void;
}

/** Behind TLS-inspecting proxies these name the proxy's certificate. They are added to Node's own, since a file of that one certificate is the common case. */
const CERTIFICATE_FILES = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];

async function trusted(env: Env): Promise<SecureContext | undefined> {
  // Node has read NODE_EXTRA_CA_CERTS itself, but a list of one's own replaces what it read.
  if (!env.SSL_CERT_FILE) return undefined;
  const files = CERTIFICATE_FILES.flatMap((name) => env[name] ?? []);
  const texts = await Promise.all(files.map((file) => readFile(file, "utf8").catch(() => "")));
  return createSecureContext({ ca: [...rootCertificates, ...texts.filter((text) => text !== "")] });
}

/**
 * Connections to share among transfers; `close()` them at the end. A transfer without them opens and closes its own.
 * @param connectTimeout ms for a tunnel through a proxy to stand.
 */
export async function openConnections(env: Env = process.env, connectTimeout = 15_000): Promise<Connections> {
  const agents = new Map<string, HttpAgent>();
  /** Tunnels that are being built; no agent knows them yet. */
  const opening = new Set<AbortController>();
  const secureContext = await trusted(env);

  function create(secure: boolean, proxy: ForwardProxy | undefined): HttpAgent {
    // A proxy takes http: requests whole, so the connection to it is all there is.
    const onProxy = proxy !== undefined && proxy.scheme !== "socks" && !secure;
    const options = { keepAlive: true, ...(secureContext ? { secureContext } : {}) };
    if (proxy === undefined || onProxy) return secure || (onProxy && proxy.scheme === "https") ? new HttpsAgent(options) : new HttpAgent(options);
    const agent = secure ? new HttpsAgent(options) : new HttpAgent(options);
    agent.createConnection = ({ host, port }, callback) => {
      const attempt = new AbortController();
      opening.add(attempt);
      const timer = setTimeout(() => attempt.abort(), connectTimeout);
      openTunnel(proxy, { host: host ?? "", port: Number(port), secure, secureContext, signal: attempt.signal })
        .finally(() => {
          clearTimeout(timer);
          opening.delete(attempt);
        })
        .then(
          (socket) => callback?.(null, socket),
          // Node's typing has a stream beside every error; there is none.
          (error: Error) => (callback as ((error: Error) => void) | undefined)?.(error),
        );
      return undefined;
    };
    return agent;
  }

  return {
    agent(protocol, proxy) {
      const key = `${protocol}${proxy ? `${proxy.scheme}:${proxy.user}:${proxy.password}@${proxy.shown}` : ""}`;
      const agent = agents.get(key) ?? create(protocol === "https:", proxy);
      agents.set(key, agent);
      return agent;
    },
    close() {
      for (const attempt of opening) attempt.abort();
      for (const agent of agents.values()) agent.destroy();
    },
  };
}
