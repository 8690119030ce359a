// Values of command-line options, checked where they come in. A problem names the option, what was given, and what to write instead.
import { existsSync, readFileSync } from "node:fs";
import { type ClusterTarget, parseTarget } from "../envoy/bootstrap.js";
import { usage } from "./failure.js";

const UNITS: Record<string, number> = { "": 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** "64MiB" in bytes. */
export function parseSize(text: string): number | undefined {
  const found = /^(\d+)(B|KiB|MiB|GiB)?$/.exec(text);
  return found ? Number(found[1]) * UNITS[found[2] ?? ""]! : undefined;
}

export function parseMemory(text: string): number {
  const size = parseSize(text);
  if (size === undefined) throw usage(`--memory ${text}: no size; write 64MiB, 65536KiB or a number of bytes`);
  if (size < 4 * UNITS.MiB! || size > UNITS.GiB!) throw usage(`--memory ${text}: from 4MiB to 1GiB (Envoy's own limit)`);
  return size;
}

export function parseBudget(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > 2147483647) throw usage(`--budget ${text}: no count; write a whole number up to 2147483647 (0: do not count)`);
  return Number(text);
}

/** For an option that holds a port. */
export function portOf(option: string): (text: string) => number {
  return (text) => {
    if (!/^\d+$/.test(text) || Number(text) > 65535) throw usage(`${option} ${text}: no port; write a number from 0 (any free one) to 65535`);
    return Number(text);
  };
}

/** Collects `--cluster name=URL`. */
export function parseCluster(text: string, before: ClusterTarget[] = []): ClusterTarget[] {
  const equals = text.indexOf("=");
  if (equals <= 0) throw usage(`--cluster ${text}: write name=http://host:port`);
  const target = { name: text.slice(0, equals), url: checkedUrl("--cluster", text.slice(equals + 1)) };
  if (before.some((c) => c.name === target.name)) throw usage(`--cluster ${target.name} is given twice`);
  return [...before, target];
}

export function checkedUrl(option: string, url: string): string {
  try {
    parseTarget(url);
  } catch (error) {
    throw usage(`${option}: ${(error as Error).message}`);
  }
  return url;
}

export function parseUpstream(text: string): string {
  return checkedUrl("--upstream", text);
}

/** A JSON file, or JSON itself where it begins with a brace. */
export function readConfig(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  const inline = text.trimStart().startsWith("{");
  if (!inline && !existsSync(text)) throw usage(`--config ${text}: there is no such file (JSON itself begins with a brace)`);
  try {
    return JSON.parse(inline ? text : readFileSync(text, "utf8"));
  } catch (error) {
    throw usage(`--config ${inline ? "" : `${text}: `}not JSON: ${(error as Error).message}`);
  }
}
