// What the traces are about: areas for the count, by the beginning of a trace's id.

export const AREAS: [title: string, prefixes: string[]][] = [
  ["loading: ABI markers, imports, exports, memory, start functions", ["load-", "proxy-init-", "d1-"]],
  ["WASI", ["wasi-", "env-"]],
  ["start, configuration, shutdown, root contexts", ["start-", "root-", "shutdown-"]],
  ["whole exchanges: HTTP/1, HTTP/2, upgrades, early answers, aborts", ["plain-", "bad-", "b3-", "no-route", "redirect"]],
  ["statuses of headers, bodies, trailers; pausing and going on", ["b1-", "b8-", "h13-", "h19-"]],
  ["maps and buffers: what can be read and written when", ["b4-", "b5-", "b7-", "a3-"]],
  ["buffer limits", ["h5-"]],
  ["local replies and closing", ["b9-"]],
  ["traps and failure policies", ["b10-"]],
  ["HTTP callouts", ["b11-"]],
  ["gRPC callouts", ["b12-"]],
  ["shared data, queues, metrics, ticks, logs", ["b13-"]],
  ["properties, CEL, foreign functions", ["a9-", "a10-", "a11-", "h9-"]],
  ["routing, subsets, hosts, hashes", ["c3-", "c4-", "h4-", "h7-", "h10-", "h18-", "d3-filter"]],
  ["upstream filters", ["h17-"]],
  ["configuration pushed by ECDS", ["d3-ecds"]],
  ["TCP", ["tcp-"]],
];

export function areaOf(id: string): string {
  return AREAS.find(([, prefixes]) => prefixes.some((prefix) => id.startsWith(prefix)))?.[0] ?? "other";
}
