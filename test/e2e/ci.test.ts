// .ci/run counts what the tests said, and a runner that breaks down as a failure.
import { chmodSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findEnvoy } from "../../host/envoy/find.js";
import { Place, ROOT } from "./command.js";

let place: Place;
let bin: string;

beforeAll(async () => {
  place = new Place((await findEnvoy()).path);
  bin = place.file("bin");
  mkdirSync(place.file(".ci"));
  mkdirSync(bin);
  cpSync(path.join(ROOT, ".ci/run"), place.file(".ci/run"));
});
afterAll(() => place.close());

/** Runs it where `npm test` writes a report and ends with a code. */
function ci(report: object | string | undefined, code: number) {
  const text = report === undefined ? "" : typeof report === "string" ? report : JSON.stringify(report);
  writeFileSync(place.file("report"), text);
  const write =
    report === undefined ? "" : `for argument; do case $argument in --outputFile.json=*) cp '${place.file("report")}' "\${argument#*=}";; esac; done\n`;
  writeFileSync(path.join(bin, "npm"), `#!/bin/sh\necho "npm $1"\n${write}exit ${code}\n`);
  chmodSync(path.join(bin, "npm"), 0o755);
  return place.start(["bash", place.file(".ci/run")], { env: { PATH: `${bin}:${process.env.PATH}` } }).ended;
}

const file = (status: string, ...tests: string[]) => ({ status, assertionResults: tests.map((status) => ({ status })) });

test.each<[string, object | string | undefined, number, number, string]>([
  [
    "all passed",
    { numPassedTests: 3, numFailedTests: 0, numPendingTests: 0, testResults: [file("passed", "passed", "passed", "passed")] },
    0,
    0,
    "3 passed, 0 failed",
  ],
  [
    "one failed",
    { numPassedTests: 2, numFailedTests: 1, numPendingTests: 0, testResults: [file("failed", "failed", "passed", "passed")] },
    1,
    1,
    "2 passed, 1 failed",
  ],
  [
    "some were skipped",
    { numPassedTests: 2, numFailedTests: 0, numPendingTests: 1, testResults: [file("passed", "passed", "passed", "pending")] },
    0,
    0,
    "1 skipped\n2 passed, 0 failed",
  ],
  [
    "a file could not be loaded",
    { numPassedTests: 2, numFailedTests: 0, numPendingTests: 0, testResults: [file("passed", "passed", "passed"), file("failed")] },
    1,
    1,
    "2 passed, 1 failed",
  ],
  [
    "an error outside the tests",
    { numPassedTests: 2, numFailedTests: 0, numPendingTests: 0, testResults: [file("passed", "passed", "passed")] },
    1,
    1,
    "2 passed, 1 failed",
  ],
  ["the runner wrote nothing", undefined, 139, 1, "the test runner wrote no report\n0 passed, 1 failed"],
  ["the runner broke off while it wrote", '{"numPassedTests": 3,', 0, 1, "the test runner wrote no report\n0 passed, 1 failed"],
])("%s", async (_, report, code, exit, lines) => {
  const ended = await ci(report, code);
  expect(ended).toMatchObject({ code: exit, stdout: `npm test\n${lines}\n` });
  expect(place.left()).toEqual([]);
});
