// What repository rules download, by their attributes: the same for a call in a WORKSPACE file and for a specification in a lockfile.
import { type Digest, parseHex, parseIntegrity } from "../cache/digest.js";
import type { Declared, Download, Kind } from "./download.js";
import { hasUnknown } from "./plain.js";

/** Attributes as plain values. */
export type Attributes = Record<string, unknown>;

interface RuleShape {
  kind: Kind;
  /** From bazel 7.0 on the rule has its canonical id made of the URLs where the attribute does not say another. */
  marker: "urls" | "canonical id";
  /** Which attribute holds a digest in hexadecimal digits. */
  hex?: { attribute: string; algorithm: "sha1" | "sha256" };
  /** Which attributes hold URLs, in order. */
  urls?: string[];
  never?: string;
  /** Attributes as the rule behind a macro of Bazel's own gets them. */
  expand?(attributes: Attributes): Attributes;
}

const GIT = "git repositories are not in the repository cache; depend on an archive of the commit (http_archive) instead";

/** The rules of @bazel_tools//tools/build_defs/repo, and what they were before. */
const RULES: Record<string, RuleShape> = {
  http_archive: { kind: "archive", marker: "urls" },
  http_file: { kind: "file", marker: "urls" },
  http_jar: { kind: "jar", marker: "urls" },
  new_http_archive: { kind: "archive", marker: "urls" },
  jvm_import_external: { kind: "jar", marker: "urls", hex: { attribute: "artifact_sha256", algorithm: "sha256" }, urls: ["artifact_urls"] },
  jvm_maven_import_external: {
    kind: "jar",
    marker: "urls",
    hex: { attribute: "artifact_sha256", algorithm: "sha256" },
    urls: ["artifact_urls"],
    expand: expandMaven,
  },
  java_import_external: { kind: "jar", marker: "urls", hex: { attribute: "jar_sha256", algorithm: "sha256" }, urls: ["jar_urls"] },
  git_repository: { kind: "git", marker: "canonical id", never: GIT },
  new_git_repository: { kind: "git", marker: "canonical id", never: GIT },
};

/** Rules that fetch nothing. */
const LOCAL = new Set([
  "local_repository",
  "new_local_repository",
  "local_config_platform",
  "bind",
  "local_java_repository",
  "android_sdk_repository",
  "android_ndk_repository",
]);

/** `rule`: the rule's bare name. `builtIn`: whether it is Bazel's own, not one of the same name or of another repository. `at`: "file:line". */
export function downloadsOfRule(rule: string, builtIn: boolean, attributes: Attributes, at: string): Declared {
  const found: Declared = { downloads: [], problems: [] };
  if (builtIn && LOCAL.has(rule)) return found;
  const shape = builtIn && Object.hasOwn(RULES, rule) ? RULES[rule] : undefined;
  if (shape?.expand) attributes = shape.expand(attributes);
  const name = stringOf(attributes.name) ?? rule;
  if (shape?.never) {
    const remote = stringOf(attributes.remote);
    found.downloads.push({ name, kind: "git", urls: remote ? [remote] : [], marker: "canonical id", at, never: shape.never });
  } else addMain(found, rule, shape, name, attributes, at);
  addSides(found, name, attributes, at);
  return found;
}

function addMain(found: Declared, rule: string, shape: RuleShape | undefined, name: string, attributes: Attributes, at: string): void {
  const from = shape?.urls ?? ["url", "urls"];
  const urls = from.flatMap((attribute) => stringsOf(attributes[attribute]));
  const digestAttributes = ["integrity", shape?.hex?.attribute ?? "sha256"];
  const untold = [...from, ...digestAttributes].find((attribute) => hasUnknown(attributes[attribute]));
  if (untold) {
    found.problems.push({ at, message: `${rule} ${name}: its ${untold} cannot be told without running Bazel` });
    return;
  }
  if (urls.length === 0) {
    if (shape) found.problems.push({ at, message: `${rule} ${name} has no url` });
    return;
  }
  const download: Download = { name, kind: shape?.kind ?? "other", urls, marker: shape?.marker ?? "unknown", at };
  const id = stringOf(attributes.canonical_id);
  if (id) download.canonicalId = id;
  const before = found.problems.length;
  const digest = digestOfAttributes(attributes, shape, found, `${rule} ${name}`, at);
  if (digest) download.digest = digest;
  else if (found.problems.length > before) download.never = "its checksum is none: Bazel refuses it";
  else download.never = "it declares no sha256 and no integrity: Bazel never reads the cache for it; add the checksum";
  // A rule of somebody's own with URLs but no checksum may do anything.
  if (!shape && !digest) return;
  found.downloads.push(download);
}

