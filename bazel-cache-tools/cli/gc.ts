// bazel-cache gc: what has not been used for long, said first and removed when asked to; Bazel itself never cleans this cache.
import { setImmediate } from "node:timers/promises";
import { Failure } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { bytes, color, paint } from "../../host/cli/terminal.js";
import { removeStaleStagings } from "../archive/staging.js";
import { keyOf } from "../cache/digest.js";
import { type GcPlan, type OldEntry, planGc, type Removal, removeEntry, removeLeftover } from "../cache/gc.js";
import type { Declared, Download } from "../declared/download.js";
import { type Context, openContext, type PlaceFlags } from "./context.js";
import { declaredOfAll } from "./workspaces.js";

export interface GcFlags extends PlaceFlags {
  /** ms */
  olderThan?: number;
  /** Bytes. */
  maxSize?: number;
  keepDeclared?: string[];
  delete?: boolean;
  json?: boolean;
}

/** `status`: undefined where it was only looked at, or where an interruption came before it. */
interface Outcome extends OldEntry {
  names: string[];
  urls: string[];
  status?: Removal;
}

export async function runGc(flags: GcFlags): Promise<void> {
  const context = openContext(flags);
  const declared = flags.keepDeclared ? await declaredOfAll(context, flags.keepDeclared, flags) : await namesOnly(context, flags);
  const keep = new Set(flags.keepDeclared ? declared.downloads.flatMap((d) => (d.digest ? [keyOf(d.digest)] : [])) : []);
  if (flags.keepDeclared) warn(declared);
  const now = Date.now();
  const { olderThan, maxSize } = flags;
  const plan = planGc(context.cache, { ...(olderThan === undefined ? {} : { olderThan }), ...(maxSize === undefined ? {} : { maxSize }), keep, now });
  const outcomes = plan.entries.map((entry): Outcome => ({ ...entry, ...labels(entry, declared.downloads) }));
  let leftovers = plan.leftovers;
  let interrupted = false;
  if (flags.delete) {
    const { signal } = interruption();
    removeStaleStagings(context.cache);
    for (const outcome of outcomes) {
      // Between two entries, so that none is left half removed.
      await setImmediate();
      if (signal.aborted) break;
      outcome.status = removeEntry(context.cache, outcome);
    }
    if (!signal.aborted) leftovers = leftovers.filter((leftover) => removeLeftover(leftover, now));
    interrupted = signal.aborted;
  }
  report({ ...plan, leftovers: interrupted ? [] : leftovers }, outcomes, context.cache, now, flags);
  if (interrupted) throw new Failure("interrupted; what is said to be removed is removed, the rest is as it was");
}

/** Of the workspace we are in; where it cannot be read, entries have no names. */
async function namesOnly(context: Context, flags: GcFlags): Promise<Declared> {
  try {
    return await declaredOfAll(context, [], flags);
  } catch {
    return { downloads: [], problems: [] };
  }
}

function warn({ problems }: Declared): void {
  for (const { at, message } of problems) console.error(`${paint("yellow", "not read", color.err)} ${at}: ${message}; what it declares is not kept`);
}

function labels({ digest }: OldEntry, downloads: readonly Download[]): { names: string[]; urls: string[] } {
  const of = downloads.filter((d) => d.digest && keyOf(d.digest) === keyOf(digest));
  return { names: [...new Set(of.map((d) => d.name))], urls: [...new Set(of.flatMap((d) => d.urls))] };
}

function report({ leftovers, kept }: GcPlan, outcomes: readonly Outcome[], cache: string, now: number, flags: GcFlags): void {
  const going = outcomes.filter((o) => (flags.delete ? o.status === "removed" : true));
  const staying = outcomes.filter((o) => flags.delete && o.status !== "removed" && o.status !== "gone");
  const size = going.reduce((sum, o) => sum + o.size, 0) + leftovers.reduce((sum, l) => sum + l.size, 0);
  const left = { count: kept.count + staying.length, size: kept.size + staying.reduce((sum, o) => sum + o.size, 0) };
  if (flags.json) {
    const entries = outcomes.map(({ digest, size: of, mtime, names, urls, status }) => ({
      digest,
      size: of,
      lastUse: new Date(mtime).toISOString(),
      names,
      urls,
      status: status ?? (flags.delete ? "not reached" : "would be removed"),
    }));
    console.log(JSON.stringify({ cache, deleted: flags.delete === true, entries, leftovers, size, kept: left }, null, 2));
    return;
  }
  for (const { digest, mtime, size: of, names, urls, status } of outcomes) {
    const what = names.length > 0 ? `${names.join(", ")} ${paint("dim", urls[0] ?? "")}` : `${digest.algorithm} ${digest.hex}`;
    console.log(`${verb(status, flags)} ${age(now - mtime).padStart(9)} ${bytes(of).padStart(11)}  ${what}`);
  }
  for (const { path, what, size: of } of leftovers) console.log(`${verb("removed", flags)} ${what} ${path} (${bytes(of)})`);
  const entries = `${going.length} ${going.length === 1 ? "entry" : "entries"}${leftovers.length > 0 ? ` and ${leftovers.length} leftovers` : ""}`;
  console.log(
    `${flags.delete ? "removed" : "would remove"} ${entries} (${bytes(size)}); ${left.count} ${left.count === 1 ? "entry stays" : "entries stay"} (${bytes(left.size)}) in ${cache}`,
  );
  if (flags.olderThan === undefined && flags.maxSize === undefined)
    console.log(
      flags.keepDeclared
        ? "no entry was looked at: say which ones go, too: --older-than 30d, --max-size 5GiB (--older-than 0d: all that is not declared)"
        : "no entry was looked at: say which ones go: --older-than 30d, --max-size 5GiB",
    );
  else if (!flags.delete && going.length + leftovers.length > 0) console.log("nothing was removed yet: --delete does it");
}

function verb(status: Removal | undefined, flags: GcFlags): string {
  if (!flags.delete) return paint("yellow", "would remove");
  return status === "removed" ? paint("green", "removed") : paint("yellow", `kept, ${status ?? "not reached"}`);
}

/** Of a last use that lies so far back, ms. */
function age(span: number): string {
  const hours = Math.max(0, span) / (60 * 60 * 1000);
  return hours < 48 ? `${Math.floor(hours)} hours` : `${Math.floor(hours / 24)} days`;
}
