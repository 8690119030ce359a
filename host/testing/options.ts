// What mount() is given, looked at before anything starts: a name that nobody knows, or a value of another kind, is said in one line.
import { type ClusterSpec, noHosts, refused } from "./handlers.js";
import type { MountOptions } from "./types.js";

type Check = [fits: (value: unknown) => boolean, wanted: string];

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean => typeof value === "string";
const oneOf = (...names: string[]): Check => [(value) => names.includes(value as string), names.map((name) => `"${name}"`).join(", ")];
const object: Check = [isObject, "an object"];
const flag: Check = [(value) => typeof value === "boolean", "true or false"];
const whole: Check = [(value) => Number.isSafeInteger(value) && (value as number) >= 0, "a whole number, 0 or more"];

const CHECKS: { [name in keyof Required<MountOptions>]: Check } = {
  engine: oneOf("node", "envoy", "both"),
  config: [() => true, "a value"],
  filter: [isText, "a string"],
  chain: [Array.isArray, "a list of { module, config?, filter? }"],
  clusters: object,
  routes: [Array.isArray, "a list"],
  hcm: object,
  listener: object,
  plugin: object,
  logLevel: oneOf("trace", "debug", "info", "warning", "error", "critical", "off"),
  time: oneOf("real", "manual"),
  splits: [(value) => typeof value === "boolean" || (Number.isSafeInteger(value) && (value as number) >= 0), "true, false or a seed (a whole number)"],
  properties: [(value) => Array.isArray(value) && value.every(isText), "a list of strings"],
  memory: whole,
  budget: whole,
  leaks: flag,
};

const LINK: { [name: string]: Check } = { module: [isText, "the path of a module"], config: CHECKS.config, filter: CHECKS.filter };

function isCluster(spec: unknown): spec is ClusterSpec {
  return typeof spec === "function" || spec === refused || spec === noHosts || (isObject(spec) && typeof spec.http2 === "function");
}

function shown(value: unknown): string {
  return typeof value === "string" ? `"${value}"` : isObject(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
}

function checkFields(value: object, checks: { [name: string]: Check }, where: string): void {
  for (const [name, given] of Object.entries(value)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (!check) throw new TypeError(`mount(): there is no ${where}${name}; there are ${Object.keys(checks).join(", ")}`);
    if (given !== undefined && !check[0](given)) throw new TypeError(`mount(): ${where}${name} is ${shown(given)}, it has to be ${check[1]}`);
  }
}

/** Throws TypeError. */
export function checkOptions(options: MountOptions): void {
  if (!isObject(options as unknown)) throw new TypeError(`mount(): the options are ${shown(options)}, they have to be an object`);
  checkFields(options, CHECKS, "");
  for (const [i, link] of (options.chain ?? []).entries()) {
    if (!isObject(link) || link.module === undefined) throw new TypeError(`mount(): chain[${i}].module is missing`);
    checkFields(link, LINK, `chain[${i}].`);
  }
  for (const [name, spec] of Object.entries(options.clusters ?? {})) {
    if (isCluster(spec)) continue;
    const wanted = 'a function from Request to Response, http2(function), or refused or noHosts of "envoyscript/testing"';
    throw new TypeError(`mount(): clusters.${name} is ${shown(spec)}, it has to be ${wanted}`);
  }
  for (const [i, config] of [options.config, ...(options.chain ?? []).map((link) => link.config)].entries()) {
    try {
      JSON.stringify(config);
    } catch (error) {
      throw new TypeError(`mount(): ${i === 0 ? "" : `chain[${i - 1}].`}config cannot be written as JSON: ${(error as Error).message.split("\n", 1)[0]}`);
    }
  }
}

/** Throws TypeError. */
export function checkTime(ms: number): void {
  if (typeof ms !== "number" || !(ms >= 0) || ms === Number.POSITIVE_INFINITY) throw new TypeError(`advance(): ${ms} is no number of milliseconds`);
}
