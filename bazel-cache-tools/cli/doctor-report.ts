// What doctor found, for people and for machines.
import { statSync } from "node:fs";
import { bytes, paint } from "../../host/cli/terminal.js";
import type { Deep } from "../check/deep.js";
import { type Finding, type State, wouldMiss } from "../check/examine.js";
import type { Mended } from "../check/mend.js";
import type { Problem } from "../declared/download.js";
import type { Context } from "./context.js";
import { quote } from "./quote.js";

export interface Report {
  context: Context;
  findings: readonly Finding[];
  problems: readonly Problem[];
  mended: readonly Mended[];
  deep: Deep | undefined;
  /** The workspace and the options of this command, for those that it recommends. */
  again: string;
  /** Whether hits are listed, too. */
  all: boolean;
  fixed: boolean;
}

const SIGNS: Record<State, [string, "green" | "red" | "yellow"]> = {
  hit: ["✓", "green"],
  local: ["✓", "green"],
  miss: ["✗", "red"],
  "wrong digest": ["✗", "red"],
  "marker missing": ["✗", "red"],
  "wrong directory": ["✗", "red"],
  unreadable: ["✗", "red"],
  "never cacheable": ["!", "yellow"],
};

export function printReport({ context, findings, problems, mended, deep, again, all, fixed }: Report): void {
  const version = context.version
    ? `Bazel ${context.version.text} (${context.version.from})`
    : "Bazel of an unknown version: judged as 7 or later, which asks for markers; say --bazel-version for another";
  console.log(`${context.cache}\n${paint("dim", version)}`);
  for (const { name, did } of mended) console.log(`${paint("green", "mended")} ${name}: ${did}`);
  for (const finding of findings) if (all || wouldMiss(finding.state)) printFinding(finding, context, again);
  for (const { at, message, elsewhere } of problems)
    console.log(`${elsewhere ? paint("yellow", "? not known") : paint("red", "✗ not read")}  ${at}: ${message}`);
  for (const { path, what, serious } of deep?.findings ?? [])
    console.log(`${serious ? paint("red", "✗ in the cache") : paint("yellow", "! in the cache")}  ${path}: ${what}`);
  if (deep) console.log(`${several(deep.verified, "file")} of the cache verified`);
  if (findings.length > 0 || problems.length > 0 || !deep) console.log(summary(findings, problems));
  const fixable = findings.filter((f) => f.state === "marker missing" || f.state === "wrong directory").length;
  if (fixable > 0 && !fixed) console.log(`${fixable} can be mended without the network: bazel-cache doctor${again} --fix`);
  for (const note of context.where.notes) console.log(`note: ${note}`);
}

function printFinding(finding: Finding, context: Context, again: string): void {
  const { state, download, reason, size } = finding;
  const [sign, style] = SIGNS[state];
  console.log(
    `${paint(style, `${sign} ${state}`)}  ${paint("bold", download.name)}${size === undefined ? "" : `  ${bytes(size)}`}  ${paint("dim", download.at)}`,
  );
  if (reason) console.log(`    ${reason}`);
  if (wouldMiss(state) && download.digest) console.log(`    ${paint("dim", `${download.digest.algorithm} ${download.digest.hex}  ${download.urls[0] ?? ""}`)}`);
  const command = remedy(finding, context.cache, again);
  if (command) console.log(`    $ ${paint("bold", command)}`);
}

/** The command that mends a finding, to be copied as it stands. */
function remedy({ state, download }: Finding, cache: string, again: string): string | undefined {
  if (state === "marker missing" || state === "wrong directory") return `bazel-cache doctor${again} --fix`;
  if (state === "miss" || state === "wrong digest") return `bazel-cache fetch${again} --only ${quote(download.name)}`;
  if (state === "unreadable") return isOurs(cache) ? `chmod -R u+rX ${quote(cache)}` : `sudo chmod -R a+rX ${quote(cache)}`;
  return undefined;
}

/** Bazel run by root leaves entries that only root may open. */
function isOurs(cache: string): boolean {
  return process.getuid === undefined || statSync(cache, { throwIfNoEntry: false })?.uid === process.getuid();
}

function countStates(findings: readonly Finding[]): Partial<Record<State, number>> {
  const counts: Partial<Record<State, number>> = {};
  for (const { state } of findings) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

function summary(findings: readonly Finding[], problems: readonly Problem[]): string {
  const counts = countStates(findings);
  const size = findings.reduce((sum, f) => sum + (f.state === "hit" ? (f.size ?? 0) : 0), 0);
  const parts = (Object.keys(SIGNS) as State[]).filter((state) => counts[state] !== undefined).map((state) => `${counts[state]} ${state}`);
  const more = problems.length === 0 ? "" : `; ${several(problems.length, "place")} that could not be followed may declare more`;
  if (parts.length === 0) return `no downloads are declared${problems.length === 0 ? "" : ", as far as it could be read"}${more}`;
  return `${several(findings.length, "download")}: ${parts.join(", ")}${size > 0 ? ` (${bytes(size)} in the cache)` : ""}${more}`;
}

function several(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

export function reportAsJson({ context, findings, problems, mended, deep, again }: Report): void {
  const { version, cache, where } = context;
  const downloads = findings.map((finding) => {
    const { download, ...rest } = finding;
    return { ...download, ...rest, mend: remedy(finding, cache, again) };
  });
  const missing = findings.filter((f) => wouldMiss(f.state)).length;
  const bazel = version ? { version: version.text, from: version.from, judgedAs: version.major } : { judgedAs: 7 };
  console.log(
    JSON.stringify({ cache, bazel, summary: countStates(findings), missing, downloads, problems, mended, deep: deepAsJson(deep), notes: where.notes }, null, 2),
  );
}

function deepAsJson(deep: Deep | undefined): object | undefined {
  return (
    deep && {
      verified: deep.verified,
      findings: deep.findings.map(({ path, what, serious, garbage }) => ({ path, what, serious, removable: garbage !== undefined })),
    }
  );
}
