// The demonstration's upstream and auth service.
import { type IncomingHttpHeaders, type RequestListener, createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface DemoServers {
  upstream: { url: string; seen: { url: string; headers: Record<string, string> }[] };
  auth: { url: string };
  close(): Promise<void>;
}

const USERS = new Set(["ann", "bob"]);

export async function startServers(): Promise<DemoServers> {
  const seen: { url: string; headers: Record<string, string> }[] = [];
  const upstream = await listen((request, response) => {
    seen.push({ url: request.url!, headers: flat(request.headers) });
    if (request.url?.startsWith("/mask")) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ user: "ann", password: "hunter2", devices: [{ id: 1, token: "abc" }] }));
      return;
    }
    response.setHeader("server-timing", "db;dur=53");
    response.end("hello from the upstream\n");
  });
  const auth = await listen((request, response) => {
    const user = request.headers.authorization ?? "";
    response.statusCode = USERS.has(user) ? 200 : 401;
    response.end(USERS.has(user) ? user : "");
  });
  return { upstream: { url: upstream.url, seen }, auth: { url: auth.url }, close: async () => void (await Promise.all([upstream.close(), auth.close()])) };
}

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

async function listen(handler: RequestListener): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
