// A module from what the command line names: built from .ts files, or read from a .wasm; and its configuration checked against the manifest.
import { existsSync, readFileSync } from "node:fs";
import type { BuildOptions } from "../compiler/index.js";
import { type Manifest, readManifest } from "../compiler/manifest.js";
import { Failure, usage } from "./failure.js";
import { color } from "./terminal.js";

export interface LoadedModule {
  wasm: Uint8Array;
  /** Missing for a module from another toolchain. */
  manifest: Manifest | undefined;
}

export interface BuildFlags {
  memory?: number;
  budget?: number;
  debug?: boolean;
}

export function buildOptions({ memory, budget, debug }: BuildFlags): BuildOptions {
  return { ...(memory === undefined ? {} : { memory }), ...(budget === undefined ? {} : { budget }), ...(debug ? { debug } : {}) };
}

/** Builds or reads. Diagnostics go to stderr with their source frames. */
export async function loadModule(files: string[], options: BuildOptions): Promise<LoadedModule> {
  if (files.some((file) => file.endsWith(".wasm"))) {
    if (files.length > 1) throw usage("name either one .wasm or .ts files, not both");
    if (!existsSync(files[0]!)) throw new Failure(`${files[0]}: there is no such file`);
    const wasm = readFileSync(files[0]!);
    if (wasm.length < 8 || wasm.readUInt32LE(0) !== 0x6d736100) throw new Failure(`${files[0]}: not a WebAssembly module`);
    return { wasm, manifest: readManifest(wasm) };
  }
  return buildOrExplain(files, options);
}

export async function buildOrExplain(files: string[], options: BuildOptions): Promise<{ wasm: Uint8Array; manifest: Manifest }> {
  // asc 0.28 looks for a --wasm of its own among the process's arguments when it is loaded; ours are read by now.
  process.argv.length = 2;
  // A second of loading that only those pay who compile.
  const { BuildError, build, formatDiagnostics } = await import("../compiler/index.js");
  try {
    const { wasm, manifest, warnings } = build(files, options);
    if (warnings.length) console.error(`${formatDiagnostics(warnings, { color: color.err })}\n`);
    return { wasm, manifest };
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(`${formatDiagnostics(error.diagnostics, { color: color.err })}\n`);
    const count = error.diagnostics.filter((d) => d.severity === "error").length;
    throw new Failure(`${files.join(", ")}: ${count === 1 ? "1 error" : `${count} errors`}, nothing was built`);
  }
}

export interface UsedFilter {
  name: string;
  config: unknown;
}

/** Which filters a configuration uses, with the part of it each gets. Throws a Failure that names path and reason. */
export async function checkConfig(manifest: Manifest | undefined, config: unknown, rootId: string | undefined): Promise<UsedFilter[]> {
  if (!manifest) return [];
  const byName = (name: string) => manifest.filters.find((f) => f.name === name);
  const names = manifest.filters.map((f) => f.name).join(", ");
  const used: (UsedFilter & { path: string })[] = [];
  const chain = (config as { filters?: unknown } | undefined)?.filters;
  const own = manifest.filters.length === 1 ? (manifest.filters[0]!.configSchema.properties as object | undefined) : undefined;
  if (rootId !== undefined) {
    if (!byName(rootId)) throw usage(`--filter ${rootId}: the module has no such filter (filters: ${names})`);
    used.push({ name: rootId, config: config ?? {}, path: rootId });
  } else if (Array.isArray(chain) && !(own && "filters" in own)) {
    for (const [i, entry] of (chain as { name?: string; config?: unknown }[]).entries()) {
      if (!entry.name || !byName(entry.name))
        throw usage(`configuration: filters[${i}].name: ${JSON.stringify(entry.name)} is no filter of the module (filters: ${names})`);
      used.push({ name: entry.name, config: entry.config ?? {}, path: `filters[${i}].config` });
    }
  } else if (manifest.filters.length === 1) {
    used.push({ name: manifest.filters[0]!.name, config: config ?? {}, path: manifest.filters[0]!.name });
  } else {
    throw usage(`the module has several filters (${names}): choose one with --filter, or configure {"filters":[{"name":…,"config":{…}}]}`);
  }
  const { Ajv2020 } = await import("ajv/dist/2020.js");
  const ajv = new Ajv2020({ allErrors: true, strict: false });
  for (const { name, config: part, path } of used) {
    const validate = ajv.compile(byName(name)!.configSchema);
    if (validate(part)) continue;
    const problems = (validate.errors ?? []).map((e) => {
      const where = `${path}${e.instancePath.replaceAll("/", ".")}`;
      if (e.keyword === "additionalProperties") return `${where}.${e.params.additionalProperty}: there is no such field`;
      if (e.keyword === "required") return `${where}.${e.params.missingProperty}: is required`;
      return `${where}: ${e.message}${e.keyword === "enum" ? ` (${(e.params.allowedValues as unknown[]).join(", ")})` : ""}`;
    });
    throw new Failure(`configuration: ${problems.join("; ")}${config === undefined ? " (give it with --config)" : ""}`);
  }
  return used;
}

/** Clusters that the filters in use call: named in the code, in the configuration, or by a field's default. */
export function clustersOf(manifest: Manifest | undefined, used: UsedFilter[]): string[] {
  const names = new Set<string>();
  for (const { name, config } of used) {
    const filter = manifest?.filters.find((f) => f.name === name);
    if (!filter) continue;
    for (const cluster of filter.clusters) names.add(cluster);
    for (const field of filter.clusterFields) {
      for (const value of valuesAt(config, filter.configSchema, field.split("."))) for (const one of texts(value)) if (one) names.add(one);
    }
  }
  return [...names];
}

/** A field may hold one name, a list of them, or a map of them. */
function texts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return value && typeof value === "object" ? Object.values(value).flatMap(texts) : [];
}

interface SchemaNode {
  properties?: Record<string, SchemaNode>;
  items?: SchemaNode;
  additionalProperties?: SchemaNode | false;
  default?: unknown;
}

/** What a configuration (or, where it says nothing, its schema's default) has at a path; "*" stands for every element. */
function valuesAt(value: unknown, schema: unknown, path: string[]): unknown[] {
  const node = (schema ?? {}) as SchemaNode;
  const here = (value ?? node.default) as Record<string, unknown> | undefined;
  const [name, ...rest] = path;
  if (name === undefined) return [here];
  if (name !== "*") return valuesAt(here?.[name], node.properties?.[name], rest);
  return Object.values(here ?? {}).flatMap((element) => valuesAt(element, node.items ?? node.additionalProperties, rest));
}
