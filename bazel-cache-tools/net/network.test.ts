// Proxies, TLS and passwords on real sockets.

import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { guarded, ranged, redirect, stalled, whole } from "../test/flaky/behaviours.js";
import { type Bench, failuresOf, isFile, openBench, randomFile, sha256 } from "../test/flaky/bench.js";
import { CERTIFICATE } from "../test/flaky/certificate.js";
import { startProxy, startSocks, type TestProxy, type TestProxyOptions } from "../test/flaky/proxy.js";
import { listen, refusedPort } from "../test/flaky/server.js";
import { openConnections } from "./index.js";

const file = randomFile(100_000);
const digest = sha256(file);
let plain: Bench;
let secure: Bench;
let trust: { SSL_CERT_FILE: string };
const proxies: TestProxy[] = [];

beforeEach(async () => {
  plain = await openBench();
  secure = await openBench({ tls: true });
  trust = { SSL_CERT_FILE: join(secure.directory, "ca.pem") };
  await writeFile(trust.SSL_CERT_FILE, CERTIFICATE);
});
afterEach(async () => {
  // No socket outlives its transfer, whatever became of it.
  await Promise.all([plain.server.idle(), secure.server.idle()]);
  for (const proxy of proxies.splice(0)) await proxy.close();
  await plain.close();
  await secure.close();
});

async function proxy(options: Partial<TestProxyOptions> & { password?: string } = {}, start = startProxy): Promise<TestProxy> {
  const started = await start({ target: plain.server.port, ...options });
  proxies.push(started);
  return started;
}

describe("TLS", () => {
  test("with a certificate that is trusted", async () => {
    const url = secure.server.serve("/a", ranged(file, { etag: '"1"', cut: 70_000 }));
    expect(await isFile(await secure.get(url, digest, { env: trust }), file)).toBe(true);
  });

  test("with one that is not: one more try, and what to do", async () => {
    const failures = failuresOf(await secure.get(secure.server.serve("/a", whole(file)), digest));
    expect(failures).toMatchObject([{ kind: "tls", message: expect.stringMatching(/self-signed certificate .*2 tries.*SSL_CERT_FILE/) }]);
    expect(secure.server.connections).toBe(2);
    expect(secure.server.requests).toHaveLength(0);
  });

  test("with one of another host", async () => {
    secure.server.serve("/a", whole(file));
    const through = await proxy({ target: secure.server.port });
    const failures = failuresOf(await secure.get("https://elsewhere.example/a", digest, { env: { ...trust, https_proxy: `127.0.0.1:${through.port}` } }));
    expect(failures).toMatchObject([{ kind: "tls" }]);
  });

  test("towards a server that does not speak it", async () => {
    const failures = failuresOf(await plain.get(plain.server.url.replace("http:", "https:"), digest));
    expect(failures).toMatchObject([{ kind: "tls" }]);
  });

  test("that never comes about", async () => {
    const mute = createServer((socket) => socket.resume().on("error", () => undefined));
    const port = await listen(mute);
    const failures = failuresOf(await plain.get(`https://127.0.0.1:${port}/`, digest, { attempts: 2, connectTimeout: 50 }));
    expect(failures).toMatchObject([{ kind: "connect-timeout", message: expect.stringContaining("0.05 s") }]);
    await new Promise((resolve) => mute.close(resolve));
  });

  test("a step down to http needs a digest", async () => {
    const url = secure.server.serve("/a", redirect(plain.server.serve("/b", whole(file))));
    expect(failuresOf(await secure.get(url, undefined, { env: trust }))).toMatchObject([{ kind: "redirects" }]);
    expect(plain.server.requests).toHaveLength(0);
    expect(await isFile(await secure.get(url, digest, { env: trust }), file)).toBe(true);
  });
});

