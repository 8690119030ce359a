// Choosing downloads by name on the command line.
import { Failure } from "../../host/cli/failure.js";

/** Whether one of the patterns is the name, or that of what it belongs to ("zlib@1.3.2" of "zlib@1.3.2 overlay/BUILD"); `*` stands for anything. */
export function byName(patterns: readonly string[] | undefined, name: string): boolean {
  const [owner] = name.split(" ", 1) as [string];
  return patterns?.some((pattern) => matches(pattern, name) || matches(pattern, owner)) === true;
}

/** The downloads that --only and --ignore leave. Throws a Failure for an --only that no download has. */
export function choose<T extends { name: string }>(downloads: readonly T[], { only, ignore }: { only?: string[]; ignore?: string[] }): T[] {
  for (const pattern of only ?? [])
    if (!downloads.some(({ name }) => byName([pattern], name)))
      throw new Failure(`--only ${pattern}: no declared download has that name; bazel-cache doctor --all lists them`);
  return downloads.filter(({ name }) => (only === undefined || byName(only, name)) && !byName(ignore, name));
}

function matches(pattern: string, name: string): boolean {
  const [first, ...rest] = pattern.split("*") as [string, ...string[]];
  if (rest.length === 0) return name === pattern;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  const last = rest.pop()!;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
