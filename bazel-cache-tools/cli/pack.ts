// bazel-cache pack: what a workspace needs of the cache, as one file for a machine without network.
import { Failure } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { bytes, color, paint } from "../../host/cli/terminal.js";
import { type Packed, selectAll, selectDeclared } from "../archive/contents.js";
import { checkOutput, writeArchive } from "../archive/output.js";
import type { Download } from "../declared/download.js";
import { openContext, type PlaceFlags, requireWorkspace, sameOptions } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
import { byName, choose } from "./names.js";
import { openProgress } from "./progress.js";

export interface PackFlags extends PlaceFlags, DeclaredFlags {
  output: string;
  all?: boolean;
  only?: string[];
  ignore?: string[];
  partial?: boolean;
}

export async function runPack(named: string | undefined, flags: PackFlags): Promise<void> {
  checkOutput(flags.output, process.stdout.isTTY === true);
  const context = openContext(flags, named);
  if (!flags.all && !flags.fromJson) requireWorkspace(context);
  const { downloads, problems } = await declaredDownloads(context, flags);
  for (const { at, message } of problems) console.error(`${paint("yellow", "not read", color.err)} ${at}: ${message}`);
  const chosen = flags.all ? downloads : choose(downloads, flags);
  const entries = chooseEntries(context.cache, downloads, chosen, flags);
  if (entries.length === 0) throw new Failure(`nothing to pack: ${context.cache} has ${flags.all ? "no entries" : "nothing of what is declared"}`);

  const { signal } = interruption();
  const progress = await openProgress();
  const total = entries.reduce((sum, e) => sum + e.size, 0);
  const bar = progress.bar("packing", total);
  try {
    await writeArchive(entries, flags.output, { signal, progress: bar.add });
  } catch (error) {
    if (signal.aborted) throw new Failure(`interrupted; ${flags.output === "-" ? "what was written is no archive" : "nothing was written"}`);
    throw error;
  } finally {
    bar.end();
    progress.close();
  }
  const line = `packed ${entries.length} ${entries.length === 1 ? "entry" : "entries"} (${bytes(total)})`;
  if (flags.output === "-") console.error(line);
  else console.log(`${line} into ${flags.output}`);
}

/** With --all: everything but what --ignore names; --only is about declarations, and so only without it. */
function chooseEntries(cache: string, downloads: readonly Download[], chosen: readonly Download[], flags: PackFlags): Packed[] {
  if (flags.all)
    return selectAll(cache, downloads).filter(
      ({ names }) => (flags.only === undefined || names.some((n) => byName(flags.only, n))) && !names.some((n) => byName(flags.ignore, n)),
    );
  for (const { name, at, never } of chosen)
    if (never !== undefined) console.error(`${paint("yellow", "never cacheable", color.err)} ${name} (${at}): ${never}`);
  const { entries, missing } = selectDeclared(cache, chosen);
  for (const { name, at, urls } of missing) console.error(`${paint("yellow", "missing", color.err)} ${name} (${at}) ${urls[0] ?? ""}`);
  if (missing.length > 0 && !flags.partial)
    throw new Failure(
      `${missing.length} of ${entries.length + missing.length} declared downloads are not in ${cache}: bazel-cache fetch${sameOptions(flags)} gets them, --partial packs the rest; nothing was written`,
    );
  return entries;
}
