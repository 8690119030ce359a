// The benchmark: contenders run interleaved in one run, CPU time of the Envoy process per request, costs as differences to an Envoy without the filter.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { contenders, WORKLOADS, type Workload } from "./contenders.js";
import { printRows, printTargets, type Row, sizes } from "./report.js";
import { hold, measure, prepareLoad, startNever, startUnderTest, startUpstream, type UnderTest, verify } from "./rig.js";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "6" },
    seconds: { type: "string", default: "3" },
    only: { type: "string" },
    contenders: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h" },
  },
});
if (values.help) {
  console.log("npm run bench -- [--rounds 6] [--seconds 3] [--only headers,body,callout,live] [--contenders none,raw,linear] [--json]");
  process.exit(0);
}
const LIVE = 1000;
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const only = values.only?.split(",") as Workload[] | undefined;
const open: (() => Promise<void> | void)[] = [];
let ending = false;

async function end(code: number): Promise<never> {
  ending = true;
  for (const close of open.reverse()) await close();
  process.exit(code);
}
process.once("SIGINT", () => void end(130));

/** An upstream that remembers the last request's headers, for the check before measuring. */
async function startEcho(): Promise<{ url: string; last(): http.IncomingHttpHeaders; count(): number; close(): void }> {
  let last: http.IncomingHttpHeaders = {};
  let count = 0;
  const server = http.createServer((request, response) => {
    last = request.headers;
    count++;
    request.resume();
    request.on("end", () => response.setHeader("server-timing", "a").end("ok"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    last: () => last,
    count: () => count,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function runWorkload(
  workload: Workload,
  upstream: string,
  never: Awaited<ReturnType<typeof startNever>>,
  echo: Awaited<ReturnType<typeof startEcho>>,
): Promise<Row[]> {
  const chosen = values.contenders?.split(",");
  const tests: UnderTest[] = [];
  for (const contender of await contenders(workload)) {
    if (chosen && contender.name !== "none" && !chosen.includes(contender.name)) continue;
    // First with an upstream that shows what arrived, then with one that is cheap.
    const checked = await startUnderTest(contender, echo.url, never.url);
    open.push(checked.close);
    await verify(checked, workload, { url: checked.envoy.url, last: echo.last, count: echo.count });
    await checked.close();
    const test = await startUnderTest(contender, upstream, never.url);
    open.push(test.close);
    if (workload === "live") {
      const arrived = never.received(LIVE);
      const held = hold(test.envoy.url, LIVE);
      open.push(() => held.close());
      await arrived;
    }
    tests.push(test);
  }
  for (let round = 0; round < rounds; round++) {
    for (const test of tests) {
      if (!values.json && process.stderr.isTTY) process.stderr.write(`\r${workload}: round ${round + 1} of ${rounds}, ${test.contender.name}          `);
      test.rounds.push(await measure(test, workload, seconds));
    }
  }
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  for (const test of tests) await test.close();
  const none = tests[0]!;
  return tests.map((test) => ({ workload, name: test.contender.name, bytes: test.contender.bytes, rounds: test.rounds, none: none.rounds }));
}

try {
  prepareLoad();
  const upstream = await startUpstream();
  open.push(upstream.stop);
  const never = await startNever();
  open.push(() => never.close());
  const echo = await startEcho();
  open.push(() => echo.close());
  const rows: Row[] = [];
  for (const workload of WORKLOADS) {
    if (only && !only.includes(workload)) continue;
    const measured = await runWorkload(workload, upstream.url, never, echo);
    rows.push(...measured);
    if (!values.json) printRows(workload, measured);
  }
  const modules = sizes();
  if (values.json) console.log(JSON.stringify({ rows, modules }, null, 2));
  else printTargets(rows, modules);
  await end(0);
} catch (error) {
  if (!ending) {
    console.error(`bench: ${(error as Error).message.split("\n")[0]}`);
    await end(1);
  }
}
