// `envoyscript run`: a filter behind a real Envoy, from the first line of output to the last process.
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { beforeAll, describe, expect, test } from "vitest";
import { buildModule } from "../harness/build.js";
import { send } from "../harness/client.js";
import { startServer } from "../harness/envoy.js";
import { CLI, commandOf, descendants, isAlive, type Running } from "./command.js";
import { runPlace } from "./run-place.js";

const SOURCE = `
import { Filter, Stream, filter, log } from "envoyscript-sdk";
class Config { word: string = "default"; }
@filter("talker")
export class Talker extends Filter<Config> {
  handle(stream: Stream): void {
    log.debug("a detail");
    log.info("word " + this.config.word);
    if (stream.request.path == "/warn") log.warn("take care");
    if (stream.request.path == "/fault") throw new Error("no good");
    stream.request.headers.set("x-word", this.config.word);
  }
}
@filter("other")
export class Other extends Filter<Config> {
  handle(stream: Stream): void { stream.reply(418, this.config.word + "\\n"); }
}`;

const here = runPlace();
let wasm: string;

beforeAll(async () => {
  wasm = buildModule(SOURCE);
});

function run(...args: string[]): Running {
  return here.start([process.execPath, CLI, "run", "--upstream", here.upstream.url, ...args]);
}

/** Until it serves: its URL and the process of its Envoy. */
async function serving(running: Running): Promise<{ url: string; envoy: number }> {
  const [, url] = await running.printed(/serving {2}(http:\/\/127\.0\.0\.1:\d+) → /);
  await running.printed(/Ctrl-C ends/);
  const envoys = descendants(running.pid).filter((pid) => commandOf(pid).endsWith("envoy"));
  expect(envoys).toHaveLength(1);
  return { url: url!, envoy: envoys[0]! };
}

function takePort(): Promise<{ server: Server; port: number }> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => resolve({ server, port: (server.address() as AddressInfo).port }));
  });
}

describe("run", () => {
  test("serves TypeScript through Envoy with readable logs and an access log", async () => {
    writeFileSync(here.place.file("talker.ts"), SOURCE);
    const running = run("talker.ts", "--filter", "talker", "--config", '{"word":"hi"}', "--port", "0");
    const { url } = await serving(running);
    const answer = await send(`${url}/warn`);
    expect(JSON.parse(answer.text).headers["x-word"]).toBe("hi");
    expect((await send(`${url}/fault`)).status).toBe(500);
    await running.printed(/^200 {6}GET \/warn {2}\d+ ms$/m);
    await running.printed(/^500 {6}GET \/fault {2}\d+ ms, envoyscript_fault$/m);
    running.kill("SIGINT");
    const { code, stdout, stderr } = await running.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^info {5}word hi$/m);
    expect(stdout).toMatch(/^warning {2}take care$/m);
    expect(stdout).toMatch(/^error {4}filter "talker" failed: no good \(talker\.ts:10:\d+\); the stream is answered with 500$/m);
    // Of Envoy's own chatter nothing.
    expect(stdout).not.toMatch(/wasm log|\[info\]|a detail/);
  });

  test.each<NodeJS.Signals>(["SIGINT", "SIGTERM", "SIGHUP"])("%s ends it cleanly", async (signal) => {
    const running = run(wasm, "--filter", "talker", "--port", "0", "--log-level", "debug");
    const { url, envoy } = await serving(running);
    await send(url);
    await running.printed(/^debug {4}a detail$/m);
    await running.printed(/^info {5}word default$/m);
    running.kill(signal);
    expect(await running.ended).toMatchObject({ code: 0, signal: null, stderr: "" });
    expect(isAlive(envoy)).toBe(false);
    expect(here.place.left()).toEqual([]);
  });

  test("a reader that goes away ends it cleanly", async () => {
    const running = run(wasm, "--filter", "talker", "--port", "0");
    const { url, envoy } = await serving(running);
    running.closeOutput();
    // The request makes it write; whether the answer or Envoy's end comes first is open.
    await send(url).catch(() => {});
    expect(await running.ended).toMatchObject({ code: 0, stderr: "" });
    expect(isAlive(envoy)).toBe(false);
  });

  test("takes one filter of several, and both ports", async () => {
    const ports = await Promise.all([takePort(), takePort()]);
    await Promise.all(ports.map(({ server }) => new Promise((resolve) => server.close(resolve))));
    const [{ port }, { port: admin }] = ports;
    const running = run(wasm, "--filter", "other", "--port", String(port), "--admin-port", String(admin));
    const { url } = await serving(running);
    expect(url).toBe(`http://127.0.0.1:${port}`);
    expect(await send(url)).toMatchObject({ status: 418, text: "default\n" });
    expect((await send(`http://127.0.0.1:${admin}/ready`)).text).toBe("LIVE\n");
  });

  test("says which cluster has no address", async () => {
    const auth = buildModule("guest/examples/auth.ts");
    const running = run(auth, "--config", '{"cluster":"who"}', "--port", "0");
    const { url } = await serving(running);
    await running.printed(/^the filter calls cluster "who", which has no address: add --cluster who=http:\/\/host:port$/m);
    expect((await send(url)).status).toBe(503);
    await running.printed(/^warning {2}the auth service did not answer: .*who/m);
  });

  test("a cluster that is given an address is called there", async () => {
    const service = await startServer((request, response) => void response.end(request.headers.authorization));
    try {
      const running = run(buildModule("guest/examples/auth.ts"), "--config", '{"cluster":"who"}', "--cluster", `who=${service.url}`, "--port", "0");
      const { url } = await serving(running);
      const answer = await send(url, { headers: { authorization: "eve" } });
      expect(JSON.parse(answer.text).headers["x-user"]).toBe("eve");
      running.kill("SIGINT");
      expect(await running.ended).toMatchObject({ code: 0, stderr: "" });
    } finally {
      await service.close();
    }
  });
});

