// The admin port, as far as tools and people use it: readiness, statistics, listeners, the log level, the end.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { LEVELS } from "../vm/environment.js";
import { ConfigError } from "./config/fields.js";
import { compileRegex } from "./regex.js";
import type { Selection, Statistics } from "./statistics.js";

export interface AdminHost {
  readonly statistics: Statistics;
  listeners(): { name: string; address: AddressInfo }[];
  setWasmLogLevel(level: number): void;
  wasmLogLevel(): number;
  quit(): void;
}

type Answer = { status?: number; type?: string; body: string };

const FORMATS = ["text", "json", "prometheus"];
const BUCKETS = ["cumulative", "disjoint", "summary"];
const KINDS = new Map<string, Selection["type"]>([
  ["counters", "counter"],
  ["gauges", "gauge"],
  ["histograms", "histogram"],
  ["textreadouts", undefined],
]);

/** What a query asks for; an answer where it cannot be understood. */
function selection(query: URLSearchParams): Selection | Answer {
  const found: Selection = { usedOnly: query.has("usedonly") };
  const kind = (query.get("type") ?? "all").toLowerCase();
  if (kind !== "all" && !KINDS.has(kind)) return { status: 400, body: "invalid &type= param" };
  found.type = KINDS.get(kind);
  const buckets = query.get("histogram_buckets") ?? "summary";
  if (!BUCKETS.includes(buckets)) return { status: 400, body: `usage: /stats?histogram_buckets=(${BUCKETS.join("|")})\n` };
  found.buckets = buckets as "summary";
  const filter = query.get("filter");
  if (!filter) return found;
  try {
    return { ...found, name: compileRegex(filter, "filter").finds };
  } catch (error) {
    return { status: 400, body: `Invalid re2 regex: ${error instanceof ConfigError ? error.envoyReason : error}` };
  }
}

function stats({ statistics }: AdminHost, query: URLSearchParams, format: string): Answer {
  if (!FORMATS.includes(format)) return { status: 400, body: `usage: /stats?format=(${FORMATS.join("|")})\n\n` };
  const wanted = selection(query);
  if ("body" in wanted) return wanted;
  if (format === "prometheus") return { body: statistics.prometheus(wanted) };
  if (format === "json") return { type: "application/json", body: JSON.stringify({ stats: statistics.json(wanted) }) };
  return { body: statistics.text(wanted) };
}

const PAGES: Record<string, { help: string; post?: true; answer(host: AdminHost, query: URLSearchParams): Answer }> = {
  "/ready": { help: "print server state, return 200 if LIVE, otherwise return 503", answer: () => ({ body: "LIVE\n" }) },
  "/stats": { help: "print server stats", answer: (host, query) => stats(host, query, query.get("format") ?? "text") },
  "/stats/prometheus": { help: "print server stats in prometheus format", answer: (host, query) => stats(host, query, "prometheus") },
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

export function createAdmin(host: AdminHost): http.Server {
  const server = http.createServer((request, response) => {
    // No URL of the standard's: what stands here may be anything.
    const [path = "", query = ""] = (request.url ?? "/").split(/\?(.*)/s);
    const page = Object.hasOwn(PAGES, path) ? PAGES[path] : undefined;
    const help = Object.entries(PAGES).map(([name, { help: text, post }]) => `  ${name}${post ? " (POST)" : ""}: ${text}`);
    let answer: Answer;
    if (path === "/" || path === "/help") answer = { body: `admin commands are:\n${help.join("\n")}\n` };
    else if (!page) answer = { status: 404, body: `invalid path. admin commands are:\n${help.join("\n")}\n` };
    else if (page.post && request.method !== "POST") answer = { status: 405, body: `Method ${request.method} not allowed, POST required.` };
    else answer = page.answer(host, new URLSearchParams(query));
    request.resume();
    response.writeHead(answer.status ?? 200, { "content-type": answer.type ?? "text/plain; charset=UTF-8", "cache-control": "no-cache, max-age=0" });
    response.end(answer.body);
  });
  server.on("clientError", (_error, socket) => socket.destroy());
  return server;
}
