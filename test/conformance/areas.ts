// What the traces are about: areas for the count, by the beginning of a trace's id.

export const AREAS: [title: string, prefixes: string[]][] = [
  ["loading: ABI markers, imports, exports, memory, start functions", ["load-", "proxy-init-", "d1-", "g08-"]],
  ["WASI", ["wasi-", "env-"]],
  ["start, configuration, shutdown, root contexts", ["start-", "root-", "shutdown-", "g09-"]],
  ["whole exchanges: HTTP/1, HTTP/2, upgrades, early answers, aborts", ["plain-", "bad-", "b3-", "no-route", "redirect", "g10-", "g16-"]],
  ["statuses of headers, bodies, trailers; pausing and going on", ["b1-", "b8-", "h13-", "h19-", "g11-", "g12-", "g13-", "g14-", "combo-"]],
  ["HTTP/1 on the wire: odd requests and answers, headers of one hop", ["codec-"]],
  ["HTTP/2 on the wire: odd frames and headers, ends of streams", ["h2-"]],
  ["access logs", ["log-"]],
  ["maps and buffers: what can be read and written when", ["b4-", "b5-", "b7-", "a3-", "g01-", "g02-", "g17-", "g18-", "g19-"]],
  ["buffer limits", ["h5-", "g15-"]],
  ["local replies and closing", ["b9-", "g20-", "g21-", "g22-", "g23-"]],
  ["traps and failure policies", ["b10-", "g28-"]],
  ["HTTP callouts", ["b11-", "g24-"]],
  ["gRPC callouts", ["b12-", "g25-"]],
  ["shared data, queues, metrics, ticks, logs", ["b13-", "g26-"]],
  ["properties, CEL, foreign functions", ["a9-", "a10-", "a11-", "h9-", "g03-"]],
  ["routing, subsets, hosts, hashes", ["route-", "c3-", "c4-", "h4-", "h7-", "h10-", "h18-", "g27-", "d3-filter"]],
  ["retries", ["retry-"]],
  ["upstream filters", ["h17-"]],
  ["configuration pushed by ECDS", ["d3-ecds"]],
  ["TCP", ["tcp-"]],
  ["capability restriction", ["g29-"]],
];

export function areaOf(id: string): string {
  return AREAS.find(([, prefixes]) => prefixes.some((prefix) => id.startsWith(prefix)))?.[0] ?? "other";
}
