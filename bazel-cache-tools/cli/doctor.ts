// bazel-cache doctor: for each declared download, whether Bazel finds it in the cache, why not, and the command that mends it.
import { Failure, usage } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { type Deep, examineWhole, removeGarbage } from "../check/deep.js";
import { examine, type Finding, wouldMiss } from "../check/examine.js";
import { type Mended, mend } from "../check/mend.js";
import { openContext, otherCaches, type PlaceFlags, requireWorkspace, sameOptions } from "./context.js";
import { type DeclaredFlags, declaredDownloads } from "./declared.js";
import { printReport, reportAsJson } from "./doctor-report.js";
import { choose } from "./names.js";
import { openProgress } from "./progress.js";
import { quote } from "./quote.js";

export interface DoctorFlags extends PlaceFlags, DeclaredFlags {
  fix?: boolean;
  deep?: boolean;
  all?: boolean;
  only?: string[];
  ignore?: string[];
  search?: string[];
  json?: boolean;
}

export async function runDoctor(named: string | undefined, flags: DoctorFlags): Promise<void> {
  if (flags.search && !flags.fix) throw usage("--search says where --fix finds missing files: say --fix as well");
  const context = openContext(flags, named);
  if (!flags.fromJson && !flags.deep) requireWorkspace(context);
  const { downloads, problems } = await declaredDownloads(context, flags);
  const chosen = choose(downloads, flags);
  const { signal } = interruption();
  const progress = await openProgress(flags.json);
  const bar = progress.bar("reading the cache", 0);
  const hashing = { progress: bar.add, signal };
  const input = { cache: context.cache, otherCaches: otherCaches(context.where), version: context.version, ids: context.ids, hashing };
  let findings: Finding[];
  let mended: Mended[] = [];
  let deep: Deep | undefined;
  try {
    findings = await examine(chosen, input);
    if (flags.fix) {
      mended = await mend(findings, { cache: context.cache, search: flags.search ?? [], hashing });
      if (mended.length > 0) findings = await examine(chosen, input);
    }
    if (flags.deep) deep = await examineWhole(context.cache, hashing);
    if (deep && flags.fix) {
      const { removed, left } = removeGarbage(context.cache, deep.findings);
      mended.push(...removed);
      deep = { ...deep, findings: left };
    }
  } catch (error) {
    if (signal.aborted) throw new Failure("interrupted; nothing is half done");
    throw error;
  } finally {
    bar.end();
    progress.close();
  }
  const again = `${named === undefined ? "" : ` ${quote(named)}`}${sameOptions(flags)}`;
  const report = { context, findings, problems, mended, deep, again, all: flags.all === true, fixed: flags.fix === true };
  if (flags.json) reportAsJson(report);
  else printReport(report);
  if (findings.some((f) => wouldMiss(f.state)) || deep?.findings.some((d) => d.serious) || problems.some((p) => !p.elsewhere)) process.exitCode = 1;
}
