// Faults while a filter is configured: Envoy refuses the configuration and says why.
import { expect, test } from "vitest";
import { startTestEnvoy } from "../harness/envoy.js";
import { FAULTS, KINDS, lineOf } from "./kinds.js";

const FILTER = `
import { Filter, Stream, StreamFilter, filter } from "envoyscript-sdk";
${FAULTS}
class Config {
  kind: i32 = -1;
  place: string = "";
}
@filter("faulty")
export class Faulty extends Filter<Config> {
  fromField: i32 = failIn("field", this.config);
  helper: Helper = new Helper(this.config);
  handle(stream: Stream): void {}
}
class Helper {
  constructor(config: Config) {
    failIn("constructor", config);
  }
}
function failIn(place: string, config: Config): i32 {
  if (config.place == place) fail(config.kind);
  return 1;
}
`;

const options = { filter: FILTER, memory: 8 * 1024 * 1024, budget: 200_000 };

for (const place of ["field", "constructor"]) {
  test.each(KINDS.map((kind, i) => ({ ...kind, i })))(`$name in a ${place} is a configuration that Envoy refuses`, async ({ i, message }) => {
    const line = lineOf(FILTER, i);
    const refused = startTestEnvoy({ ...options, config: { kind: i, place } }).then(async (envoy) => {
      await envoy.close();
      return "it started";
    });
    const error = await refused.catch((reason: Error) => reason.message);
    expect(error).toContain('configuration refused: filter "faulty" failed while it was configured: ');
    expect(error).toMatch(message);
    expect(error).toMatch(line === undefined ? /\(filter\.ts:\d+:\d+\)/ : new RegExp(`\\(filter\\.ts:${line}:\\d+\\)`));
  });
}

test("without a fault the same filter starts", async () => {
  const envoy = await startTestEnvoy({ ...options, config: { kind: -1, place: "field" } });
  await envoy.close();
});
