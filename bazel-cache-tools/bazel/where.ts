// Where the repository cache is: the rules of the facts in their order, and which of them decided.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import path from "node:path";
import { Failure } from "../../host/cli/failure.js";
import { type RcOption, rcConfigValues, rcValues, readRcFiles } from "./rc.js";
import { type BazelVersion, isAtLeast } from "./version.js";

export interface Rule {
  /** What was looked at: "--cache", "BAZEL_REPOSITORY_CACHE", ".bazelrc --repository_cache", … */
  rule: string;
  /** What it says: "not set", a value with its place. */
  says: string;
  /** The cache by this rule, where it says something. */
  cache?: string;
}

export interface Where {
  cache: string;
  /** Index into `rules` of the one that decided. */
  decided: number;
  rules: Rule[];
  notes: string[];
  /** What the rc files say besides. */
  rc: readonly RcOption[];
}

export interface WhereInput {
  cache?: string | undefined;
  outputUserRoot?: string | undefined;
  workspace?: string | undefined;
  version?: BazelVersion | undefined;
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  cwd: string;
  /** For tests. */
  systemRc?: string;
}

export const CACHE_VARIABLE = "BAZEL_REPOSITORY_CACHE";

/** Where Bazel's default cache lies below the output user root (bazel 0.17 to 9). */
const BELOW_ROOT = path.join("cache", "repos", "v1");

/** The first rule that says something decides. Throws a Failure where an rc file switches the cache off. */
export function whereIsCache(input: WhereInput): Where {
  const { env, cwd, workspace } = input;
  const notes: string[] = [];
  const rc = readRcFiles({ workspace, env, platform: input.platform, cwd, ...(input.systemRc === undefined ? {} : { system: input.systemRc }) });
  for (const { file, at } of rc.missing) notes.push(`${at} imports ${file}, which is not there: Bazel refuses to run`);
  const rules: Rule[] = [];
  const add = (rule: string, value: string | undefined, at: string | undefined, cache: (value: string) => string) =>
    rules.push(value === undefined ? { rule, says: "not set" } : { rule, says: at ? `${value} (${at})` : value, cache: cache(value) });

  add("--cache", input.cache, undefined, (v) => path.resolve(cwd, tilde(v, input)));
  add(CACHE_VARIABLE, env[CACHE_VARIABLE] || undefined, undefined, (v) => path.resolve(cwd, tilde(v, input)));
  add("--output-user-root", input.outputUserRoot, undefined, (v) => path.join(path.resolve(cwd, tilde(v, input)), BELOW_ROOT));

  const names = ["repository_cache", "experimental_repository_cache"];
  const set = rcValues(rc.options, names);
  const option = set.at(-1);
  const seen = new Set(set.map(({ at }) => at));
  for (const { value, at, config } of rcConfigValues(rc.options, names).filter((v) => !seen.has(v.at)))
    notes.push(`${at} sets --repository_cache=${value} for --config=${config} only: say --cache where you build so`);
  const fetching = rcValues(rc.options, names, ["fetch"]).at(-1);
  if (fetching && fetching.value !== option?.value)
    notes.push(`${fetching.at} sets --repository_cache=${fetching.value} for bazel fetch only, which bazel build does not see: write common`);
  if (option?.command === "build") notes.push(`${option.at} sets it for bazel build; query, mod and sync do not see that: common is better than build there`);
  if (option?.value === "")
    throw new Failure(`${option.at}: --repository_cache= switches the cache off: remove that line, or name a directory there (or say --cache)`);
  add(".bazelrc --repository_cache", option?.value, option?.at, (v) => path.resolve(workspace ?? cwd, expandHome(v)));
  const root = rcValues(rc.options, ["output_user_root"], ["startup"]).at(-1);
  add(".bazelrc startup --output_user_root", root?.value, root?.at, (v) => path.join(path.resolve(workspace ?? cwd, tilde(v, input)), BELOW_ROOT));

  const user = `_bazel_${userName(env)}`;
  add("TEST_TMPDIR", env.TEST_TMPDIR || undefined, undefined, (v) => path.join(path.resolve(cwd, v), user, BELOW_ROOT));
  const base = outputRoot(input, notes);
  rules.push({ rule: base.rule, says: base.directory, cache: path.join(base.directory, user, BELOW_ROOT) });

  const decided = rules.findIndex((rule) => rule.cache !== undefined);
  return { cache: rules[decided]!.cache!, decided, rules, notes, rc: rc.options };
}

