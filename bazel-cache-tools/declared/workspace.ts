// Everything that a workspace declares, from all the places where it may stand.
import { type Dirent, existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { type RcOption, rcFlag, rcValues, readRcFiles } from "../bazel/rc.js";
import { type BazelVersion, isAtLeast } from "../bazel/version.js";
import { Unknown } from "../starlark/index.js";
import type { Declared } from "./download.js";
import { Evaluation } from "./evaluation.js";
import { readText } from "./json.js";
import { extensionKey, type Lockfile, readLockfile } from "./lockfile.js";
import { type ModuleFile, readModuleFile } from "./module-file.js";
import { DEFAULT_REGISTRY, downloadsOfModule, joinUrl, parseSourceUrl, type RegistryReader, registryReader, registryUrl } from "./registry.js";
import { selectModules } from "./selection.js";
import { downloadsOfTables, TABLE_FILE } from "./tables.js";

export interface WorkspaceInput {
  workspace: string;
  /** Only this file of it. */
  file?: string;
  cache: string;
  version: BazelVersion | undefined;
  /** From the command line; they stand before those of the rc files' place. */
  registries: readonly string[];
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  /** Where registries' files come from. Default: this machine only. */
  reader?: RegistryReader;
}

const LOCKFILE = "MODULE.bazel.lock";

export async function readWorkspace(input: WorkspaceInput): Promise<Declared> {
  const { workspace } = input;
  const has = (name: string) => existsSync(path.join(workspace, name));
  const found: Declared = { downloads: [], problems: [] };
  const options = readRcFiles({ workspace, env: input.env, platform: input.platform, cwd: workspace }).options;
  const only = input.file === undefined ? undefined : path.relative(workspace, input.file);

  const modules = has("MODULE.bazel") && modulesCount(input.version, options);
  if (only === undefined ? modules : path.basename(only) === "MODULE.bazel") add(found, await readModules(input, options));
  // With modules there may be a file of its own for what is left (bazel 6.0).
  const workspaceFile = [...(modules ? ["WORKSPACE.bzlmod"] : []), "WORKSPACE.bazel", "WORKSPACE"].find(has);
  const toRun =
    only === undefined
      ? !modules || workspaceCounts(input.version, options)
        ? workspaceFile
        : undefined
      : /^WORKSPACE/.test(path.basename(only))
        ? only
        : undefined;
  let complete = false;
  if (toRun !== undefined) {
    const evaluation = new Evaluation(workspace, input.version?.text);
    evaluation.runWorkspaceFile(toRun);
    add(found, evaluation.found);
    complete = !evaluation.incomplete;
  }
  // Where the macros could be followed to their end, what is only in a table is used by nobody.
  const tables = only === undefined ? (complete ? [] : tableFiles(workspace)) : only.endsWith(".bzl") ? [only] : [];
  for (const file of tables) add(found, readTables(workspace, file));
  return found;
}

/** MODULE.bazel counts from bazel 7 on, and before where a line asks for it; where the version is not known it does. */
function modulesCount(version: BazelVersion | undefined, options: readonly RcOption[]): boolean {
  return rcFlag(options, "enable_bzlmod") ?? (version === undefined || isAtLeast(version, 7));
}

/** Beside modules, WORKSPACE counts up to bazel 7, in 8 where a line asks for it, and in 9 no more. */
function workspaceCounts(version: BazelVersion | undefined, options: readonly RcOption[]): boolean {
  if (version !== undefined && isAtLeast(version, 9)) return false;
  return rcFlag(options, "enable_workspace") ?? (version === undefined || !isAtLeast(version, 8));
}

function add(to: Declared, { downloads, problems }: Declared): void {
  for (const download of downloads) to.downloads.push(download);
  for (const problem of problems) if (!to.problems.some((p) => p.at === problem.at && p.message === problem.message)) to.problems.push(problem);
}

function rcValuesOf(options: readonly RcOption[], names: readonly string[]): string[] {
  return rcValues(options, names).map((v) => v.value);
}

/** Envoy has several, two levels deep at most (bazel/, api/bazel/, mobile/bazel/). */
function tableFiles(workspace: string): string[] {
  const found: string[] = [];
  const look = (folder: string, depth: number) => {
    for (const child of listed(path.join(workspace, folder))) {
      const relative = path.posix.join(folder, child.name);
      if (child.isFile() && child.name === TABLE_FILE) found.push(relative);
      // Bazel's own links into its output (bazel-bin, …) are no directories.
      else if (child.isDirectory() && depth < 2 && !child.name.startsWith(".") && child.name !== "node_modules") look(relative, depth + 1);
    }
  };
  look("", 0);
  return found.sort();
}

/** A folder of somebody else's is passed over. */
function listed(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function readTables(workspace: string, file: string): Declared {
  const evaluation = new Evaluation(workspace);
  const globals = evaluation.load(file);
  if (globals instanceof Unknown) return { downloads: [], problems: [...evaluation.found.problems, { at: file, message: globals.reason }] };
  const tables = downloadsOfTables(globals, file, readText(path.join(workspace, file)));
  return { downloads: tables.downloads, problems: [...evaluation.found.problems, ...tables.problems] };
}

/** MODULE.bazel, its lockfile, and the registries' files that they lead to. */
async function readModules(input: WorkspaceInput, options: readonly RcOption[]): Promise<Declared> {
  const { workspace } = input;
  const evaluation = new Evaluation(workspace);
  const root = readModuleFile(evaluation, "MODULE.bazel");
  const found: Declared = { downloads: [...evaluation.found.downloads], problems: [...evaluation.found.problems, ...root.problems] };
  const reader = input.reader ?? registryReader(input.cache);
  const configured = [...input.registries, ...rcValuesOf(options, ["registry"])];
  const registries = (configured.length > 0 ? configured : [DEFAULT_REGISTRY]).map((r) => registryUrl(r, workspace));
  const mirrors = rcValuesOf(options, ["module_mirrors"]).flatMap((v) => v.split(",").filter((m) => m !== "" && !m.includes("=")));
  const lockPath = path.join(workspace, LOCKFILE);
  const lock = existsSync(lockPath) ? readLockfile(lockPath) : undefined;
  const module = (text: string, file: string) => {
    const other = new Evaluation(workspace);
    const read = readModuleFile(other, file, text);
    return { ...read, problems: [...other.found.problems, ...read.problems] };
  };

  if (lock) {
    add(found, { downloads: lock.downloads.map((d) => ({ ...d, at: LOCKFILE })), problems: lock.problems });
    addRegistryFiles(found, lock);
  }
  const sources = lock ? lockedSources(lock) : [];
  if (sources.length > 0) await addModules(found, sources, lock, reader, mirrors);
  else await addSelected(found, root, { registries, reader, mirrors, module, workspace });
  addExtensions(found, root, lock, evaluation);
  return found;
}

/** Extensions that the lockfile does not have: those of the workspace's own files are run, others are named. */
function addExtensions(found: Declared, root: ModuleFile, lock: Lockfile | undefined, evaluation: Evaluation): void {
  const before = evaluation.found.downloads.length;
  const problems = evaluation.found.problems.length;
  for (const { id, file, name, tags, at } of root.extensions) {
    if (lock?.extensions.has(extensionKey(id))) continue;
    if (file !== undefined) evaluation.runExtension(file, name, root.name, tags, at);
    else {
      const why = !lock ? `there is no ${LOCKFILE}` : `${LOCKFILE} does not have it (Bazel leaves out what is reproducible)`;
      found.problems.push({ at: `${at.file}:${at.line}`, message: `${id}: what this extension downloads is known to Bazel only: ${why}`, elsewhere: true });
    }
  }
  add(found, { downloads: evaluation.found.downloads.slice(before), problems: evaluation.found.problems.slice(problems) });
}

function lockedSources(lock: Lockfile): string[] {
  return [...lock.registryFiles].filter(([url, digest]) => digest !== undefined && parseSourceUrl(url)).map(([url]) => url);
}

/** Registry files are looked up by their checksums alone. */
function addRegistryFiles(found: Declared, lock: Lockfile): void {
  for (const [url, digest] of lock.registryFiles)
    if (digest)
      found.downloads.push({
        name: url.replace(/^[a-z]+:\/\/(?:.*\/modules\/)?/, ""),
        kind: "registry file",
        urls: [url],
        digest,
        marker: "canonical id",
        at: LOCKFILE,
      });
}

async function addModules(
  found: Declared,
  sources: readonly string[],
  lock: Lockfile | undefined,
  reader: RegistryReader,
  mirrors: readonly string[],
): Promise<void> {
  const reads = sources.map((url) => {
    const { registry, name, version } = parseSourceUrl(url)!;
    const digest = lock?.registryFiles.get(url);
    const registryDigest = lock?.registryFiles.get(joinUrl(registry, "bazel_registry.json"));
    return downloadsOfModule(
      { registry, name, version, at: LOCKFILE, mirrors, locked: true, ...(digest ? { digest } : {}), ...(registryDigest ? { registryDigest } : {}) },
      reader,
    );
  });
  for (const module of await Promise.all(reads)) add(found, module);
}

interface SelectionPlaces {
  registries: readonly string[];
  reader: RegistryReader;
  mirrors: readonly string[];
  module(text: string, file: string): ModuleFile;
  workspace: string;
}

async function addSelected(found: Declared, root: ModuleFile, { registries, reader, mirrors, module, workspace }: SelectionPlaces): Promise<void> {
  const readLocal = (relative: string) => {
    const file = path.join(workspace, relative, "MODULE.bazel");
    return existsSync(file) ? module(readText(file), path.relative(workspace, file)) : undefined;
  };
  const { modules, problems } = await selectModules({ root, registries, reader, parse: module, readLocal });
  found.problems.push(...problems);
  const reads = modules.map(({ registry, name, version, at }) => downloadsOfModule({ registry, name, version, at, mirrors, locked: false }, reader));
  for (const downloads of await Promise.all(reads)) add(found, downloads);
}
