// `npm start`: what a reader sees, that it ends cleanly however it ends, and what it does on a fresh machine.
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { send } from "../harness/client.js";
import { buildCli, CLI, commandOf, descendants, isAlive, Place, ROOT, type Running } from "./command.js";

let place: Place;
let envoy: string;
let started: Running[] = [];

beforeAll(async () => {
  buildCli();
  envoy = (await findEnvoy()).path;
  place = new Place(envoy);
  // The examples are compiled once; every later start finds them.
  expect(await start("--once").ended).toMatchObject({ code: 0 });
});
afterEach(async () => {
  for (const one of started) one.kill("SIGTERM");
  await Promise.all(started.map((one) => one.ended));
  started = [];
  expect(place.left(), "temporary files").toEqual([]);
});
afterAll(() => place.close());

function start(...args: string[]): Running {
  return startWith({}, ...args);
}

function startWith(env: Record<string, string>, ...args: string[]): Running {
  const running = place.start([process.execPath, path.join(ROOT, "start.mjs"), ...args], { env, cwd: ROOT });
  started.push(running);
  return running;
}

/** An Envoy that gets a configuration changed by a sed expression. */
function envoyWith(name: string, expression: string): string {
  const file = place.file(name);
  // $2: the file after -c.
  writeFileSync(file, `#!/bin/sh\nsed -i '${expression}' "$2"\nexec '${envoy}' "$@"\n`);
  chmodSync(file, 0o755);
  return file;
}

/** Until it is up and has shown everything. */
async function settled(running: Running): Promise<{ url: string; admin: string; processes: number[] }> {
  const [, url, admin] = await running.printed(/Envoy is up {2}(\S+) {3}admin (\S+)/);
  await running.printed(/Ctrl-C ends/);
  const processes = descendants(running.pid);
  expect(processes.some((pid) => commandOf(pid).endsWith("envoy"))).toBe(true);
  return { url: url!, admin: admin!, processes };
}

describe("npm start", () => {
  test("shows for each example what was sent, what the upstream saw and what came back, in under 5 s", async () => {
    const began = performance.now();
    const { code, stdout, stderr } = await start("--once").ended;
    const seconds = (performance.now() - began) / 1000;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(seconds).toBeLessThan(5);
    expect(stdout).not.toContain("built ");
    const row = (name: string, text: string) => `    ${name.padEnd(22)}${text}\n`;
    expect(stdout).toContain(
      `✓ guest/examples/headers.ts  reads and writes headers on both ways\n${row("sent", "GET /headers/a?b=c   user-agent: demo   x-internal: secret")}${row("upstream saw", "GET /headers/a?b=c   user-agent: demo   + x-greeting: hello, demo   − x-internal")}${row("upstream answered", "200   server-timing: db;dur=53   hello from the upstream")}${row("came back", "200   + x-served-path: /headers/a?b=c   − server-timing   hello from the upstream")}`,
    );
    expect(stdout).toContain(
      row("auth service saw", "GET /whoami   authorization: ann") +
        row("auth service answered", "200   ann") +
        row("upstream saw", "GET /auth   authorization: ann   + x-user: ann"),
    );
    expect(stdout).toContain(row("upstream saw", "nothing") + row("came back", "403   denied"));
    expect(stdout).toContain(row("came back", '200   {"user":"ann","password":"***","devices":[{"id":1,"token":"***"}]}'));
    const tenth = `${"200 ".repeat(9)}500`;
    expect(stdout).toContain(row("came back", `${tenth} ${tenth}`));
    expect(stdout).toMatch(
      /Envoy's log {11}filter "buggy" failed: Index out of range \(guest\/examples\/buggy\.ts:\d+:\d+\); the stream is answered with 500\n {4}VMs lost {14}0\n/,
    );
    expect(stdout).not.toContain("✗");
  });

  test.each<NodeJS.Signals>(["SIGINT", "SIGTERM", "SIGHUP"])("stays and serves until %s, and leaves nothing running", async (signal) => {
    const running = start("--port", "0");
    const { url, admin, processes } = await settled(running);
    expect((await send(`${url}/auth`, { headers: { authorization: "bob" } })).headers["x-served-for"]).toBe("bob");
    expect((await send(`${admin}/ready`)).text).toBe("LIVE\n");
    // A terminal sends Ctrl-C to the whole group.
    if (signal === "SIGINT") for (const pid of processes) process.kill(pid, signal);
    running.kill(signal);
    expect(await running.ended).toMatchObject({ code: 0, stderr: "" });
    expect(processes.filter(isAlive)).toEqual([]);
  });

  test("there is no Envoy: the Node engine shows the same, and says that it is not one", async () => {
    const empty = place.file("no-envoy");
    mkdirSync(empty);
    const env = { ENVOY_BIN: "", PATH: empty, XDG_CACHE_HOME: empty };
    const running = place.start([process.execPath, CLI, "demo", "--once"], { env });
    started.push(running);
    const { code, stdout, stderr } = await running.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("No Envoy: no Envoy found and no python3 to fetch one with");
    expect(stdout).toContain("the embedded engine serves, not a real Envoy (it behaves like Envoy 1.40 for filters; not for production)");
    expect(stdout).toMatch(/came back {13}200 {3}\+ x-served-path: \/headers\/a\?b=c/);
    expect(stdout).toMatch(/filter "buggy" failed: Index out of range \(\S*guest\/examples\/buggy\.ts:\d+:\d+\); the stream is answered with 500/);
    expect(stdout).not.toContain("✗");
  });

  test("the log of later requests is shown", async () => {
    const running = start("--port", "0");
    const { url } = await settled(running);
    for (let i = 0; i < 10; i++) await send(`${url}/buggy`);
    await running.printed(/^error {4}filter "buggy" failed: Index out of range/m);
  });
});

