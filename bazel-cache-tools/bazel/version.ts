// Which Bazel a workspace is built with: it decides what is looked up in the cache, and how.
import path from "node:path";
import { type RcOption, rcFlag, rcValues, textOf } from "./rc.js";

export interface BazelVersion {
  major: number;
  minor: number;
  text: string;
  /** Where it is said. */
  from: string;
}

/** "7.7.1", "7.x", "bazelbuild/7.7.1", also with a comment behind it. */
export function parseVersion(text: string, from: string): BazelVersion | undefined {
  const plain = text
    .replace(/#.*/, "")
    .trim()
    .replace(/^[\w-]+\//, "");
  const found = /^v?(\d+)\.(\d+)/.exec(plain) ?? /^v?(\d+)(?:\.x|\.\*)?$/.exec(plain);
  return found ? { major: Number(found[1]), minor: Number(found[2] ?? 0), text: plain, from } : undefined;
}

/** USE_BAZEL_VERSION (of the environment, or of .bazeliskrc), then the workspace's .bazelversion, as bazelisk reads them. Undefined where nothing says it, or says "latest" and the like. */
export function bazelVersion(workspace: string | undefined, env: NodeJS.ProcessEnv): BazelVersion | undefined {
  if (env.USE_BAZEL_VERSION) return parseVersion(env.USE_BAZEL_VERSION, "USE_BAZEL_VERSION");
  if (workspace === undefined) return undefined;
  const rc = /^\s*USE_BAZEL_VERSION\s*=\s*(\S+)/m.exec(textOf(path.join(workspace, ".bazeliskrc")))?.[1];
  if (rc) return parseVersion(rc, ".bazeliskrc");
  return parseVersion(textOf(path.join(workspace, ".bazelversion")).split("\n", 1)[0]!, ".bazelversion");
}

export function isAtLeast(version: BazelVersion, major: number, minor = 0): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** What http_archive and its kin make a canonical id of where they declare none: nothing, their URLs (7.0), or their URLs by the flag of 5.1 to 6. */
export type CanonicalIds = "none" | "urls" | "urls 6";

/** Where the version is not known it may be a new one, which asks for the most. */
export function canonicalIds(version: BazelVersion | undefined, options: readonly RcOption[]): CanonicalIds {
  if (version === undefined || isAtLeast(version, 7)) {
    const off = rcValues(options, ["repo_env"]).findLast(({ value }) => value.startsWith("BAZEL_HTTP_RULES_URLS_AS_DEFAULT_CANONICAL_ID="));
    return off?.value.endsWith("=0") ? "none" : "urls";
  }
  const asked = isAtLeast(version, 5, 1) && rcFlag(options, "experimental_repository_cache_urls_as_default_canonical_id");
  return asked ? "urls 6" : "none";
}