function digestOfAttributes(attributes: Attributes, shape: RuleShape | undefined, found: Declared, what: string, at: string): Digest | undefined {
  const integrity = stringOf(attributes.integrity);
  if (integrity) {
    const digest = parseIntegrity(integrity);
    if (!digest) found.problems.push({ at, message: `${what}: integrity "${integrity}" is none; it has the form sha256-… (base64)` });
    if (digest) return digest;
  }
  const { attribute, algorithm } = shape?.hex ?? { attribute: "sha256", algorithm: "sha256" as const };
  const hex = stringOf(attributes[attribute]);
  if (!hex) return undefined;
  const digest = parseHex(hex, algorithm);
  if (!digest) found.problems.push({ at, message: `${what}: ${attribute} "${hex}" is none; it has ${algorithm === "sha1" ? 40 : 64} hexadecimal digits` });
  return digest;
}

/** Patches, overlays and module files that http_archive fetches besides: each with its own checksum, and without a marker unless the rule has a canonical id. */
function addSides(found: Declared, name: string, attributes: Attributes, at: string): void {
  const id = stringOf(attributes.canonical_id);
  const add = (kind: Kind, what: string, urls: string[], integrity: unknown) => {
    const digest = parseIntegrity(stringOf(integrity) ?? "");
    const download: Download = { name: `${name} ${what}`, kind, urls, marker: "canonical id", at, ...(id ? { canonicalId: id } : {}) };
    if (digest) download.digest = digest;
    else download.never = "it has no integrity: Bazel never reads the cache for it";
    found.downloads.push(download);
  };
  for (const [url, integrity] of entriesOf(attributes.remote_patches)) add("patch", baseName(url), [url], integrity);
  const integrities = new Map(entriesOf(attributes.remote_file_integrity));
  for (const [file, urls] of entriesOf(attributes.remote_file_urls)) add("overlay", file, stringsOf(urls), integrities.get(file));
  const moduleFile = stringsOf(attributes.remote_module_file_urls);
  if (moduleFile.length > 0) add("registry file", "MODULE.bazel", moduleFile, attributes.remote_module_file_integrity);
}

/** Maven coordinates as URLs on each server; they are the canonical id, too (bazel 4.2 to 7.7: jvm.bzl). */
function expandMaven(attributes: Attributes): Attributes {
  const { artifact, server_urls: servers } = attributes;
  if (typeof artifact !== "string") return attributes;
  const [group = "", id = "", ...rest] = artifact.split(":");
  const version = rest.at(-1) ?? "";
  const [packaging = "jar", classifier] = rest.slice(0, -1);
  const file = `${group.replaceAll(".", "/")}/${id}/${version}/${id}-${version}${classifier ? `-${classifier}` : ""}.${packaging}`;
  return { ...attributes, artifact_urls: stringsOf(servers).map((server) => joinOnce(server, file)), canonical_id: artifact };
}

/** With one slash between, where there is none. */
export function joinOnce(base: string, rest: string): string {
  return base.endsWith("/") || rest.startsWith("/") ? base + rest : `${base}/${rest}`;
}

export function baseName(url: string): string {
  return (
    url
      .replace(/[?#].*$/, "")
      .split("/")
      .at(-1) || url
  );
}

function stringOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function stringsOf(value: unknown): string[] {
  if (typeof value === "string") return value === "" ? [] : [value];
  return Array.isArray(value) ? value.filter((v): v is string => typeof v === "string" && v !== "") : [];
}

function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}
