// mount(): the same tests on the Node engine and on a real Envoy.
import path from "node:path";
import { describe, expect, test } from "vitest";
import { mount } from "../../host/testing/index.js";

const example = (name: string) => path.resolve(import.meta.dirname, `../../guest/examples/${name}.ts`);

describe.each(["node", "envoy"] as const)("on the %s engine", (engine) => {
  test("a filter changes headers on their way to the upstream and back", async () => {
    const envoy = await mount(example("headers"), {
      engine,
      config: { greeting: "hello" },
      clusters: { upstream: (request) => Response.json(Object.fromEntries(request.headers)) },
    });
    const response = await envoy.fetch("/x");
    expect(response.status).toBe(200);
    console.log(await response.json(), [...response.headers], envoy.requests("upstream").length);
    await envoy.settled();
    console.log(envoy.streams, envoy.logs.length);
    await envoy.close();
  });
});
