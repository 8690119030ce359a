// @bazel_tools, as far as files that declare repositories load it: its repository rules, and `maybe`.
import { type Builtin, run, type Site, type Struct, Unknown, type Value } from "../starlark/index.js";
import { ELSEWHERE, Opaque } from "./language.js";

/** What @bazel_tools has for WORKSPACE files, by file. */
const BAZEL_TOOLS: Record<string, string[]> = {
  "tools/build_defs/repo/http.bzl": ["http_archive", "http_file", "http_jar"],
  "tools/build_defs/repo/git.bzl": ["git_repository", "new_git_repository"],
  "tools/build_defs/repo/local.bzl": ["local_repository", "new_local_repository"],
  "tools/build_defs/repo/java.bzl": ["java_import_external"],
  "tools/build_defs/repo/jvm.bzl": ["jvm_import_external", "jvm_maven_import_external"],
};

const MAYBE = `
def maybe(repo_rule, name, **kwargs):
    if name not in native.existing_rules():
        repo_rule(name = name, **kwargs)
`;

/** The file whose calls are made on behalf of their callers. */
export const PRELUDE = "@bazel_tools/utils.bzl";

/** What utils.bzl has for the code of rules, which is not run. */
const UTILITIES = ["patch", "workspace_and_buildfile", "update_attrs", "read_netrc", "use_netrc", "read_user_netrc", "parse_netrc"];

interface Host {
  rule(name: string): Builtin;
  native(): Struct;
}

/** The globals of one of its files. */
export function bazelTools(file: string, at: Site, host: Host): ReadonlyMap<string, Value> | Unknown {
  if (file === "tools/build_defs/repo/utils.bzl") return utilities(host);
  const rules = BAZEL_TOOLS[file];
  return rules ? new Map(rules.map((rule) => [rule, host.rule(rule)])) : new Unknown(`it is loaded from @bazel_tools//${file}${ELSEWHERE}`, at);
}

function utilities(host: Host): Map<string, Value> {
  const predeclared = new Map<string, Value>([["native", host.native()]]);
  const globals = run({ file: PRELUDE, source: MAYBE, predeclared, load: (_, at) => new Unknown("", at), problem: () => {} });
  for (const name of UTILITIES) globals.set(name, new Opaque(name));
  return globals;
}
