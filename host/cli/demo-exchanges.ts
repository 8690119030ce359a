// The demonstration's requests: each is shown from all sides (sent, seen, answered, back), with what the filter changed marked, and checked.
import { request as httpRequest } from "node:http";
import { type DemoServers, flat, type Message } from "./demo-servers.js";
import type { Serving } from "./engine.js";
import { paint } from "./terminal.js";

interface Seen {
  sent: Message;
  upstream: { request: Message; answer: Message } | undefined;
  auth: { request: Message; answer: Message } | undefined;
  back: Message;
}

interface Exchange {
  example: string;
  what: string;
  path: string;
  headers: Record<string, string>;
  holds(seen: Seen): boolean;
}

const EXCHANGES: Exchange[] = [
  {
    example: "headers.ts",
    what: "reads and writes headers on both ways",
    path: "/headers/a?b=c",
    headers: { "user-agent": "demo", "x-internal": "secret" },
    holds: ({ upstream, back }) =>
      upstream?.request.headers["x-greeting"] === "hello, demo" &&
      !("x-internal" in upstream.request.headers) &&
      back.headers["x-served-path"] === "/headers/a?b=c" &&
      !("server-timing" in back.headers),
  },
  {
    example: "auth.ts",
    what: "asks the auth service first, in blocking style",
    path: "/auth",
    headers: { authorization: "ann" },
    holds: ({ upstream, back }) => upstream?.request.headers["x-user"] === "ann" && back.line === "200" && back.headers["x-served-for"] === "ann",
  },
  {
    example: "auth.ts",
    what: "turns away whom the auth service does not know",
    path: "/auth",
    headers: { authorization: "mallory", "x-user": "ann" },
    holds: ({ upstream, auth, back }) => upstream === undefined && auth?.answer.line === "401" && back.line === "403",
  },
  {
    example: "mask.ts",
    what: "masks members of a JSON response",
    path: "/mask",
    headers: {},
    holds: ({ upstream, back }) =>
      !!upstream?.answer.body.includes("hunter2") && back.body === upstream.answer.body.replace("hunter2", "***").replace("abc", "***"),
  },
];

/** Sends everything and prints what happened. Whether every example did what it should. */
export async function showExchanges(envoy: Serving, servers: DemoServers, guestLog: string[]): Promise<boolean> {
  let all = true;
  for (const exchange of EXCHANGES) {
    const before = [servers.upstream.seen.length, servers.auth.seen.length] as const;
    const sent = { line: `GET ${exchange.path}`, headers: exchange.headers, body: "" };
    const back = await get(envoy.url + exchange.path, exchange.headers);
    const seen: Seen = { sent, upstream: servers.upstream.seen[before[0]], auth: servers.auth.seen[before[1]], back };
    all = show(exchange, seen) && all;
  }
  return (await showBuggy(envoy, guestLog)) && all;
}

function heading(ok: boolean, example: string, what: string): void {
  console.log(`\n${paint(ok ? "green" : "red", ok ? "✓" : "✗")} ${paint("bold", `guest/examples/${example}`)}  ${what}`);
}

function row(name: string, text: string): void {
  console.log(`    ${paint("dim", name.padEnd(22))}${text}`);
}

function show(exchange: Exchange, { sent, upstream, auth, back }: Seen): boolean {
  const ok = exchange.holds({ sent, upstream, auth, back });
  heading(ok, exchange.example, exchange.what);
  row("sent", message(sent));
  if (auth) {
    row("auth service saw", message(auth.request));
    row("auth service answered", message(auth.answer));
  }
  row("upstream saw", upstream ? message(upstream.request, sent) : paint("dim", "nothing"));
  if (upstream) row("upstream answered", message(upstream.answer));
  row("came back", message(back, upstream?.answer));
  return ok;
}

/** What Envoy and Node add to every message, and nobody wants to read. */
const NOISE = /^(host|connection|keep-alive|accept.*|content-(length|type)|transfer-encoding|date|server|x-forwarded-.*|x-request-id|x-envoy-.*)$/;

/** One line; against `before`, with + and − where the filter added and removed. */
function message({ line, headers, body }: Message, before?: Message): string {
  const parts = [paint("bold", line)];
  for (const [name, value] of Object.entries(headers)) {
    if (NOISE.test(name)) continue;
    if (!before || before.headers[name] === value) parts.push(`${name}: ${value}`);
    else parts.push(paint("green", `+ ${name}: ${value}`));
  }
  for (const name of Object.keys(before?.headers ?? {})) if (!NOISE.test(name) && !(name in headers)) parts.push(paint("red", `− ${name}`));
  const text = body.trim();
  if (text) parts.push(before && before.body !== body ? paint("green", text) : paint("dim", text));
  return parts.join("   ");
}

async function showBuggy(envoy: Serving, guestLog: string[]): Promise<boolean> {
  const machines = await created(envoy);
  const statuses: string[] = [];
  for (let i = 0; i < 20; i++) statuses.push((await get(`${envoy.url}/buggy/${i}`, {})).line);
  const lost = (await created(envoy)) - machines;
  const ok = statuses.filter((status) => status === "500").length === 2 && statuses.filter((status) => status === "200").length === 18 && lost === 0;
  heading(ok, "buggy.ts", "has a bug that hits one request in ten: that request gets 500, the others go on");
  row("sent", paint("bold", "20 × GET /buggy"));
  row("came back", statuses.map((status) => paint(status === "200" ? "green" : "red", status)).join(" "));
  row("Envoy's log", guestLog.at(-1) ?? "");
  row("VMs lost", String(lost));
  return ok;
}

/** How many VMs Envoy has made so far. A lost one is made anew. */
async function created(envoy: Serving): Promise<number> {
  const { body } = await get(`${envoy.adminUrl}/stats?filter=wasm.envoy.wasm.runtime.v8.created`, {});
  return Number(/: (\d+)/.exec(body)?.[1] ?? Number.NaN);
}

function get(url: string, headers: Record<string, string>): Promise<Message> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
      });
      response.on("error", reject);
      response.on("end", () => resolve({ line: String(response.statusCode), headers: flat(response.headers), body }));
    });
    request.setTimeout(10_000, () => request.destroy(new Error(`${url}: no answer within 10 s`)));
    request.on("error", reject);
    request.end();
  });
}
