// Tables of dependencies, as Envoy keeps them in repository_locations.bzl: name → dict(version, sha256, urls, …), with "{version}" in the URLs.
import { Dict, Struct, type Value } from "../starlark/index.js";
import type { Declared } from "./download.js";
import { hasUnknown, plain } from "./plain.js";
import { downloadsOfRule } from "./repository-rules.js";

export const TABLE_FILE = "repository_locations.bzl";

/** The downloads of all tables among a file's globals. `source`: the file's text, to find the line of an entry. */
export function downloadsOfTables(globals: ReadonlyMap<string, Value>, file: string, source: string): Declared {
  const found: Declared = { downloads: [], problems: [] };
  const lines = linesOfNames(source);
  for (const table of globals.values()) {
    if (!(table instanceof Dict)) continue;
    for (const [name, value] of table.entries()) if (typeof name === "string") addEntry(found, name, value, file, lines);
  }
  return found;
}

function addEntry(found: Declared, name: string, value: Value, file: string, lines: ReadonlyMap<string, number>): void {
  if (!(value instanceof Dict) && !(value instanceof Struct)) return;
  if (value instanceof Dict && !value.has("urls") && !value.has("url")) return;
  const entry = plain(value);
  if (typeof entry !== "object" || entry === null) return;
  const { urls, url, version, ...rest } = entry as Record<string, unknown>;
  if (urls === undefined && url === undefined) return;
  const at = `${file}:${lines.get(name) ?? 1}`;
  const substitute = (text: unknown) => (typeof text === "string" && typeof version === "string" ? withVersion(text, version) : text);
  const list = Array.isArray(urls) ? urls.map(substitute) : urls;
  const attributes = { ...rest, name, urls: list, ...(url === undefined ? {} : { url: substitute(url) }) };
  const unresolved = [list, attributes.url].flat().find((u) => typeof u === "string" && /\{\w+\}/.test(u));
  if (unresolved !== undefined && !hasUnknown(list)) {
    found.problems.push({ at, message: `${name}: its URL ${String(unresolved)} has a placeholder that is not known` });
    return;
  }
  const { downloads, problems } = downloadsOfRule("http_archive", true, attributes, at);
  found.downloads.push(...downloads);
  found.problems.push(...problems);
}

/** Envoy's own loader (envoy 1.39: `load_repository_locations_spec`) fills in these three. */
function withVersion(text: string, version: string): string {
  return text
    .replaceAll("{version}", version)
    .replaceAll("{dash_version}", version.replaceAll(".", "-"))
    .replaceAll("{underscore_version}", version.replaceAll(".", "_"));
}

/** Where a name is given a value: `name = …`, `"name": …`, `T["name"] = …`. The first place counts. */
function linesOfNames(source: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [index, line] of source.split("\n").entries()) {
    const name = /(?:^|[\s"'[(,{])([\w.+-]+)["']?\]?\s*[=:](?!=)/.exec(line)?.[1];
    if (name !== undefined && !found.has(name)) found.set(name, index + 1);
  }
  return found;
}
