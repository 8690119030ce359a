// The admin port, as far as tools and people use it: readiness, statistics, listeners, the log level, the end.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { LEVELS } from "../vm/environment.js";
import type { Statistics } from "./statistics.js";

export interface AdminHost {
  readonly statistics: Statistics;
  listeners(): { name: string; address: AddressInfo }[];
  setWasmLogLevel(level: number): void;
  wasmLogLevel(): number;
  quit(): void;
}

type Answer = { status?: number; type?: string; body: string };

const PAGES: Record<string, { help: string; post?: true; answer(host: AdminHost, query: URLSearchParams): Answer }> = {
  "/ready": { help: "print server state, return 200 if LIVE, otherwise return 503", answer: () => ({ body: "LIVE\n" }) },
  "/stats": {
    help: "print server stats",
    answer({ statistics }, query) {
      const filter = pattern(query);
      if (filter instanceof Error) return { status: 400, body: `Invalid re2 regex: ${filter.message}\n` };
      const types = (query.get("type") ?? "All").toLowerCase();
      if (query.get("format") === "prometheus") return { body: statistics.prometheus(filter) };
      if (query.get("format") === "json") return { type: "application/json", body: `${JSON.stringify({ stats: statistics.json(filter) })}\n` };
      return { body: statistics.text(filter, types) };
    },
  },
  "/stats/prometheus": {
    help: "print server stats in prometheus format",
    answer({ statistics }, query) {
      const filter = pattern(query);
      if (filter instanceof Error) return { status: 400, body: `Invalid re2 regex: ${filter.message}\n` };
      return { body: statistics.prometheus(filter) };
    },
  },
  "/listeners": {
    help: "print listener info",
    answer(host, query) {
      const list = host.listeners();
      if (query.get("format") !== "json") return { body: list.map(({ name, address }) => `${name}::${address.address}:${address.port}\n`).join("") };
      const statuses = list.map(({ name, address }) => ({ name, local_address: { socket_address: { address: address.address, port_value: address.port } } }));
      return { type: "application/json", body: JSON.stringify({ listener_statuses: statuses }) };
    },
  },
  "/server_info": {
    help: "print server version/status information",
    answer: () => ({ type: "application/json", body: JSON.stringify({ version: "envoyscript node engine", state: "LIVE" }) }),
  },
  "/logging": {
    help: "query/change logging levels",
    post: true,
    answer(host, query) {
      const level = query.get("wasm") ?? query.get("level");
      if (level !== null) {
        const number = LEVELS.indexOf(level as (typeof LEVELS)[number]);
        if (number < 0) return { status: 400, body: "error: unknown logger level\n" };
        host.setWasmLogLevel(number);
      }
      return { body: `active loggers:\n  wasm: ${LEVELS[host.wasmLogLevel()]}\n` };
    },
  },
  "/quitquitquit": {
    help: "exit the server",
    post: true,
    answer(host) {
      setImmediate(() => host.quit());
      return { body: "OK\n" };
    },
  },
};

function pattern(query: URLSearchParams): RegExp | Error {
  try {
    return new RegExp(query.get("filter") ?? "");
  } catch (error) {
    return error as Error;
  }
}

export function createAdmin(host: AdminHost): http.Server {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://admin");
    const page = Object.hasOwn(PAGES, url.pathname) ? PAGES[url.pathname] : undefined;
    const help = Object.entries(PAGES).map(([path, { help: text, post }]) => `  ${path}${post ? " (POST)" : ""}: ${text}`);
    let answer: Answer;
    if (!page) answer = { status: url.pathname === "/" || url.pathname === "/help" ? 200 : 404, body: `admin commands are:\n${help.join("\n")}\n` };
    else if (page.post && request.method !== "POST") answer = { status: 405, body: `Method ${request.method} not allowed, POST required.` };
    else answer = page.answer(host, url.searchParams);
    request.resume();
    response.writeHead(answer.status ?? 200, { "content-type": answer.type ?? "text/plain; charset=UTF-8", "cache-control": "no-cache, max-age=0" });
    response.end(answer.body);
  });
  server.on("clientError", (_error, socket) => socket.destroy());
  return server;
}
