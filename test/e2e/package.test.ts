// The package as somebody gets it from npm: `envoyscript/testing` with its types, in a project of its own.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { ROOT } from "./command.js";

const project = mkdtempSync(path.join(tmpdir(), "envoyscript-package-"));
const modules = path.join(project, "node_modules");
afterAll(() => rmSync(project, { recursive: true, force: true }));

const FILTER = `import { Filter, Stream, cluster, filter, required } from "envoyscript-sdk";

class Config { @required @cluster auth: string = ""; }

@filter("who")
export class Who extends Filter<Config> {
  handle(stream: Stream): void {
    const user = stream.fetch(this.config.auth, "/whoami", stream.request.headers.pick(["authorization"]));
    if (!user.ok) return stream.reply(403, "denied\\n");
    stream.request.headers.set("x-user", user.text());
    stream.next();
  }
}
`;

const TEST = `import { mount } from "envoyscript/testing";
import { expect, test } from "vitest";

test("asks who it is", { timeout: 60_000 }, async () => {
  const envoy = await mount(new URL("who.ts", import.meta.url).pathname, {
    config: { auth: "auth" },
    clusters: {
      auth: (request) => new Response(request.headers.get("authorization") === "t" ? "ann" : "", { status: 200 }),
      upstream: (request) => Response.json({ seen: request.headers.get("x-user") }),
    },
  });
  const response = await envoy.fetch("/hello", { headers: { authorization: "t" } });
  expect(await response.json()).toEqual({ seen: "ann" });
  await envoy.settled();
  const { status }: { status: number } = envoy.streams[0]!;
  expect(status).toBe(200);
  // @ts-expect-error: there is no such option.
  const wrong: Parameters<typeof mount>[1] = { cluster: {} };
  expect(wrong).toBeDefined();
  await envoy.close();
});
`;

beforeAll(async () => {
  mkdirSync(path.join(modules, "envoyscript"), { recursive: true });
  execFileSync(process.execPath, [path.join(ROOT, "host/build.mjs"), "--types"]);
  // npm is the one that runs the tests, or the one on PATH.
  const npm = process.env.npm_execpath?.endsWith("npm-cli.js") ? [process.execPath, process.env.npm_execpath] : ["npm"];
  const pack = [...npm, "pack", "-w", "host", "--ignore-scripts", "--json", "--pack-destination", project];
  const [{ filename }] = JSON.parse(execFileSync(pack[0]!, pack.slice(1), { cwd: ROOT, encoding: "utf8" })) as [{ filename: string }];
  execFileSync("tar", ["-xzf", path.join(project, filename), "--strip-components=1", "-C", path.join(modules, "envoyscript")]);
  for (const name of readdirSync(path.join(ROOT, "node_modules")))
    if (name !== "envoyscript" && !name.startsWith(".cache")) symlinkSync(path.join(ROOT, "node_modules", name), path.join(modules, name));
  writeFileSync(path.join(project, "package.json"), '{ "type": "module" }');
  writeFileSync(path.join(project, "who.ts"), FILTER);
  writeFileSync(path.join(project, "who.test.ts"), TEST);
});

test("its types are there", () => {
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--lib", "es2023,dom", "--types", "node", "--skipLibCheck"];
  const tsc = path.join(ROOT, "node_modules/typescript/bin/tsc");
  const { stdout } = spawnSync(process.execPath, [tsc, ...options, "who.test.ts"], { cwd: project, encoding: "utf8" });
  expect(stdout).toBe("");
});

test.each(["node", "envoy", "both"])("its test passes on: %s", async (engine) => {
  const env = { ...process.env, ENVOYSCRIPT_ENGINE: engine, ENVOY_BIN: (await findEnvoy()).path, NO_COLOR: "1" };
  const vitest = path.join(ROOT, "node_modules/vitest/vitest.mjs");
  const { stdout, stderr, status } = spawnSync(process.execPath, [vitest, "run", "--root", project], { cwd: project, env, encoding: "utf8" });
  expect(`${stdout}\n${stderr}`).toMatch(/Tests {2}1 passed/);
  expect(status).toBe(0);
});
