// Registries of Bazel modules: which archive, patches and overlays a module's version is made of (bazel 7.7: `IndexRegistry`).
import { existsSync, readFileSync } from "node:fs";
import { type Digest, digestOf, keyOf, parseIntegrity, sameDigest } from "../cache/digest.js";
import { entryFile } from "../cache/layout.js";
import type { Declared, Download } from "./download.js";
import { localPath } from "./file-url.js";
import { isObject } from "./json.js";
import { joinOnce } from "./repository-rules.js";

export const DEFAULT_REGISTRY = "https://bcr.bazel.build/";

/** What a registry's file is: its bytes, known to be absent, or not to be had here and now (with the reason). */
export type RegistryFile = { bytes: Uint8Array } | { absent: true } | { unavailable: string };

export interface RegistryReader {
  read(url: string, digest?: Digest): Promise<RegistryFile>;
}

/** Reads what is on this machine: `file:` registries, and files of other registries that are in the cache. `online` is asked for the rest. */
export function registryReader(cache: string | undefined, online?: (url: string, digest?: Digest) => Promise<RegistryFile>): RegistryReader {
  const known = new Map<string, Promise<RegistryFile>>();
  const look = async (url: string, digest?: Digest): Promise<RegistryFile> => {
    if (url.startsWith("file:")) {
      const file = localPath(url);
      return file !== undefined && existsSync(file) ? { bytes: readFileSync(file) } : { absent: true };
    }
    if (digest && cache !== undefined) {
      const file = entryFile(cache, digest);
      const bytes = existsSync(file) ? readFileSync(file) : undefined;
      if (bytes && sameDigest(digestOf(bytes, digest.algorithm), digest)) return { bytes };
    }
    return online
      ? online(url, digest)
      : {
          unavailable: digest
            ? "it is not in the cache"
            : "no lockfile says its checksum, so that Bazel never reads it from the cache: write one (bazel mod deps) and keep it",
        };
  };
  return {
    read(url, digest) {
      const key = `${url} ${digest ? keyOf(digest) : ""}`;
      const before = known.get(key);
      if (before) return before;
      const reading = look(url, digest);
      known.set(key, reading);
      return reading;
    },
  };
}

/** Joins as Bazel does: exactly one slash between. */
export function joinUrl(base: string, rest: string): string {
  return `${base.replace(/\/+$/, "")}/${rest.replace(/^\/+/, "")}`;
}

/** `%workspace%` and the slash at the end, as in `--registry`. A path without a scheme is refused by Bazel. */
export function registryUrl(text: string, workspace: string): string {
  return text.replace("%workspace%", workspace).replace(/\/+$/, "");
}

export function moduleFileUrl(registry: string, name: string, version: string, file: string): string {
  return joinUrl(registry, `modules/${name}/${version}/${file}`);
}

/** "…/modules/NAME/VERSION/source.json" taken apart. */
export function parseSourceUrl(url: string): { registry: string; name: string; version: string } | undefined {
  const [, registry, name, version] = /^(.*)\/modules\/([^/]+)\/([^/]+)\/source\.json$/.exec(url) ?? [];
  return registry === undefined ? undefined : { registry, name: name!, version: version! };
}

export interface ModuleSource {
  registry: string;
  name: string;
  version: string;
  /** Of source.json, from the lockfile. */
  digest?: Digest;
  /** Of bazel_registry.json. */
  registryDigest?: Digest;
  /** Whether the lockfile has the module's MODULE.bazel, which is declared with it then. */
  locked: boolean;
  /** "file:line" of what depends on it. */
  at: string;
  /** `--module_mirrors`. */
  mirrors: readonly string[];
}

