// For the tests of this folder: one source evaluated, with what was told about it.
import { Builtin, type Call, type RunOptions, run, stringOf, toJson, Unknown, type Value } from "./index.js";

export interface Evaluated {
  globals: Map<string, Value>;
  /** `line: message`. */
  problems: string[];
  /** The calls of `declare`, the one predeclared function. */
  calls: Call[];
  /** A global as JSON. */
  json(name: string): unknown;
}

/** Evaluates `source` with `declare`, which takes anything, and `UNSEEN`, which is unknown because "offline". */
export function evaluated(source: string, options: Partial<RunOptions> = {}): Evaluated {
  const problems: string[] = [];
  const calls: Call[] = [];
  const declare = new Builtin("declare", (call) => {
    calls.push(call);
    return null;
  });
  const predeclared = new Map<string, Value>([
    ["declare", declare],
    ["UNSEEN", new Unknown("offline", { file: "elsewhere.bzl", line: 7, column: 1 })],
  ]);
  const problem = (message: string, at: { line: number }): void => void problems.push(`${at.line}: ${message}`);
  const globals = run({ file: "test.bzl", source, predeclared, load: () => new Map(), problem, ...options });
  return { globals, problems, calls, json: (name) => toJson(globals.get(name)!) };
}

/** One expression's value as JSON; throws where there is a problem with it. */
export function resultOf(expression: string): unknown {
  const { globals, problems } = evaluated(`value = (${expression})`);
  if (problems.length > 0) throw new Error(problems.join(", "));
  const value = globals.get("value")!;
  return value instanceof Unknown ? stringOf(value) : toJson(value);
}
