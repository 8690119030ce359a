// What the README says of the Node engine is so: counts, differences, and the names of what it supports.
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { FORMAT_OPERATORS } from "../../host/proxy/access-log.js";
import { POLICIES } from "../../host/proxy/config/cluster.js";
import { EXTENSIONS } from "../../host/proxy/config/listener.js";
import { LOG_FILTERS } from "../../host/proxy/config/log-filter.js";
import { conformanceTable, knownDifferences } from "./table.js";
import { readTraces } from "./traces.js";

const readme = readFileSync(path.resolve(import.meta.dirname, "../../README.md"), "utf8");

test("the table of traces", () => {
  expect(readme).toContain(conformanceTable(readTraces()).join("\n"));
});

test("each known difference with its reason", () => {
  expect(readme).toContain(knownDifferences().join("\n"));
});

test.each([...EXTENSIONS, ...POLICIES, ...FORMAT_OPERATORS, ...LOG_FILTERS])("%s is in the list of what is supported", (name) => {
  // Names of types without what all of them begin with.
  const [type = ""] = name.split(" ");
  expect(readme).toContain(`\`${type.replace(/^envoy\.extensions\./, "")}\``);
});