describe("what goes wrong is one line with Envoy's own reason, code 1, and nothing left running", () => {
  async function failure(running: Running): Promise<string> {
    const { code, stderr } = await running.ended;
    expect(code).toBe(1);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    return stderr.trimEnd();
  }

  test("the port is in use", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const { port } = server.address() as AddressInfo;
    try {
      expect(await failure(start("--once", "--port", String(port)))).toBe(
        `envoyscript: Envoy did not start: cannot bind '127.0.0.1:${port}': Address already in use; choose another port with --port`,
      );
    } finally {
      server.close();
    }
  });

  test("another npm start has the port", async () => {
    const first = start("--port", "0");
    const { url } = await settled(first);
    expect(await failure(start("--port", new URL(url).port))).toContain("Address already in use; choose another port");
  });

  test("Envoy refuses the configuration", async () => {
    const refusing = envoyWith("refusing", 's/\\\\"cluster\\\\":/\\\\"clutter\\\\":/');
    expect(await failure(startWith({ ENVOY_BIN: refusing }, "--once"))).toMatch(
      /^envoyscript: Envoy did not start: configuration refused: auth\.clutter: there is no such field \(fields: cluster, header\)/,
    );
  });

  test("Envoy dies", async () => {
    const running = start("--port", "0");
    const { processes } = await settled(running);
    process.kill(processes.find((pid) => commandOf(pid).endsWith("envoy"))!, "SIGKILL");
    expect(await failure(running)).toBe("envoyscript: Envoy ended: killed by SIGKILL");
    expect(processes.filter(isAlive)).toEqual([]);
  });

  test("an example does not do what it should", async () => {
    const blind = envoyWith("blind", 's/\\\\"password\\\\"/\\\\"passport\\\\"/');
    const running = startWith({ ENVOY_BIN: blind }, "--once");
    expect(await failure(running)).toBe("envoyscript: an example did not do what it should (see ✗ above)");
    const { stdout } = await running.ended;
    expect(stdout).toContain("✗ guest/examples/mask.ts");
    expect(stdout.match(/✓/g)).toHaveLength(4);
  });

  test("Node is too old", async () => {
    const older = `--import=data:text/javascript,${encodeURIComponent('Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.18.3" } })')}`;
    expect(await failure(startWith({ NODE_OPTIONS: older }))).toBe("npm start: Node 20.18.3 is too old; install 20.19 or later");
  });
});

