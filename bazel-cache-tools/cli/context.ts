// What every command needs to know first: which workspace, which Bazel, which cache.
import { accessSync, constants, existsSync, statSync } from "node:fs";
import path from "node:path";
import { Failure, usage } from "../../host/cli/failure.js";
import { upwards } from "../../host/upwards.js";
import { type BazelVersion, bazelVersion, type CanonicalIds, canonicalIds, parseVersion } from "../bazel/version.js";
import { askBazel, type Where, whereIsCache } from "../bazel/where.js";
import { kindOfPath } from "../cache/candidates.js";
import { quote } from "./quote.js";

export interface PlaceFlags {
  cache?: string;
  /** Bazel's own spellings. */
  repository_cache?: string;
  output_user_root?: string;
  outputUserRoot?: string;
  bazelVersion?: string;
  askBazel?: boolean;
}

export interface Context {
  /** The workspace's root. Undefined outside of any. */
  workspace: string | undefined;
  /** Whether the user named it. */
  named: boolean;
  /** The one file of declarations that the user named in place of a workspace. */
  file?: string;
  version: BazelVersion | undefined;
  ids: CanonicalIds;
  where: Where;
  cache: string;
}

/** The files whose presence makes a directory a workspace's root (bazel 7.7). */
const BOUNDARIES = ["MODULE.bazel", "REPO.bazel", "WORKSPACE.bazel", "WORKSPACE"];

/** `named`: the directory (or the .bzl, .bazel or WORKSPACE file) that the user gave; else the directory we are in, or one above it. */
export function openContext(flags: PlaceFlags, named?: string): Context {
  if (flags.repository_cache !== undefined) flags.cache ??= flags.repository_cache;
  if (flags.output_user_root !== undefined) flags.outputUserRoot ??= flags.output_user_root;
  for (const [option, value] of Object.entries({ "--cache": flags.cache, "--output-user-root": flags.outputUserRoot }))
    if (value === "") throw usage(`${option}: is empty; name a directory`);
  const { workspace, file } = findWorkspace(named);
  const version = flags.bazelVersion === undefined ? bazelVersion(workspace, process.env) : parseVersion(flags.bazelVersion, "--bazel-version");
  if (flags.bazelVersion !== undefined && !version) throw usage(`--bazel-version ${flags.bazelVersion}: no version; write 7.7.1, 7.7 or 7`);
  const where = whereIsCache({
    cache: flags.cache,
    outputUserRoot: flags.outputUserRoot,
    workspace,
    version,
    env: process.env,
    platform: process.platform,
    cwd: process.cwd(),
  });
  if (flags.askBazel) {
    const cache = askBazel(workspace ?? process.cwd());
    where.rules.unshift({ rule: "bazel info repository_cache", says: cache, cache });
    where.decided = 0;
    where.cache = cache;
  }
  const problem = cacheProblem(where.cache);
  if (problem) throw new Failure(`${problem}; choose another cache with --cache`);
  return {
    workspace,
    named: named !== undefined,
    ...(file === undefined ? {} : { file }),
    version,
    ids: canonicalIds(version, where.rc),
    where,
    cache: where.cache,
  };
}

/** The options by which a command found its cache and its declarations, to be repeated in the commands that it recommends. */
export function sameOptions(flags: PlaceFlags & { fromJson?: string[]; registry?: string[] }): string {
  const { cache, outputUserRoot, bazelVersion, fromJson = [], registry = [] } = flags;
  const words = [
    ...(cache === undefined ? [] : ["--cache", cache]),
    ...(outputUserRoot === undefined ? [] : ["--output-user-root", outputUserRoot]),
    ...(bazelVersion === undefined ? [] : ["--bazel-version", bazelVersion]),
    ...fromJson.flatMap((file) => ["--from-json", file]),
    ...registry.flatMap((url) => ["--registry", url]),
  ];
  return words.map((word) => ` ${quote(word)}`).join("");
}

/** For commands that are about a workspace. */
export function requireWorkspace(context: Context): string {
  if (context.workspace !== undefined) return context.workspace;
  throw usage(`there is no workspace here or above (${BOUNDARIES.join(", ")}); name its directory, or give a list with --from-json`);
}

/** Caches that Bazel would read on this machine if less were configured. */
export function otherCaches(where: Where): string[] {
  const caches = where.rules.map((rule) => rule.cache).filter((cache) => cache !== undefined && cache !== where.cache && existsSync(cache));
  return [...new Set(caches as string[])];
}

function findWorkspace(named: string | undefined): { workspace: string | undefined; file?: string } {
  if (named === undefined) return { workspace: rootAbove(process.cwd()) };
  const full = path.resolve(named);
  if (kindOfPath(full) === "directory") {
    const workspace = rootAbove(full);
    if (workspace === undefined) throw usage(`${named}: is no Bazel workspace: it has no ${BOUNDARIES.join(", no ")}`);
    return { workspace };
  }
  if (!/\.(bzl|bazel)$|^WORKSPACE/.test(path.basename(full))) throw usage(`${named}: is no workspace's directory, and no .bzl, MODULE.bazel or WORKSPACE file`);
  return { workspace: rootAbove(path.dirname(full)) ?? path.dirname(full), file: full };
}

function rootAbove(directory: string): string | undefined {
  return upwards(directory, (d) => (BOUNDARIES.some((name) => existsSync(path.join(d, name))) ? d : undefined));
}

/** Why nothing can be read or written there, or undefined. A cache that does not exist yet is a fine one. */
function cacheProblem(cache: string): string | undefined {
  const stat = statSync(cache, { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (!stat.isDirectory()) return `${cache} is no directory`;
  try {
    accessSync(cache, constants.R_OK | constants.X_OK);
    return undefined;
  } catch {
    return `${cache} cannot be read: no permission`;
  }
}
