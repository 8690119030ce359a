// MODULE.bazel.lock: hashes of registry files, and the repositories that module extensions make. Read by shape, not by version: 3 (bazel 7.0) to 28 (9.2) differ.
import { type Digest, parseHex } from "../cache/digest.js";
import type { Declared } from "./download.js";
import { isObject, parseJson, readText } from "./json.js";
import { type Attributes, downloadsOfRule } from "./repository-rules.js";

export interface Lockfile extends Declared {
  /** URL of a registry's file → its digest, or undefined for one that the registry does not have. */
  registryFiles: Map<string, Digest | undefined>;
  /** "//bazel:extensions.bzl%deps" of the root module's own files, "rules_go//go:extensions.bzl%go_sdk" of others'. */
  extensions: Set<string>;
}

export function readLockfile(file: string): Lockfile {
  const json = parseJson(readText(file), file);
  const lock: Lockfile = { downloads: [], problems: [], registryFiles: new Map(), extensions: new Set() };
  if (!isObject(json)) {
    lock.problems.push({ at: file, message: "is no lockfile: write it anew with bazel mod deps --lockfile_mode=update" });
    return lock;
  }
  if (isObject(json.registryFileHashes)) {
    for (const [url, hash] of Object.entries(json.registryFileHashes)) lock.registryFiles.set(url, typeof hash === "string" ? parseHex(hash) : undefined);
  }
  if (isObject(json.moduleExtensions)) for (const id of Object.keys(json.moduleExtensions)) lock.extensions.add(extensionKey(id));
  // Bazel 7.0 and 7.1 keep the modules' own repositories in the lockfile, too.
  collectSpecs(json.moduleExtensions, lock, file);
  collectSpecs(json.moduleDepGraph, lock, file);
  return lock;
}

/** "@@rules_go+//go:extensions.bzl%go_sdk" and "@rules_go//go:extensions.bzl%go_sdk" are one. */
export function extensionKey(id: string): string {
  return id.replace(/^@*([^/~+]*)[^/]*\/\//, "$1//");
}

/** `{"repoRuleId": "@@bazel_tools//…:http.bzl%http_archive", "attributes": {…}}`, or `bzlFile` and `ruleClassName` in place of the id, wherever it stands. */
function collectSpecs(root: unknown, into: Declared, file: string): void {
  const waiting: { value: unknown; name: string }[] = [{ value: root, name: "" }];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { value, name } = next;
    if (Array.isArray(value)) {
      for (const item of value) waiting.push({ value: item, name });
      continue;
    }
    if (!isObject(value)) continue;
    if (isObject(value.attributes) && (typeof value.repoRuleId === "string" || typeof value.ruleClassName === "string")) {
      addSpec(value, name, into, file);
      continue;
    }
    for (const [key, child] of Object.entries(value).reverse()) waiting.push({ value: child, name: key === "repoSpec" ? name : key });
  }
}

function addSpec(spec: Record<string, unknown>, key: string, into: Declared, file: string): void {
  const [bzlFile = "", rule = ""] =
    typeof spec.repoRuleId === "string" ? spec.repoRuleId.split("%", 2) : [String(spec.bzlFile ?? ""), String(spec.ruleClassName)];
  const builtIn = /^@*bazel_tools\/\/tools\/build_defs\/repo:/.test(bzlFile);
  const attributes = spec.attributes as Attributes;
  // Canonical names ("rules_go~~go_sdk~x", "+ext+x") say more than the key.
  const { downloads, problems } = downloadsOfRule(rule, builtIn, { ...attributes, name: key || attributes.name }, file);
  into.downloads.push(...downloads);
  into.problems.push(...problems);
}
