// The recorded traces.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Trace } from "./scenario.js";

const DIRECTORY = path.join(import.meta.dirname, "traces");

/** All, or those whose id begins with one of the prefixes; by id. */
export function readTraces(prefixes: string[] = []): Trace[] {
  return readdirSync(DIRECTORY)
    .sort()
    .map((file) => JSON.parse(readFileSync(path.join(DIRECTORY, file), "utf8")) as Trace)
    .filter(({ scenario }) => prefixes.length === 0 || prefixes.some((prefix) => scenario.id.startsWith(prefix)));
}
