// Which Bazel a workspace is built with: it decides what is looked up in the cache, and how.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

export interface BazelVersion {
  major: number;
  minor: number;
  text: string;
  /** Where it is said. */
  from: string;
}

export function parseVersion(text: string, from: string): BazelVersion | undefined {
  const found = /^v?(\d+)\.(\d+)/.exec(text) ?? /^v?(\d+)(?:\.x|\.\*)?$/.exec(text);
  return found ? { major: Number(found[1]), minor: Number(found[2] ?? 0), text, from } : undefined;
}

/** USE_BAZEL_VERSION, then the workspace's .bazelversion, as bazelisk reads them. Undefined where nothing says it, or says "latest" and the like. */
export function bazelVersion(workspace: string | undefined, env: NodeJS.ProcessEnv): BazelVersion | undefined {
  if (env.USE_BAZEL_VERSION) return parseVersion(env.USE_BAZEL_VERSION.trim(), "USE_BAZEL_VERSION");
  const file = workspace === undefined ? undefined : path.join(workspace, ".bazelversion");
  if (file === undefined || !existsSync(file)) return undefined;
  const line = readFileSync(file, "utf8").split("\n", 1)[0]!.trim();
  return parseVersion(line, ".bazelversion");
}

export function isAtLeast(version: BazelVersion, major: number, minor = 0): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** Whether http_archive and its kin ask for a marker made of their URLs (bazel 7.0). Where the version is not known they may. */
export function needsUrlMarkers(version: BazelVersion | undefined): boolean {
  return version === undefined || isAtLeast(version, 7);
}
