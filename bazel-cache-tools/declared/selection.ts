// Which versions of which modules a root module gets where no lockfile says it: the highest that anybody asks for (minimal version selection,
// https://bazel.build/external/module#version-selection), walked in rounds over the registries.
import type { Problem } from "./download.js";
import type { ModuleFile } from "./module-file.js";
import { compareVersions } from "./module-version.js";
import { moduleFileUrl, type RegistryReader } from "./registry.js";

export interface Selected {
  name: string;
  version: string;
  registry: string;
  /** "file:line" of the dependency that asked for this version first. */
  at: string;
}

export interface Selection {
  modules: Selected[];
  problems: Problem[];
}

export interface SelectionInput {
  root: ModuleFile;
  registries: readonly string[];
  reader: RegistryReader;
  /** Reads a module's MODULE.bazel from text. */
  parse(text: string, file: string): ModuleFile;
  /** The MODULE.bazel of a module that lies in a directory of the workspace. */
  readLocal(path: string): ModuleFile | undefined;
}

interface Wanted {
  name: string;
  version: string;
  at: string;
}

/** More than any real graph has: a registry that invents modules must end. */
const MOST_MODULES = 20_000;

export async function selectModules(input: SelectionInput): Promise<Selection> {
  const { root } = input;
  const problems: Problem[] = [];
  const overrides = new Map(root.overrides.map((o) => [o.name, o]));
  const graph = new Map<string, { module: Selected; deps: Wanted[] }>();
  const key = ({ name, version }: { name: string; version: string }) => `${name}@${version}`;
  /** Overrides of the root decide; nobody else's count. */
  const settle = (wanted: Wanted): Wanted => {
    const override = overrides.get(wanted.name);
    if (!override || override.kind === "multiple") return wanted;
    return { ...wanted, version: override.kind === "single" ? (override.version ?? wanted.version) : "" };
  };

  let round: Wanted[] = root.deps.map(settle);
  while (round.length > 0 && graph.size < MOST_MODULES) {
    const fresh = new Map(round.filter((w) => w.name !== root.name && !graph.has(key(w))).map((w) => [key(w), w]));
    const read = await Promise.all([...fresh.values()].map((wanted) => readModule(wanted, overrides, input, problems)));
    round = [];
    for (const node of read) {
      const deps = (node.file?.deps ?? []).filter((d) => !d.dev).map(settle);
      graph.set(key(node.module), { module: node.module, deps });
      round.push(...deps);
    }
  }
  const several = new Set(root.overrides.filter((o) => o.kind === "multiple").map((o) => o.name));
  return { modules: reachable(root, graph, several, settle), problems };
}

async function readModule(
  wanted: Wanted,
  overrides: ReadonlyMap<string, ModuleFile["overrides"][number]>,
  { registries, reader, parse, readLocal }: SelectionInput,
  problems: Problem[],
): Promise<{ module: Selected; file?: ModuleFile }> {
  const override = overrides.get(wanted.name);
  if (override?.kind === "local") {
    const file = readLocal(override.path);
    problems.push(...(file?.problems ?? []));
    return { module: { ...wanted, registry: "" }, ...(file ? { file } : {}) };
  }
  if (override?.kind === "archive" || override?.kind === "git") {
    problems.push({
      at: override.at,
      message: `${wanted.name} comes from ${override.kind === "git" ? "git" : "an archive"}: what it depends on is known from MODULE.bazel.lock only`,
      elsewhere: true,
    });
    return { module: { ...wanted, registry: "" } };
  }
  const own = override && "registry" in override ? override.registry : undefined;
  for (const registry of own ? [own] : registries) {
    const url = moduleFileUrl(registry, wanted.name, wanted.version, "MODULE.bazel");
    const answer = await reader.read(url);
    if ("absent" in answer) continue;
    if ("unavailable" in answer) {
      problems.push({ at: wanted.at, message: `${wanted.name}@${wanted.version}: ${url}: ${answer.unavailable}` });
      return { module: { ...wanted, registry: "" } };
    }
    const file = parse(Buffer.from(answer.bytes).toString("utf8"), url);
    problems.push(...file.problems);
    return { module: { ...wanted, registry }, file };
  }
  problems.push({ at: wanted.at, message: `${wanted.name}@${wanted.version} is in no registry (${registries.join(", ")})` });
  return { module: { ...wanted, registry: "" } };
}

/** The highest version of each module, as far as it is reached from the root through the highest versions. */
function reachable(
  root: ModuleFile,
  graph: ReadonlyMap<string, { module: Selected; deps: Wanted[] }>,
  several: ReadonlySet<string>,
  settle: (wanted: Wanted) => Wanted,
): Selected[] {
  const highest = new Map<string, string>();
  for (const { module } of graph.values()) {
    const before = highest.get(module.name);
    if (before === undefined || compareVersions(module.version, before) > 0) highest.set(module.name, module.version);
  }
  const chosen = new Map<string, Selected>();
  const waiting = root.deps.map(settle);
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const version = several.has(next.name) ? next.version : (highest.get(next.name) ?? next.version);
    const id = `${next.name}@${version}`;
    const node = graph.get(id);
    if (!node || chosen.has(id)) continue;
    chosen.set(id, node.module);
    waiting.push(...node.deps);
  }
  return [...chosen.values()].filter((m) => m.registry !== "").sort((a, b) => (a.name < b.name ? -1 : 1));
}
