// Pieces that our own scenarios are made of.
import type { ClientSpec, PluginSpec, Scenario, Step } from "../scenario.js";

export const p1 = (script: string | string[], fields: Partial<PluginSpec> = {}): PluginSpec => ({
  name: "p1",
  root_id: "r1",
  vm_id: "v1",
  script: Array.isArray(script) ? script.join("\n") : script,
  ...fields,
});

/** A second plugin that only looks on. */
export const p2: PluginSpec = { name: "p2", root_id: "r2", vm_id: "v2", script: "" };

export const GET: ClientSpec = { send: ["GET / HTTP/1.1\r\nhost: h\r\n\r\n"], wait: 200 };

/** Three chunks of five bytes and a trailer. */
export const CHUNKED: Step[] = [
  "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
  40,
  "5\r\naaaaa\r\n",
  40,
  "5\r\nbbbbb\r\n",
  40,
  "0\r\nx-trailer: t1\r\n\r\n",
];

/** The same without trailers. */
export const PLAIN_CHUNKED: Step[] = [
  "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
  40,
  "5\r\naaaaa\r\n",
  40,
  "5\r\nbbbbb\r\n",
  40,
  "0\r\n\r\n",
];

export const WITH_LENGTH: Step[] = ["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n", 40, "aaaaa", 40, "bbbbb"];

export const post = (send: Step[], wait = 300): ClientSpec => ({ send, wait });

export const CHUNKED_ANSWER: Step[] = [
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
  40,
  "5\r\naaaaa\r\n",
  40,
  "5\r\nbbbbb\r\n",
  40,
  "0\r\nx-trailer: t1\r\n\r\n",
];

export const LENGTH_ANSWER: Step[] = ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", 40, "aaaaa", 40, "bbbbb"];

/** Lines of a recorder's script: the same operations in one callback. */
export const each = (callback: string, ...operations: string[]): string[] => operations.map((operation) => `${callback}: ${operation}`);

/** Lets a paused stream go on from a tick after so many milliseconds. */
export const resumeByTick = (direction: 0 | 1, ms = 60): string[] => [
  `on_request_headers: tick ${ms}`,
  "on_tick: tick 0",
  "on_tick: eff $last",
  `on_tick: continue ${direction}`,
];

export const call = (cluster = "alt", timeout = 1000): string => `http ${cluster} ${timeout} '' :method GET :path /c :authority a`;

export type Group = { item: string; scenarios: Scenario[] };
