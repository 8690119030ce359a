// What is kept of a run: log lines, answers, what upstreams got, with everything that changes from run to run replaced by its name.
import { PORTS, type PortName } from "./bootstrap.js";
import type { LogEntry } from "./engine.js";
import { upstreamFrames } from "./frames.js";
import { PROBES } from "./probes.js";
import type { Observation, Scenario } from "./scenario.js";

/** A run's ports in place of those that traces name. */
export class PortMap {
  constructor(private readonly real: Record<PortName, number>) {}

  /** A scenario's text with the run's ports. */
  into(text: string): string {
    return Object.entries(PORTS).reduce((result, [name, port]) => {
      const real = this.real[name as PortName];
      return result.replaceAll(new RegExp(`\\b${port}\\b`, "g"), String(real)).replaceAll(asciiHex(port), asciiHex(real));
    }, text);
  }

  /** An observed text with the ports of traces; numbers as properties show them (8 bytes, little endian), too. */
  outOf(text: string): string {
    return Object.entries(PORTS).reduce((result, [name, port]) => {
      const real = this.real[name as PortName];
      return result
        .replaceAll(new RegExp(`\\b${real}\\b`, "g"), String(port))
        .replaceAll(`127.0.0.1:${real}`, `127.0.0.1:${port}`)
        .replaceAll(`${hexOf(real)}000000000000`, `${hexOf(port)}000000000000`)
        .replaceAll(asciiHex(real), asciiHex(port))
        .replaceAll(`${escapeOf(real)}\\x00\\x00\\x00\\x00\\x00\\x00`, `${escapeOf(port)}\\x00\\x00\\x00\\x00\\x00\\x00`);
    }, text);
  }
}

/** A port's digits as hex of their bytes. */
const asciiHex = (port: number): string => Buffer.from(`:${port}`).toString("hex");

const hexOf = (port: number): string => [port & 255, port >> 8].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const escapeOf = (port: number): string =>
  [port & 255, port >> 8]
    .map((byte) => (byte < 32 || byte > 126 || byte === 34 || byte === 92 ? `\\x${byte.toString(16).padStart(2, "0")}` : String.fromCharCode(byte)))
    .join("");

function normal(text: string): string {
  return (
    text
      .replaceAll(PROBES, "<probes>")
      .replace(/initializing config '(?:goo\.gle\/debug\w*\s*)?[^']*'/, "initializing config '<proto>\n  <config>'")
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uuid>")
      .replace(/(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/g, "<date>")
      .replace(/(x-envoy-upstream-service-time(?:"="|: |":"))\d+/g, "$1<ms>")
      // Of a request that is repeated: what is left of the time.
      .replace(/(x-envoy-expected-rq-timeout-ms: )(\d+)/g, (whole, name, ms) =>
        (Number(ms) > 14000 && Number(ms) < 15000) || (Number(ms) > 100 && Number(ms) % 50 !== 0) ? `${name}<left>` : whole,
      )
      .replace(/127\.0\.0\.1:(\d{5})/g, (whole, port) => (Number(port) >= 30000 ? "127.0.0.1:<port>" : whole))
      .replace(
        /(propx\((?:request\|id|source\|address|source\|port|upstream\|local_address|xds\|route_metadata|xds\|node)\) -> 0 len=\d+ )[0-9a-f.]+/g,
        "$1<varies>",
      )
      .replace(/(prop[x]?\([^)]*(?:time|duration|latency|cx_pool)[^)]*\) -> 0 len=8 )[0-9a-f]{16}/g, "$1<8 bytes>")
  );
}

function logLines(entries: LogEntry[], scenario: Scenario, ports: PortMap): string[] {
  const keep = scenario.keep_log ? new RegExp(scenario.keep_log) : undefined;
  const lines: string[] = [];
  for (const entry of entries) {
    if ("mark" in entry) {
      lines.push(entry.mark);
      continue;
    }
    const { thread, logger, level, text } = entry;
    if (logger === "") lines.push(normal(ports.outOf(text)));
    if (logger === "") continue;
    const raw = `[${thread}][${logger}][${level}] ${text}`;
    if (logger !== "wasm" && level !== "error" && level !== "critical" && !keep?.test(raw)) continue;
    lines.push(`${thread} ${logger === "wasm" ? "" : `[${logger}] `}${level}: ${normal(ports.outOf(text))}`);
  }
  return lines.filter((line) => scenario.full || (scenario.concurrency ?? 1) > 1 || !line.startsWith("main info: "));
}

const KEPT = 3000;
const SHOWN = 600;

/** Cuts what is long as the recordings do. */
function short(text: string): string {
  return text.length > KEPT ? `${text.slice(0, SHOWN)}...(${text.length})` : text;
}

export function observation(
  scenario: Scenario,
  run: {
    started: boolean;
    exit: number | string | undefined;
    responses: unknown;
    stats: unknown;
    entries: LogEntry[];
    output: string;
    seen: Record<string, unknown[]>;
  },
  ports: PortMap,
): Observation {
  const crashed = typeof run.exit === "string" && run.exit !== "SIGTERM";
  let log = logLines(run.entries, scenario, ports);
  let accessLog = normal(ports.outOf(run.output)).split("\n").filter(Boolean);
  if (crashed) {
    // The beginning of an endless recursion is enough.
    if (log.length > 150) log = [...log.slice(0, 60), "...(repeats until the crash)"];
    accessLog = ["(not recorded: crash)"];
  }
  const text = (value: unknown) => JSON.parse(normal(ports.outOf(JSON.stringify(value))).replace(/"date":"[^"]*"/g, '"date":"<date>"'));
  const upstream: Record<string, unknown[]> = {};
  for (const [name, list] of Object.entries(run.seen)) {
    const shown = list.map((item) => (typeof item === "string" ? upstreamFrames(item) : item));
    if (list.length)
      upstream[name] = (JSON.parse(normal(ports.outOf(JSON.stringify(shown)))) as unknown[]).map((item) => (typeof item === "string" ? short(item) : item));
  }
  const responses = run.responses === undefined ? undefined : (text(run.responses) as { raw?: string }[]);
  for (const response of responses ?? []) if (response?.raw) response.raw = short(response.raw);
  return {
    started: run.started,
    ...(responses ? { responses: responses as Observation["responses"] & object } : {}),
    ...(run.stats === undefined ? {} : { stats: text(run.stats) }),
    ...(run.exit === undefined ? {} : { exit: run.exit }),
    log,
    access_log: accessLog,
    upstream,
  };
}
