// What the tests of `envoyscript run` share: a place, an upstream that tells what it got, and an end to what they start.
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { echo, startServer, type TestServer } from "../harness/envoy.js";
import { buildCli, Place, type Running } from "./command.js";

export interface RunPlace {
  /** Both are there when the file's own `beforeAll` runs. */
  readonly place: Place;
  readonly upstream: TestServer;
  /** Starts a command that ends with its test at the latest. */
  start: Place["start"];
}

/** Registers its hooks with vitest: what a test has started gets Ctrl-C after it, and has to leave no temporary files. */
export function runPlace(): RunPlace {
  let place: Place;
  let upstream: TestServer;
  let started: Running[] = [];
  beforeAll(async () => {
    buildCli();
    place = new Place((await findEnvoy()).path);
    upstream = await startServer(echo);
  });
  afterEach(async () => {
    for (const one of started) one.kill("SIGINT");
    await Promise.all(started.map((one) => one.ended));
    started = [];
    expect(place.left(), "temporary files").toEqual([]);
  });
  afterAll(async () => {
    await upstream.close();
    place.close();
  });
  return {
    get place() {
      return place;
    },
    get upstream() {
      return upstream;
    },
    start(...command) {
      const running = place.start(...command);
      started.push(running);
      return running;
    },
  };
}