/** The directory above `_bazel_<user>` (bazel 7.7: `GetOutputRoot`, for each system). */
function outputRoot({ env, platform, version }: WhereInput, notes: string[]): { rule: string; directory: string } {
  const home = env.HOME || homedir();
  if (platform === "win32") return { rule: "Windows default", directory: env.HOME || env.USERPROFILE || homedir() };
  if (platform === "darwin") return macOutputRoot(env, home, version, notes);
  if (env.XDG_CACHE_HOME) {
    const follows = version === undefined || isAtLeast(version, 7, 2);
    if (follows) {
      if (version === undefined) notes.push("XDG_CACHE_HOME counts from Bazel 7.2 on; say --bazel-version where yours is older");
      return { rule: "XDG_CACHE_HOME", directory: path.join(env.XDG_CACHE_HOME, "bazel") };
    }
    notes.push(`XDG_CACHE_HOME is set, but Bazel ${version.text} (${version.from}) does not follow it; 7.2 and later do`);
  }
  return { rule: "default", directory: path.join(home, ".cache", "bazel") };
}

function macOutputRoot(env: NodeJS.ProcessEnv, home: string, version: BazelVersion | undefined, notes: string[]): { rule: string; directory: string } {
  const old = { rule: "macOS default before Bazel 9", directory: "/private/var/tmp" };
  const library = { rule: "macOS default from Bazel 9", directory: path.join(home, "Library", "Caches", "bazel") };
  const recent = env.XDG_CACHE_HOME ? { rule: "XDG_CACHE_HOME", directory: path.join(env.XDG_CACHE_HOME, "bazel") } : library;
  if (version) return isAtLeast(version, 9) ? recent : old;
  notes.push("which Bazel is used is not known: it was /private/var/tmp before 9 and ~/Library/Caches/bazel since; say --bazel-version, or --cache");
  const there = (directory: string) => existsSync(path.join(directory, `_bazel_${userName(env)}`));
  return !there(recent.directory) && there(old.directory) ? old : recent;
}

function userName(env: NodeJS.ProcessEnv): string {
  if (env.USER) return env.USER;
  try {
    return userInfo().username;
  } catch {
    return env.USERNAME || "unknown";
  }
}

/** Bazel itself expands `~/` in --repository_cache, by the password file and not by $HOME (measured on 4.2 and 7.7); a shell has expanded everything else. */
function expandHome(value: string): string {
  return value.startsWith("~/") ? path.join(passwordHome(), value.slice(2)) : value;
}

function passwordHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    return homedir();
  }
}

/** `~/` where $HOME counts: in --output_user_root, and on our own command line. */
function tilde(value: string, { env }: WhereInput): string {
  return value === "~" || value.startsWith("~/") ? path.join(env.HOME || homedir(), value.slice(2)) : value;
}

/** Asks Bazel, which starts its server (3 to 10 s) and knows best. */
export function askBazel(workspace: string, program = "bazel"): string {
  const { status, stdout, stderr, error } = spawnSync(program, ["info", "repository_cache"], { cwd: workspace, encoding: "utf8", timeout: 120_000 });
  if (error) throw new Failure(`${program} cannot be asked: ${(error as NodeJS.ErrnoException).code === "ENOENT" ? "it is not on PATH" : error.message}`);
  const answer = stdout.trim();
  if (status !== 0) {
    const lines = `${stdout}\n${stderr}`.trim().split("\n");
    const said = lines.find((line) => /error|fatal|not /i.test(line)) ?? lines.at(-1)!;
    throw new Failure(`bazel info repository_cache in ${workspace} failed: ${said.trim()}`);
  }
  if (answer === "" || answer === "null")
    throw new Failure(`bazel info repository_cache in ${workspace}: the cache is switched off (--repository_cache= in an rc file)`);
  return answer;
}