describe("on a fresh machine", () => {
  /** start.mjs with its set-up, where npm, the build and the command line only say that they ran. */
  function fresh(name: string, npmExit = 0): { directory: string; begin(): Promise<{ code: number | null; stdout: string; stderr: string }> } {
    const directory = place.file(name);
    mkdirSync(path.join(directory, "host"), { recursive: true });
    cpSync(path.join(ROOT, "start.mjs"), path.join(directory, "start.mjs"));
    cpSync(path.join(ROOT, "host/setup.mjs"), path.join(directory, "host/setup.mjs"));
    writeFileSync(path.join(directory, "package-lock.json"), "{}");
    writeFileSync(path.join(directory, "package.json"), '{"type":"module"}');
    const npm = path.join(directory, "npm-cli.js");
    writeFileSync(
      npm,
      `import { mkdirSync, writeFileSync } from "node:fs"; console.log("npm " + process.argv.slice(2).join(" ")); if (${npmExit}) process.exit(${npmExit}); mkdirSync("node_modules", { recursive: true }); writeFileSync("node_modules/.package-lock.json", "{}");`,
    );
    writeFileSync(
      path.join(directory, "host/build.mjs"),
      `import { mkdirSync, writeFileSync } from "node:fs"; console.log("build"); mkdirSync("host/dist", { recursive: true }); writeFileSync("host/dist/envoyscript.mjs", "console.log('cli ' + process.argv.slice(2).join(' ')); process.exitCode = 7");`,
    );
    return {
      directory,
      begin: () => place.start([process.execPath, path.join(directory, "start.mjs"), "--once"], { env: { npm_execpath: npm }, cwd: directory }).ended,
    };
  }

  test("start.mjs and what it loads use nothing but Node", () => {
    for (const file of ["start.mjs", "host/setup.mjs"]) {
      const imports = [...readFileSync(path.join(ROOT, file), "utf8").matchAll(/^import .* from "([^"]+)";$/gm)].map(([, from]) => from);
      expect(imports.length).toBeGreaterThan(0);
      for (const from of imports) expect(from).toMatch(/^(node:|\.\/host\/setup\.mjs$)/);
    }
  });

  test("it installs and builds once, and again when the lock file or a source is newer", async () => {
    const { directory, begin } = fresh("fresh");
    const later = (file: string, seconds: number) => utimesSync(path.join(directory, file), new Date(), new Date(Date.now() + seconds * 1000));
    const first = await begin();
    expect(first.stdout).toBe("installing packages (once) …\nnpm ci --include=dev --no-audit --no-fund --loglevel=error\nbuild\ncli demo --once\n");
    expect(first.code).toBe(7);
    later("host/dist/envoyscript.mjs", 5);
    later("node_modules/.package-lock.json", 5);
    expect((await begin()).stdout).toBe("cli demo --once\n");
    later("host/setup.mjs", 10);
    expect((await begin()).stdout).toBe("build\ncli demo --once\n");
    later("host/dist/envoyscript.mjs", 15);
    later("package-lock.json", 20);
    expect((await begin()).stdout).toContain("npm ci");
  });

  test("an installation that fails is one line and code 1", async () => {
    const { directory, begin } = fresh("failing", 3);
    const { code, stderr } = await begin();
    expect({ code, stderr }).toEqual({ code: 1, stderr: "npm start: npm ci failed: its own messages are above\n" });
    expect(existsSync(path.join(directory, "host/dist"))).toBe(false);
  });
});
