// Many requests over few connections, each answer checked.
import http from "node:http";
import { type Answer, type Exchange, send } from "../harness/client.js";

export const CONNECTIONS = 50;

/** Runs `total` requests, 50 at a time over as many kept-alive connections. A broken connection counts as status 0. */
export async function load(url: string, total: number, request: (i: number) => Exchange & { path: string }): Promise<Answer[]> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const answers: Answer[] = new Array(total);
  let next = 0;
  const work = async () => {
    for (let i = next++; i < total; i = next++) {
      const { path, ...exchange } = request(i);
      answers[i] = await send(url + path, { ...exchange, agent }).catch((error: Error) => ({
        status: 0,
        headers: {},
        body: Buffer.alloc(0),
        text: error.message,
        trailers: {},
      }));
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, work));
  agent.destroy();
  return answers;
}

/** Waits for a condition that the log brings about: its lines come through a pipe of their own and may be a moment behind the answers. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition() && Date.now() < deadline) await new Promise((resolve) => setImmediate(resolve));
}
