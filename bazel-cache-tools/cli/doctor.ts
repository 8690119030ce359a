// bazel-cache doctor: for each declared download, whether Bazel finds it in the cache, why not, and the command that mends it.
import { Failure } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { bytes, paint } from "../../host/cli/terminal.js";
import { type DeepFinding, examineWhole, removeGarbage } from "../check/deep.js";
import { examine, type Finding, type State, wouldMiss } from "../check/examine.js";
import { type Mended, mend } from "../check/mend.js";
import type { Problem } from "../declared/download.js";
import { type Context, openContext, otherCaches, type PlaceFlags, requireWorkspace } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
import { byName } from "./names.js";
import { openProgress } from "./progress.js";
import { quote } from "./quote.js";

export interface DoctorFlags extends PlaceFlags, DeclaredFlags {
  fix?: boolean;
  deep?: boolean;
  all?: boolean;
  ignore?: string[];
  search?: string[];
  json?: boolean;
}

export async function runDoctor(named: string | undefined, flags: DoctorFlags): Promise<void> {
  const context = openContext(flags, named);
  if (!flags.fromJson) requireWorkspace(context);
  const { downloads, problems } = await declaredDownloads(context, flags);
  const { signal } = interruption();
  const progress = await openProgress(flags.json);
  const bar = progress.bar("reading the cache", 0);
  const hashing = { progress: bar.add, signal };
  const input = { cache: context.cache, otherCaches: otherCaches(context.where), version: context.version, hashing };
  let findings: Finding[];
  let mended: Mended[] = [];
  let deep: DeepFinding[] = [];
  try {
    findings = await examine(downloads, input);
    if (flags.fix) {
      mended = await mend(findings, { cache: context.cache, search: flags.search ?? [], hashing });
      if (mended.length > 0) findings = await examine(downloads, input);
    }
    if (flags.deep) deep = await examineWhole(context.cache, hashing);
    if (flags.deep && flags.fix) {
      mended.push(...removeGarbage(deep));
      deep = deep.filter((finding) => finding.garbage === undefined);
    }
  } catch (error) {
    if (signal.aborted) throw new Failure("interrupted; nothing is half done");
    throw error;
  } finally {
    bar.end();
    progress.close();
  }
  const ignored = (finding: Finding) => byName(flags.ignore, finding.download.name);
  const missing = findings.filter((f) => wouldMiss(f.state) && !ignored(f));
  if (flags.json) printJson(context, findings, problems, mended, deep, missing.length);
  else
    print(
      context,
      named,
      findings.filter((f) => !ignored(f)),
      problems,
      mended,
      deep,
      flags,
    );
  if (missing.length > 0 || deep.some((finding) => finding.serious)) process.exitCode = 1;
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

/** The command that mends a finding, to be copied as it stands. */
export function remedy(finding: Finding, context: Pick<Context, "cache" | "workspace">, named: string | undefined): string | undefined {
  const { state, download } = finding;
  const where = named === undefined ? "" : ` ${quote(named)}`;
  if (state === "marker missing" || state === "wrong directory") return `bazel-cache doctor${where} --fix`;
  if (state === "miss" || state === "wrong digest") return `bazel-cache fetch${where} --only ${quote(download.name)}`;
  if (state === "unreadable") return `chmod -R u+rX ${quote(context.cache)}`;
  return undefined;
}

function print(
  context: Context,
  named: string | undefined,
  findings: readonly Finding[],
  problems: readonly Problem[],
  mended: readonly Mended[],
  deep: readonly DeepFinding[],
  flags: DoctorFlags,
): void {
  const version = context.version
    ? `Bazel ${context.version.text} (${context.version.from})`
    : "Bazel of an unknown version: judged as 7 or later, which asks for markers";
  console.log(`${context.cache}\n${paint("dim", version)}`);
  for (const { name, did } of mended) console.log(`${paint("green", "mended")} ${name}: ${did}`);
  for (const finding of findings) if (flags.all || wouldMiss(finding.state)) printFinding(finding, context, named);
  for (const { at, message } of problems) console.log(`${paint("yellow", "? not read")}        ${at}: ${message}`);
  for (const { path, what } of deep) console.log(`${paint("red", "✗ in the cache")}    ${path}: ${what}`);
  console.log(summary(findings, problems));
  const fixable = findings.filter((f) => f.state === "marker missing" || f.state === "wrong directory").length;
  if (fixable > 0 && !flags.fix)
    console.log(`${fixable} can be mended without the network: bazel-cache doctor${named === undefined ? "" : ` ${quote(named)}`} --fix`);
  for (const note of context.where.notes) console.log(`note: ${note}`);
}

function printFinding(finding: Finding, context: Context, named: string | undefined): void {
  const { state, download, reason, size } = finding;
  const [sign, style] = SIGNS[state];
  console.log(
    `${paint(style, `${sign} ${state}`)}  ${paint("bold", download.name)}${size === undefined ? "" : `  ${bytes(size)}`}  ${paint("dim", download.at)}`,
  );
  if (reason) console.log(`    ${reason}`);
  if (wouldMiss(state) && download.digest) console.log(`    ${paint("dim", `${download.digest.algorithm} ${download.digest.hex}  ${download.urls[0] ?? ""}`)}`);
  const command = remedy(finding, context, named);
  if (command) console.log(`    $ ${paint("bold", command)}`);
}

function summary(findings: readonly Finding[], problems: readonly Problem[]): string {
  const counts = new Map<State, number>();
  for (const { state } of findings) counts.set(state, (counts.get(state) ?? 0) + 1);
  const size = findings.reduce((sum, f) => sum + (f.state === "hit" ? (f.size ?? 0) : 0), 0);
  const parts = (Object.keys(SIGNS) as State[]).filter((state) => counts.has(state)).map((state) => `${counts.get(state)} ${state}`);
  if (parts.length === 0) return "no downloads are declared";
  return `${findings.length} downloads: ${parts.join(", ")}${size > 0 ? ` (${bytes(size)} in the cache)` : ""}${problems.length > 0 ? `; ${problems.length} places that could not be read may declare more` : ""}`;
}

function printJson(
  context: Context,
  findings: readonly Finding[],
  problems: readonly Problem[],
  mended: readonly Mended[],
  deep: readonly DeepFinding[],
  missing: number,
): void {
  const downloads = findings.map((finding) => {
    const { download, ...rest } = finding;
    return { ...download, ...rest, mend: remedy(finding, context, context.workspace) };
  });
  console.log(
    JSON.stringify({ cache: context.cache, bazel: context.version?.text, downloads, problems, mended, deep, missing, notes: context.where.notes }, null, 2),
  );
}
