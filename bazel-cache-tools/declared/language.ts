// What Bazel's language has besides Starlark's own functions, as far as files that declare repositories name it at loading.
import { Builtin, List, listOf, Struct, Unknown, type Value } from "../starlark/index.js";

/** Functions that declare nothing. */
const INERT = [
  "dont_symlink_directories_in_execroot",
  ...["register_toolchains", "register_execution_platforms", "rule", "aspect", "provider", "tag_class", "transition", "select", "macro", "exec_group"],
  ...["configuration_field", "visibility", "package", "licenses", "exports_files", "config_setting", "analysis_test", "materializer_rule", "subrule"],
];

/** Objects of which nothing is known but that they are there. */
const OPAQUE = [
  ...["attr", "config", "platform_common", "cc_common", "java_common", "apple_common", "proto_common", "coverage_common", "testing", "json"],
  ...["DefaultInfo", "CcInfo", "JavaInfo", "ProtoInfo", "PyInfo", "OutputGroupInfo", "RunEnvironmentInfo", "InstrumentedFilesInfo"],
];

/** Has every attribute; every one of them is a function that answers with another. */
export class Opaque extends Struct {
  constructor(private readonly name: string) {
    super(new Map(), name);
  }

  override get(attribute: string): Value {
    return new Builtin(`${this.name}.${attribute}`, () => this);
  }
}

/** The part of the language that says nothing of downloads. */
export function inertNames(): Map<string, Value> {
  const names = new Map<string, Value>();
  for (const name of OPAQUE) names.set(name, new Opaque(name));
  for (const name of INERT) names.set(name, new Builtin(name, () => new Opaque(name)));
  names.set("Label", new Builtin("Label", ({ positional }) => positional[0] ?? null));
  names.set("depset", new Builtin("depset", ({ positional: [items] }) => depset(items === undefined ? [] : (listOf(items) ?? []))));
  return names;
}

function depset(items: Value[]): Struct {
  return new Struct(new Map([["to_list", new Builtin("to_list", () => new List([...items]))]]), "depset");
}

/** What is said of things whose code is not here. */
export const ELSEWHERE = ": what it declares is known to Bazel only";

export const MODULE_EXTENSION = "module_extension";

/** What `module_extension(implementation = …)` gives: the implementation, to be run for its declarations. */
export function moduleExtension(): Builtin {
  return new Builtin(MODULE_EXTENSION, ({ named, positional }) => {
    const implementation = named.get("implementation") ?? positional[0] ?? null;
    return new Struct(new Map([["implementation", implementation]]), MODULE_EXTENSION);
  });
}

/** A tag of a MODULE.bazel for one extension. */
export interface Tag {
  name: string;
  attributes: ReadonlyMap<string, Value>;
}

/** The `module_ctx` of an extension's implementation: the root module's tags. What depends on the machine, or on other modules, is not known. */
export function moduleContext(moduleName: string, tags: readonly Tag[], at: Unknown["at"], download: Builtin): Struct {
  const tagLists = new Answering("tags", (name) => new List(tags.filter((tag) => tag.name === name).map((tag) => tagStruct(tag, at))));
  const module = new Struct(
    new Map<string, Value>([
      ["name", moduleName],
      ["version", ""],
      ["is_root", true],
      ["tags", tagLists],
    ]),
    "bazel_module",
  );
  const known = new Map<string, Value>([
    ["modules", new List([module])],
    ["extension_metadata", new Builtin("extension_metadata", () => null)],
    ["is_dev_dependency", new Builtin("is_dev_dependency", () => false)],
    ["root_module_has_non_dev_dependency", true],
    ["download", download],
    ["download_and_extract", download],
    ["report_progress", new Builtin("report_progress", () => null)],
    ["watch", new Builtin("watch", () => null)],
  ]);
  return new Answering("module_ctx", (name) => known.get(name) ?? new Unknown(`module_ctx.${name}${ELSEWHERE}`, at));
}

function tagStruct({ name, attributes }: Tag, at: Unknown["at"]): Struct {
  return new Answering(name, (attribute) => attributes.get(attribute) ?? new Unknown(`the default of ${name}.${attribute}${ELSEWHERE}`, at));
}

class Answering extends Struct {
  constructor(
    kind: string,
    private readonly answer: (name: string) => Value,
  ) {
    super(new Map(), kind);
  }

  override get(name: string): Value {
    return this.answer(name);
  }
}