describe("what goes wrong is one line with Envoy's own reason, and code 1", () => {
  async function failure(running: Running): Promise<string> {
    const { code, stderr, stdout } = await running.ended;
    expect(code).toBe(1);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stdout.replace(/^(serving|admin|info|error|500) .*\n/gm, "")).toBe("");
    expect(descendants(running.pid)).toEqual([]);
    expect(here.place.left()).toEqual([]);
    return stderr.trimEnd();
  }

  test("the port is in use", async () => {
    const { server, port } = await takePort();
    try {
      expect(await failure(run(wasm, "--filter", "talker", "--port", String(port)))).toBe(
        `envoyscript: Envoy did not start: cannot bind '127.0.0.1:${port}': Address already in use; choose another port with --port`,
      );
    } finally {
      server.close();
    }
  });

  test("the port is in use by another Envoy of the same user", async () => {
    const first = run(wasm, "--filter", "talker", "--port", "0");
    const { url } = await serving(first);
    expect(await second(new URL(url).port)).toContain("Address already in use");

    async function second(port: string): Promise<string> {
      const { code, stderr } = await run(wasm, "--filter", "talker", "--port", port).ended;
      expect(code).toBe(1);
      return stderr;
    }
  });

  test("Envoy refuses the module", async () => {
    // A module without an ABI marker.
    writeFileSync(here.place.file("empty.wasm"), Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
    expect(await failure(run("empty.wasm", "--port", "0"))).toMatch(/^envoyscript: Envoy did not start: .*(Wasm|plugin|ABI)/i);
  });

  test("Envoy dies", async () => {
    const running = run(wasm, "--filter", "talker", "--port", "0");
    const { url, envoy } = await serving(running);
    // An error of a request is no reason to die.
    await send(`${url}/fault`);
    await running.printed(/^error /m);
    process.kill(envoy, "SIGKILL");
    expect(await failure(running)).toBe("envoyscript: Envoy ended: killed by SIGKILL");
  });

  test("there is no Envoy where ENVOY_BIN points", async () => {
    const running = here.start([process.execPath, CLI, "run", wasm, "--filter", "talker", "--upstream", here.upstream.url], {
      env: { ENVOY_BIN: "/nowhere/envoy" },
    });
    expect(await failure(running)).toBe("envoyscript: ENVOY_BIN is /nowhere/envoy, which is no executable file");
  });
});
