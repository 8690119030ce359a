// Faults in a chain of linear filters: only the faulty stream ends, and the filters before the faulty one see its answer as they see any other.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";
import { load, until } from "./load.js";

let envoy: TestEnvoy;
beforeAll(async () => {
  envoy = await startTestEnvoy({
    filter: `
      import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
      function failAt(stream: Stream, place: string): void {
        const wanted = stream.request.headers.get("x-fail");
        if (wanted !== null && wanted == place) throw new Error("at " + place);
      }
      @filter("outer")
      export class Outer extends Filter<NoConfig> {
        handle(stream: Stream): void {
          failAt(stream, "outer-before");
          stream.next();
          stream.response.headers.set("x-outer", stream.response.status.toString());
          failAt(stream, "outer-response");
        }
      }
      @filter("middle")
      export class Middle extends Filter<NoConfig> {
        handle(stream: Stream): void {
          failAt(stream, "middle-before");
          stream.fetch("auth", "/");
          failAt(stream, "middle-after");
          stream.next();
          failAt(stream, "middle-response");
          stream.response.text();
          failAt(stream, "middle-response-body");
        }
      }
      @filter("inner")
      export class Inner extends Filter<NoConfig> {
        handle(stream: Stream): void {
          failAt(stream, "inner-before");
          const text = stream.request.text();
          failAt(stream, "inner-body");
          stream.next();
          stream.response.headers.set("x-inner", text.length.toString());
          failAt(stream, "inner-response");
        }
      }`,
    config: { filters: [{ name: "outer" }, { name: "middle" }, { name: "inner" }] },
    clusters: { auth: (_, response) => void response.end("auth") },
  });
});
afterAll(() => envoy.close());

// In the request the reply passes the filters before the faulty one; in the response it takes the response's place and passes none (facts/envoy-verified.md 6).
const PLACES: [string, string | undefined][] = [
  ["outer-before", undefined],
  ["middle-before", "500"],
  ["middle-after", "500"],
  ["inner-before", "500"],
  ["inner-body", "500"],
  ["inner-response", undefined],
  ["middle-response", undefined],
  ["middle-response-body", undefined],
  ["outer-response", undefined],
];

test("every filter's faults stay in their streams", async () => {
  const created = await envoy.stat("wasm.envoy.wasm.runtime.v8.created");
  const place = (i: number) => PLACES[Math.floor(i / 5) % PLACES.length]!;
  const answers = await load(envoy.url, 1800, (i) => ({ path: `/${i}`, body: ["abc", "def"], headers: i % 5 === 0 ? { "x-fail": place(i)[0] } : {} }));
  for (const [i, answer] of answers.entries()) {
    if (i % 5 === 0) expect([place(i)[0], answer.status, answer.text, answer.headers["x-outer"]]).toEqual([place(i)[0], 500, "", place(i)[1]]);
    else expect([i, answer.status, JSON.parse(answer.text).body, answer.headers["x-outer"], answer.headers["x-inner"]]).toEqual([i, 200, "abcdef", "200", "6"]);
  }
  await until(() => envoy.logs.length >= 360);
  for (const [name] of PLACES)
    expect(envoy.logs.filter((line) => line.includes(`filter "${name.split("-")[0]}" failed: at ${name} (filter.ts:`)).length).toBe(40);
  expect(await envoy.stat("wasm.envoy.wasm.runtime.v8.created")).toBe(created);
});
