// Values of command-line options, checked where they come in.
import { existsSync, readFileSync } from "node:fs";
import { type ClusterTarget, parseTarget } from "../envoy/bootstrap.js";
import { usage } from "./failure.js";

const UNITS: Record<string, number> = { "": 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** "64MiB" in bytes. */
export function parseSize(text: string): number {
  const found = /^(\d+)(B|KiB|MiB|GiB)?$/.exec(text);
  if (!found) throw usage(`"${text}" is no size: write 64MiB, 512KiB or a number of bytes`);
  return Number(found[1]) * UNITS[found[2] ?? ""]!;
}

export function parseCount(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > 2147483647) throw usage(`"${text}" is no count: write a whole number up to 2147483647 (0: do not count)`);
  return Number(text);
}

export function parsePort(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > 65535) throw usage(`"${text}" is no port: write a number from 0 (any free one) to 65535`);
  return Number(text);
}

/** Collects `--cluster name=URL`. */
export function parseCluster(text: string, before: ClusterTarget[] = []): ClusterTarget[] {
  const equals = text.indexOf("=");
  if (equals <= 0) throw usage(`--cluster ${text}: write name=http://host:port`);
  const target = { name: text.slice(0, equals), url: checkedUrl(text.slice(equals + 1)) };
  if (before.some((c) => c.name === target.name)) throw usage(`--cluster ${target.name} is given twice`);
  return [...before, target];
}

export function checkedUrl(url: string): string {
  try {
    parseTarget(url);
  } catch (error) {
    throw usage((error as Error).message);
  }
  return url;
}

/** A JSON file, or JSON itself where it begins with a brace. */
export function readConfig(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  const inline = text.trimStart().startsWith("{");
  if (!inline && !existsSync(text)) throw usage(`--config ${text}: there is no such file`);
  try {
    return JSON.parse(inline ? text : readFileSync(text, "utf8"));
  } catch (error) {
    throw usage(`--config ${inline ? "" : `${text}: `}not JSON: ${(error as Error).message}`);
  }
}
