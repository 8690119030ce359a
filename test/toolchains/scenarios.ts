// What the filters of every toolchain are put through: one scenario for each filter.
import type { ClientSpec, Scenario } from "../conformance/scenario.js";

export const FILTERS = ["headers", "body", "callout", "callout-denied", "shared", "queue", "metrics", "properties", "tcp", "unknown"] as const;

const get = (path: string, headers = ""): ClientSpec => ({ send: [`GET ${path} HTTP/1.1\r\nhost: h\r\n${headers}\r\n`], wait: 150 });

const CHUNKS = ["POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n", 20, "5\r\nhello\r\n", 20, "6\r\n world\r\n", 20, "0\r\n\r\n"];

const DETAILS: Record<(typeof FILTERS)[number], Partial<Scenario>> = {
  headers: { clients: [get("/a?b=c", "x-internal: secret\r\nx-list: a\r\n")] },
  body: { clients: [{ send: CHUNKS, wait: 200 }] },
  callout: { clients: [get("/")], upstream: { alt: ["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nann"] } },
  "callout-denied": { clients: [get("/")], upstream: { alt: ["HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"] } },
  shared: { clients: [get("/1"), { ...get("/2"), at: 200 }, { ...get("/3"), at: 400 }] },
  queue: { clients: [get("/first"), { ...get("/second"), at: 200 }] },
  metrics: { clients: [get("/"), { at: 250, admin: "/stats?filter=tool_", wait: 50 }] },
  properties: { clients: [get("/a?b=c")] },
  tcp: { tcp: true, clients: [{ send: ["hello", 40, "again"], wait: 150 }], upstream: { tcp: ["answer"] } },
  unknown: { clients: [] },
};

export function scenarioOf(toolchain: string, filter: (typeof FILTERS)[number], wasm: string): Scenario {
  const script = filter.replace("-denied", "");
  return { id: `${toolchain}-${filter}`, plugins: [{ name: "p1", root_id: "r1", vm_id: "v1", wasm, script }], ...DETAILS[filter] };
}
