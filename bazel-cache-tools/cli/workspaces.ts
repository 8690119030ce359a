// The downloads of several workspaces at once, looked up in one cache.
import type { Declared } from "../declared/download.js";
import { withoutRepeats } from "../declared/download.js";
import { type Context, openContext, type PlaceFlags } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";

/** Those of `named`; where none is, those of the workspace we are in, if we are. The cache is `context`'s. */
export async function declaredOfAll(context: Context, named: readonly string[], flags: PlaceFlags & DeclaredFlags): Promise<Declared> {
  if (named.length === 0) return declaredDownloads(context, flags);
  const all: Declared = { downloads: [], problems: [] };
  for (const workspace of named) {
    const { downloads, problems } = await declaredDownloads({ ...openContext(flags, workspace), cache: context.cache }, flags);
    all.downloads.push(...downloads);
    all.problems.push(...problems.map((problem) => ({ ...problem, at: named.length > 1 ? `${workspace}: ${problem.at}` : problem.at })));
  }
  return { downloads: withoutRepeats(all.downloads), problems: all.problems };
}