/** What Bazel downloads for one version of a module. */
export async function downloadsOfModule(source: ModuleSource, reader: RegistryReader): Promise<Declared> {
  const { registry, name, version, at } = source;
  const found: Declared = { downloads: [], problems: [] };
  const title = `${name}@${version}`;
  const url = moduleFileUrl(registry, name, version, "source.json");
  const json = await readObject(url, source.digest, reader);
  if ("problem" in json) {
    found.problems.push({ at, message: `${title}: ${url}: ${json.problem}: run bazel-cache fetch to get it` });
    return found;
  }
  const type = json.object.type ?? "archive";
  if (type === "local_path") return found;
  if (type === "git_repository") {
    const remote = typeof json.object.remote === "string" ? [json.object.remote] : [];
    found.downloads.push({ name: title, kind: "git", urls: remote, marker: "canonical id", at, never: "git repositories are not in the repository cache" });
    return found;
  }
  const mirrors = [...source.mirrors, ...(await mirrorsOf(registry, source.registryDigest, reader))].filter((m, i, all) => all.indexOf(m) === i);
  addArchive(found, json.object, title, url, mirrors, at);
  const side = (kind: "patch" | "overlay", folder: string, files: unknown) => {
    if (!isObject(files)) return;
    for (const [file, integrity] of Object.entries(files)) {
      const download: Download = {
        name: `${title} ${folder}/${file}`,
        kind,
        urls: [moduleFileUrl(registry, name, version, `${folder}/${file}`)],
        marker: "canonical id",
        at,
      };
      addDigest(download, integrity);
      found.downloads.push(download);
    }
  };
  side("patch", "patches", json.object.patches);
  side("overlay", "overlay", json.object.overlay);
  if (!source.locked) await addModuleFile(found, source, reader);
  return found;
}

/** A module's repository is given its MODULE.bazel from the registry, by the checksum that it had when the module was resolved (bazel 7.7: http_archive's remote_module_file_urls). */
async function addModuleFile(found: Declared, { registry, name, version, at }: ModuleSource, reader: RegistryReader): Promise<void> {
  const url = moduleFileUrl(registry, name, version, "MODULE.bazel");
  const file = await reader.read(url);
  if (!("bytes" in file)) return; // Whoever selected the module has said so.
  found.downloads.push({
    name: `${name}@${version} MODULE.bazel`,
    kind: "registry file",
    urls: [url],
    digest: digestOf(file.bytes, "sha256"),
    marker: "canonical id",
    at,
  });
}

function addArchive(found: Declared, json: Record<string, unknown>, title: string, where: string, mirrors: readonly string[], at: string): void {
  const { url, integrity, mirror_urls: more } = json;
  if (typeof url !== "string") {
    found.problems.push({ at: where, message: `${title}: has no url` });
    return;
  }
  const before = mirrors.map((mirror) => mirrored(mirror, url)).filter((u) => u !== undefined);
  const behind = Array.isArray(more) ? more.filter((u): u is string => typeof u === "string") : [];
  const download: Download = {
    name: title,
    kind: "module",
    urls: [...before, url, ...behind],
    otherUrls: [[url], [...before, url], [url, ...behind]],
    marker: "urls",
    text: "module",
    at,
  };
  addDigest(download, integrity);
  found.downloads.push(download);
}

function addDigest(download: Download, integrity: unknown): void {
  const digest = typeof integrity === "string" ? parseIntegrity(integrity) : undefined;
  if (digest) download.digest = digest;
  else download.never = "the registry gives no integrity for it: Bazel never reads the cache for it";
}

/** A mirror has a URL's authority and path below its own (bazel 7.7: authority with the port, path with the query). */
function mirrored(mirror: string, url: string): string | undefined {
  const [, authority, rest] = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)([^#]*)/i.exec(url) ?? [];
  return authority === undefined ? undefined : joinOnce(joinOnce(mirror, authority), rest!);
}

async function mirrorsOf(registry: string, digest: Digest | undefined, reader: RegistryReader): Promise<string[]> {
  const json = await readObject(joinUrl(registry, "bazel_registry.json"), digest, reader);
  return "object" in json && Array.isArray(json.object.mirrors) ? json.object.mirrors.filter((m): m is string => typeof m === "string") : [];
}

async function readObject(url: string, digest: Digest | undefined, reader: RegistryReader): Promise<{ object: Record<string, unknown> } | { problem: string }> {
  const file = await reader.read(url, digest);
  if ("unavailable" in file) return { problem: file.unavailable };
  if ("absent" in file) return { problem: "the registry does not have it" };
  try {
    const object: unknown = JSON.parse(Buffer.from(file.bytes).toString("utf8"));
    return isObject(object) ? { object } : { problem: "is no JSON object" };
  } catch {
    return { problem: "is no JSON" };
  }
}
