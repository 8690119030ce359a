// MODULE.bazel: what a module depends on, what it overrides, and the repositories that it makes itself (https://bazel.build/rules/lib/globals/module).
import { Builtin, type Call, type Site, Struct, type Value } from "../starlark/index.js";
import type { Problem } from "./download.js";
import { attributesOf, type Evaluation, placeOf } from "./evaluation.js";
import { parseLabel } from "./labels.js";
import type { Tag } from "./language.js";

export interface Dependency {
  name: string;
  version: string;
  /** Counts in the root module only. */
  dev: boolean;
  at: string;
}

export type Override = { name: string; at: string } & (
  | { kind: "archive" | "git" }
  | { kind: "local"; path: string }
  | { kind: "single"; version?: string; registry?: string }
  | { kind: "multiple"; registry?: string }
);

export interface Extension {
  /** "//bazel:extensions.bzl%deps". */
  id: string;
  at: Site;
  /** Where it is a file of the workspace's own. */
  file?: string;
  name: string;
  tags: Tag[];
}

export interface ModuleFile {
  name: string;
  deps: Dependency[];
  overrides: Override[];
  extensions: Extension[];
  problems: Problem[];
}

/** The directives that say nothing of downloads. */
const INERT = ["register_toolchains", "register_execution_platforms", "use_repo", "inject_repo", "override_repo", "flag_alias", "print"];

/** Runs a MODULE.bazel. Repositories that it declares itself (archive_override, use_repo_rule) go to the evaluation's findings. `source`: its text, where the file is not the workspace's. */
export function readModuleFile(evaluation: Evaluation, relative: string, source?: string): ModuleFile {
  const module: ModuleFile = { name: "", deps: [], overrides: [], extensions: [], problems: [] };
  const names = directives(module, evaluation, source === undefined);
  evaluation.runWith(relative, names, source);
  return module;
}

function directives(module: ModuleFile, evaluation: Evaluation, includes: boolean): Map<string, Value> {
  const names = new Map<string, Value>();
  const define = (name: string, run: (attributes: Record<string, unknown>, call: Call) => Value | undefined) =>
    names.set(name, new Builtin(name, (call) => run(attributesOf(call), call) ?? null));
  for (const name of INERT) define(name, () => null);

  define("module", ({ name }) => {
    module.name = text(name) ?? "";
    return null;
  });
  define("bazel_dep", ({ name, version, dev_dependency: dev }, call) => {
    // The second positional parameter is the version.
    const second = call.positional[1];
    if (typeof name === "string")
      module.deps.push({ name, version: text(version) ?? (typeof second === "string" ? second : ""), dev: dev === true, at: placeOf(call) });
    return null;
  });
  addOverrides(define, module, evaluation);
  define("use_extension", (attributes, call) => {
    const file = text(call.named.get("extension_bzl_file")) ?? text(attributes.name);
    const name = text(call.named.get("extension_name")) ?? text(call.positional[1]);
    const extension: Extension = { id: `${file ?? "?"}%${name ?? "?"}`, name: name ?? "?", at: call.at, tags: [] };
    const label = file === undefined ? undefined : parseLabel(file, "");
    if (label?.repository === "" || label?.repository === module.name) extension.file = label!.path;
    module.extensions.push(extension);
    return new ExtensionProxy(evaluation, extension.tags);
  });
  define("use_repo_rule", (attributes, call) => {
    const file = text(attributes.name) ?? "";
    const rule = text(call.positional[1]) ?? text(attributes.repo_rule_name) ?? "";
    if (/^@+bazel_tools\/\/tools\/build_defs\/repo:/.test(file)) return evaluation.rule(rule);
    return new Builtin(rule, (inner) => {
      evaluation.declare(rule, false, inner);
      return null;
    });
  });
  const included = new Set<string>();
  define("include", ({ name }, call) => {
    const label = typeof name === "string" ? parseLabel(name, "") : undefined;
    // A file is included once: two that include one another would never end.
    if (!includes || !label || label.repository !== "" || included.has(label.path)) {
      module.problems.push({ at: placeOf(call), message: `include(${JSON.stringify(name)}) cannot be followed` });
      return null;
    }
    included.add(label.path);
    evaluation.runWith(label.path, names);
    return null;
  });
  return names;
}

type Define = (name: string, run: (attributes: Record<string, unknown>, call: Call) => Value | undefined) => void;

function addOverrides(define: Define, module: ModuleFile, evaluation: Evaluation): void {
  const nameOf = (attributes: Record<string, unknown>) => text(attributes.module_name) ?? text(attributes.name) ?? "?";
  define("archive_override", (attributes, call) => {
    const name = nameOf(attributes);
    module.overrides.push({ kind: "archive", name, at: placeOf(call) });
    // Bazel makes an http_archive of it, under the module's name.
    evaluation.declare("http_archive", true, { ...call, positional: [name], named: new Map([...call.named].filter(([key]) => key !== "module_name")) });
    return null;
  });
  define("git_override", (attributes, call) => {
    const name = nameOf(attributes);
    module.overrides.push({ kind: "git", name, at: placeOf(call) });
    evaluation.declare("git_repository", true, { ...call, positional: [name], named: new Map([...call.named].filter(([key]) => key !== "module_name")) });
    return null;
  });
  define("local_path_override", (attributes, call) => {
    module.overrides.push({ kind: "local", name: nameOf(attributes), path: text(attributes.path) ?? ".", at: placeOf(call) });
    return null;
  });
  const registryOf = (attributes: Record<string, unknown>) => (text(attributes.registry) ? { registry: text(attributes.registry)! } : {});
  define("single_version_override", (attributes, call) => {
    const version = text(attributes.version);
    module.overrides.push({ kind: "single", name: nameOf(attributes), at: placeOf(call), ...(version ? { version } : {}), ...registryOf(attributes) });
    return null;
  });
  define("multiple_version_override", (attributes, call) => {
    module.overrides.push({ kind: "multiple", name: nameOf(attributes), at: placeOf(call), ...registryOf(attributes) });
    return null;
  });
}

/** What use_extension gives: every attribute is a tag. Tags that have URLs and a checksum are taken for what they say; the extension's code may do more. */
class ExtensionProxy extends Struct {
  constructor(
    private readonly evaluation: Evaluation,
    private readonly tags: Tag[],
  ) {
    super(new Map(), "module_extension_proxy");
  }

  override get(tag: string): Value {
    return new Builtin(tag, (call) => {
      this.tags.push({ name: tag, attributes: call.named });
      this.evaluation.declare(tag, false, call);
      return null;
    });
  }
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