describe("a proxy", () => {
  test("gets whole URLs for http, and its password", async () => {
    const { port, seen, authorizations } = await proxy();
    plain.server.serve("/a?b", ranged(file, { etag: '"1"', cut: 70_000 }));
    const result = await plain.get("http://files.example/a?b", digest, { env: { http_proxy: `http://me:p%40ss@127.0.0.1:${port}` } });
    expect(await isFile(result, file)).toBe(true);
    expect(seen).toEqual(Array(2).fill("GET http://files.example/a?b"));
    expect(authorizations[0]).toBe(`Basic ${Buffer.from("me:p@ss").toString("base64")}`);
    expect(plain.server.requests[0]!.headers.host).toBe("files.example");
  });

  test("is asked for a tunnel for https", async () => {
    const { port, seen, authorizations } = await proxy({ target: secure.server.port });
    secure.server.serve("/a", whole(file));
    const env = { ...trust, https_proxy: `http://me:pw@127.0.0.1:${port}` };
    expect(await isFile(await secure.get("https://files.example/a", digest, { env }), file)).toBe(true);
    expect(seen).toEqual(["CONNECT files.example:443"]);
    expect(authorizations[0]).toBe(`Basic ${Buffer.from("me:pw").toString("base64")}`);
    expect(secure.server.requests[0]!.headers).not.toHaveProperty("proxy-authorization");
  });

  test.each([undefined, "pw"])("of SOCKS gets the name of the host (password: %s)", async (password) => {
    const { port, seen, authorizations } = await proxy(password ? { password } : {}, startSocks);
    plain.server.serve("/a", whole(file));
    const env = { ALL_PROXY: `socks5h://${password ? "me:pw@" : ""}127.0.0.1:${port}` };
    expect(await isFile(await plain.get("http://files.example/a", digest, { env }), file)).toBe(true);
    expect(seen).toEqual(["files.example:80"]);
    expect(authorizations).toEqual(password ? ["me:pw"] : []);
  });

  test("of SOCKS carries TLS", async () => {
    const { port, seen } = await proxy({ target: secure.server.port }, startSocks);
    secure.server.serve("/a", whole(file));
    expect(await isFile(await secure.get("https://127.0.0.1:4433/a", digest, { env: { ...trust, all_proxy: `socks5://127.0.0.1:${port}` } }), file)).toBe(true);
    expect(seen).toEqual(["127.0.0.1:4433"]);
  });

  test("is passed by for hosts of NO_PROXY", async () => {
    const env = { http_proxy: `http://127.0.0.1:${await refusedPort()}`, NO_PROXY: "127.0.0.0/8" };
    expect(await isFile(await plain.get(plain.server.serve("/a", whole(file)), digest, { env }), file)).toBe(true);
  });

  test("is named in failures, its password is not", async () => {
    const port = await refusedPort();
    const env = { http_proxy: `http://me:secret@127.0.0.1:${port}`, https_proxy: `http://me:secret@127.0.0.1:${port}`, no_proxy: "" };
    for (const scheme of ["http", "https"]) {
      const [failure] = failuresOf(await plain.get(`${scheme}://files.example/a`, digest, { env }));
      expect(failure).toMatchObject({ kind: "refused", message: expect.stringContaining(`through the proxy 127.0.0.1:${port}`) });
      expect(JSON.stringify([failure, plain.events])).not.toContain("secret");
    }
  });

  test.each([
    [407, "proxy", 1],
    [403, "proxy", 3],
    [502, "proxy", 3],
  ])("that refuses a tunnel with %i", async (refuse, kind, tries) => {
    const { port, seen } = await proxy({ refuse });
    const [failure] = failuresOf(await plain.get("https://files.example/a", digest, { env: { https_proxy: `127.0.0.1:${port}` } }));
    expect(failure).toMatchObject({ kind, status: refuse, message: expect.stringContaining(`127.0.0.1:${port}`) });
    expect(seen).toHaveLength(tries);
  });

  test("that wants a password for http", async () => {
    const { port } = await proxy({ refuse: 407 });
    const failures = failuresOf(await plain.get("http://files.example/a", digest, { env: { http_proxy: `127.0.0.1:${port}` } }));
    expect(failures).toMatchObject([{ kind: "status", status: 407, message: expect.stringContaining("user:password@") }]);
  });

  test.each([
    [5, "refused"],
    [4, "unreachable"],
    [2, "proxy"],
  ])("of SOCKS that says %i", async (refuse, kind) => {
    const { port } = await proxy({ refuse }, startSocks);
    expect(failuresOf(await plain.get("http://files.example/a", digest, { env: { all_proxy: `socks5://127.0.0.1:${port}` } }))).toMatchObject([{ kind }]);
  });

  test("of SOCKS with the wrong password", async () => {
    const { port, idle } = await proxy({ password: "other" }, startSocks);
    const env = { all_proxy: `socks5://me:secret@127.0.0.1:${port}` };
    const connections = await openConnections(env);
    const failures = failuresOf(await plain.get("http://files.example/a", digest, { env, connections }));
    expect(failures).toMatchObject([{ kind: "proxy", message: expect.not.stringContaining("secret") }]);
    await idle();
    connections.close();
  });

  test("that never answers is left in time where connections are shared", async () => {
    for (const start of [startProxy, startSocks]) {
      const mute = await proxy({ silent: true }, start);
      const env = { https_proxy: `${start === startSocks ? "socks5" : "http"}://127.0.0.1:${mute.port}` };
      const connections = await openConnections(env, 50);
      const options = { env, connections, attempts: 1, connectTimeout: 5000 };
      expect(failuresOf(await plain.get("https://files.example/a", digest, options))).toMatchObject([{ kind: "connect-timeout" }]);
      await mute.idle();
      connections.close();
    }
  });

  test.each([
    ["http", startProxy, "http"],
    ["https", startProxy, "http"],
    ["http", startSocks, "socks5"],
  ])("that never answers (%s)", async (scheme, start, kind) => {
    const { port } = await proxy({ silent: true }, start);
    const address = `${kind}://127.0.0.1:${port}`;
    const failures = failuresOf(
      await plain.get(`${scheme}://files.example/a`, digest, {
        env: { http_proxy: address, https_proxy: address },
        attempts: 1,
        connectTimeout: 50,
        stallTimeout: 50,
      }),
    );
    expect(failures).toMatchObject([{ kind: expect.stringMatching(/^(stalled|connect-timeout)$/), message: expect.stringContaining(`${port}`) }]);
  });

  test("that is no URL", async () => {
    expect(failuresOf(await plain.get("http://files.example/a", digest, { env: { http_proxy: "ftp://x:secret@y" } }))).toMatchObject([
      { kind: "proxy", message: expect.not.stringContaining("secret") },
    ]);
  });
});

