import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { send } from "../harness/client.js";
import { type TestEnvoy, startTestEnvoy } from "../harness/envoy.js";

describe("headers of request and response", () => {
  let envoy: TestEnvoy;
  beforeAll(async () => {
    envoy = await startTestEnvoy({
      filter: `
        import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
        @filter("headers")
        export class Headers1 extends Filter<NoConfig> {
          handle(stream: Stream): void {
            const request = stream.request;
            request.headers.set("x-path", request.path);
            request.headers.set("x-seen", request.headers.getAll("x-multi").join("|"));
            stream.next();
            stream.response.headers.set("x-late", request.method + " " + request.host);
            stream.response.headers.set("x-status", stream.response.status.toString());
          }
        }`,
    });
  });
  afterAll(() => envoy.close());

  test("are read and written in both directions, and the request can be read after next()", async () => {
    const answer = await send(`${envoy.url}/a?b=c`, { headers: { "x-multi": ["1", "2"] } });
    expect(answer.status).toBe(200);
    const seen = JSON.parse(answer.text);
    expect(seen.headers["x-path"]).toBe("/a?b=c");
    expect(seen.headers["x-seen"]).toBe("1|2");
    expect(answer.headers["x-late"]).toBe(`GET 127.0.0.1:${envoy.port}`);
    expect(answer.headers["x-status"]).toBe("200");
  });
});
