// Whether a contender does its work: real requests through the very Envoy that is measured, before and after.
import type { RunningEnvoy } from "../../host/envoy/launch.js";
import { type Contender, POSTS, type Workload } from "./contenders.js";
import { CHECK, type Upstream } from "./envoys.js";
import { BODY, HEADERS } from "./load.js";

/** What went wrong, or nothing. */
type Check = (response: Response) => string | undefined;

const saw = (header: string, expected: string): Check => {
  const name = `x-saw-${header}`;
  return (response) => (response.headers.get(name) === expected ? undefined : `${header} upstream is ${response.headers.get(name)}, not ${expected}`);
};

const answered: Check = ({ headers }) =>
  headers.get("x-served") !== "yes" ? `x-served is ${headers.get("x-served")}` : headers.has("server-timing") ? "server-timing is still there" : undefined;

const CHECKS: Record<Workload, Check[]> = {
  headers: [saw("x-added", HEADERS["x-user"]!), answered],
  live: [saw("x-added", HEADERS["x-user"]!), answered],
  body: [saw("x-count", "1024")],
  callout: [],
  loops: [saw("x-count", String(hash()))],
};

/** What filters/loops.ts computes. */
function hash(): number {
  let value = 0;
  for (let pass = 0; pass < 16; pass++) for (const byte of Buffer.from(BODY)) value = (Math.imul(value, 31) + byte) >>> 0;
  return value;
}

/** Throws where the contender does not do the workload, or does more. Nothing else may use the upstream meanwhile. */
export async function verify(contender: Contender, envoy: Pick<RunningEnvoy, "url">, workload: Workload, upstream: Upstream): Promise<void> {
  const before = await upstream.requests();
  const response = await request(envoy, workload);
  const text = await response.text();
  const wrong = (what: string) => {
    throw new Error(`${contender.name} does not do the ${workload} workload: ${what}`);
  };
  if (response.status !== 200 || text !== "ok") wrong(`${response.status} ${text.trim()}`);
  const requests = (await upstream.requests()) - before;
  const expected = workload === "callout" && !contender.idle ? 2 : 1;
  if (requests !== expected) wrong(`${requests - 1} calls were made, not ${expected - 1}`);
  if (contender.idle) {
    if (!response.headers.has("server-timing") || response.headers.has("x-saw-x-added")) wrong("it should do nothing");
    return;
  }
  for (const check of CHECKS[workload]) {
    const problem = check(response);
    if (problem) wrong(problem);
  }
}

/** Throws where a contender of the callout workload lets a request pass that the auth service denies. */
export async function verifyDenial(contender: Contender, envoy: Pick<RunningEnvoy, "url">): Promise<void> {
  const { status } = await request(envoy, "callout");
  if (status !== 403) throw new Error(`${contender.name} answers ${status} where the auth service denies`);
}

function request(envoy: Pick<RunningEnvoy, "url">, workload: Workload): Promise<Response> {
  const post = POSTS.has(workload) ? { method: "POST", body: BODY } : {};
  return fetch(`${envoy.url}/`, { headers: { ...HEADERS, [CHECK]: "1" }, signal: AbortSignal.timeout(10_000), ...post });
}