describe("passwords", () => {
  test("come from the URL before netrc", async () => {
    const netrc = join(plain.directory, "netrc");
    await writeFile(netrc, "machine 127.0.0.1 login me password fromnetrc");
    const url = plain.server.serve("/a", guarded("me", "fromurl", whole(file)));
    const named = url.replace("http://", "http://me:fromurl@");
    const env = { NETRC: netrc };
    expect(await isFile(await plain.get(named, digest, { env }), file)).toBe(true);
    const [failure] = failuresOf(await plain.get(url, digest, { env }));
    expect(failure).toMatchObject({ kind: "status", status: 401, message: expect.stringContaining("netrc") });
    plain.server.serve("/a", guarded("me", "fromnetrc", whole(file)));
    expect(await isFile(await plain.get(url, digest, { env }), file)).toBe(true);
    const [wrong] = failuresOf(await plain.get(named, digest, { env }));
    expect(JSON.stringify([wrong, plain.events])).not.toMatch(/fromurl|fromnetrc/);
  });

  test("are read from ~/.netrc", async () => {
    await writeFile(join(plain.directory, ".netrc"), "default login me password pw");
    expect(await isFile(await plain.get(plain.server.serve("/a", guarded("me", "pw", whole(file))), digest, { env: { HOME: plain.directory } }), file)).toBe(
      true,
    );
  });

  test("do not follow a redirect to another host", async () => {
    const other = await openBench();
    const target = other.server.serve("/b", whole(file)).replace("127.0.0.1", "localhost");
    const url = plain.server.serve("/a", redirect(target)).replace("http://", "http://me:pw@");
    expect(await isFile(await plain.get(url, digest), file)).toBe(true);
    expect(plain.server.requests[0]!.headers).toHaveProperty("authorization");
    expect(other.server.requests[0]!.headers).not.toHaveProperty("authorization");
    await other.close();
  });
});

test("an interrupted tunnel leaves no socket", async () => {
  const { port } = await proxy({ target: secure.server.port });
  const abort = new AbortController();
  secure.server.serve("/a", stalled(file, 50_000));
  const result = await secure.get("https://files.example/a", digest, {
    env: { ...trust, https_proxy: `127.0.0.1:${port}` },
    signal: abort.signal,
    progress: ({ type }) => void (type === "bytes" && abort.abort()),
  });
  expect(failuresOf(result)).toMatchObject([{ kind: "aborted" }]);
});

test("a tunnel that is still being built ends with its transfer", async () => {
  for (const start of [startProxy, startSocks]) {
    const mute = await proxy({ silent: true }, start);
    const abort = new AbortController();
    const env = { https_proxy: `${start === startSocks ? "socks5" : "http"}://127.0.0.1:${mute.port}` };
    const running = plain.get("https://files.example/a", digest, { env, signal: abort.signal });
    await mute.connected();
    abort.abort();
    expect(failuresOf(await running)).toMatchObject([{ kind: "aborted" }]);
    await mute.idle();
  }
});
