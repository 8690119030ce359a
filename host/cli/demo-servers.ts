// The demonstration's upstream and auth service: two small servers that remember what they saw and what they answered.
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Message {
  /** "GET /path" or "200". */
  line: string;
  headers: Record<string, string>;
  body: string;
}

export interface DemoServer {
  url: string;
  /** Requests with the answers they got, oldest first. */
  seen: { request: Message; answer: Message }[];
  close(): Promise<void>;
}

export interface DemoServers {
  upstream: DemoServer;
  auth: DemoServer;
  close(): Promise<void>;
}

const USERS = new Set(["ann", "bob"]);

type Answer = { status?: number; headers?: Record<string, string>; body: string };

export async function startServers(): Promise<DemoServers> {
  const upstream = await listen(({ line }) =>
    line.startsWith("GET /mask")
      ? { headers: { "content-type": "application/json" }, body: JSON.stringify({ user: "ann", password: "hunter2", devices: [{ id: 1, token: "abc" }] }) }
      : { headers: { "server-timing": "db;dur=53" }, body: "hello from the upstream" },
  );
  const auth = await listen(({ headers }) => {
    const user = headers.authorization ?? "";
    return USERS.has(user) ? { body: user } : { status: 401, body: "who are you?" };
  });
  return { upstream, auth, close: async () => void (await Promise.all([upstream.close(), auth.close()])) };
}

export function flat(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

async function listen(handler: (request: Message) => Answer): Promise<DemoServer> {
  const seen: DemoServer["seen"] = [];
  const server = createServer((incoming, response: ServerResponse) => {
    const request = { line: `${incoming.method} ${incoming.url}`, headers: flat(incoming.headers), body: "" };
    const { status = 200, headers = {}, body } = handler(request);
    seen.push({ request, answer: { line: String(status), headers, body } });
    response.writeHead(status, headers);
    response.end(body);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve());
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
