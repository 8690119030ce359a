// Runs a workspace's Starlark files for the repositories that they declare: what Bazel does at loading, without Bazel.
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { Failure } from "../../host/cli/failure.js";
import { Builtin, type Call, Callable, Dict, run, type Site, StarlarkError, Struct, Unknown, type Value } from "../starlark/index.js";
import { bazelTools, PRELUDE } from "./bazel-tools.js";
import type { Declared } from "./download.js";
import { readText } from "./json.js";
import { parseLabel } from "./labels.js";
import { ELSEWHERE, inertNames, MODULE_EXTENSION, moduleContext, moduleExtension, type Tag } from "./language.js";
import { plain, UNKNOWN } from "./plain.js";
import { downloadsOfRule } from "./repository-rules.js";

/** Rules that were part of the language before bazel 0.20, and `native`'s since. */
const NATIVE_RULES = [
  "http_archive",
  "new_http_archive",
  "http_file",
  "http_jar",
  "git_repository",
  "new_git_repository",
  "local_repository",
  "android_sdk_repository",
  "android_ndk_repository",
  "new_local_repository",
  "bind",
];

interface Repository {
  /** For messages and sites: "" for the workspace itself, else "@name/". */
  title: string;
  root: string;
}

interface Loaded {
  globals: ReadonlyMap<string, Value> | Unknown;
  /** Whether code of this file, or of what it loads, speaks of downloading. */
  downloads: boolean;
}

export class Evaluation {
  readonly found: Declared = { downloads: [], problems: [] };
  /** Names under which repositories were declared, as native.existing_rules() shows them. */
  private readonly declared = new Map<string, Value>();
  private readonly repositories = new Map<string, Repository>();
  private readonly files = new Map<string, Loaded | "loading">();
  /** Repositories that rules of the workspace's own files make. */
  private readonly madeHere = new Set<string>();
  private readonly lines = new Map<string, string[]>();
  /** Something was left out that the workspace's own files declare. */
  incomplete = false;
  private readonly own: Repository;

  constructor(
    workspace: string,
    /** What native.bazel_version says; "" where it is not known, as in a Bazel that is no release. */
    private readonly bazelVersion = "",
  ) {
    this.own = { title: "", root: workspace };
    this.repositories.set("", this.own);
  }

  /** Runs a file as a WORKSPACE: what its calls declare is in `found`. */
  runWorkspaceFile(relative: string): void {
    const predeclared = this.language(this.own, relative);
    for (const rule of NATIVE_RULES) predeclared.set(rule, this.rule(rule));
    predeclared.set(
      "workspace",
      new Builtin("workspace", ({ named }) => {
        const name = named.get("name");
        if (typeof name === "string") this.repositories.set(name, this.own);
        return null;
      }),
    );
    this.evaluate(this.own, relative, predeclared);
  }

  /** Runs a file with names of the caller's own. */
  runWith(relative: string, predeclared: ReadonlyMap<string, Value>, source?: string): Map<string, Value> {
    return this.evaluate(this.own, relative, predeclared, source);
  }

  /** The globals of a .bzl file of the workspace. */
  load(relative: string): ReadonlyMap<string, Value> | Unknown {
    return this.loadFile(this.own, relative, { file: relative, line: 1, column: 1 }).globals;
  }

  /** A repository rule of Bazel's own. */
  rule(name: string): Builtin {
    return new Builtin(name, (call) => {
      this.declare(name, true, call);
      return null;
    });
  }

  /** Takes over what a call of a rule declares. */
  declare(rule: string, builtIn: boolean, call: Call): void {
    const attributes = attributesOf(call);
    const name = attributes.name;
    const at = this.placeOf(call, name);
    if (typeof name === "string") {
      // A name that is declared again replaces what it was (bazel 0.29, 4.2).
      if (this.declared.has(name)) this.forget(name);
      this.declared.set(name, new Dict([["name", name]]));
    }
    if (builtIn && rule === "local_repository" && typeof name === "string" && typeof attributes.path === "string") {
      const root = path.resolve(this.own.root, attributes.path);
      this.repositories.set(name, { title: `@${name}/`, root });
    }
    const { downloads, problems } = downloadsOfRule(rule, builtIn, attributes, at);
    // Strings of a MODULE.bazel reach Bazel's cache encoded once, those of other files twice (recorded on 7.7).
    const text = /MODULE\.bazel$/.test(call.at.file) ? ({ text: "module" } as const) : {};
    this.found.downloads.push(...downloads.map((download) => ({ ...download, ...text })));
    this.found.problems.push(...problems);
  }

  /** Of the calls that lead to a declaration, the innermost that names the repository: wrappers of http_archive stand behind it. */
  private placeOf(call: Call, name: unknown): string {
    const named = typeof name === "string" ? call.stack.findLast(({ file, line }) => this.textAt(file, line).includes(name)) : undefined;
    return named ? `${named.file}:${named.line}` : placeOf(call);
  }

  /** The line of a call and the next one, where the name usually stands. */
  private textAt(file: string, line: number): string {
    return (
      this.lines
        .get(file)
        ?.slice(line - 1, line + 1)
        .join("\n") ?? ""
    );
  }

  /** Runs the implementation of a module extension of the workspace's own. */
  runExtension(file: string, name: string, moduleName: string, tags: readonly Tag[], at: Site): void {
    const globals = this.load(file);
    const extension = globals instanceof Unknown ? globals : globals.get(name);
    const implementation = extension instanceof Struct ? extension.get("implementation") : undefined;
    if (!(implementation instanceof Callable)) {
      this.problem(`${file}%${name}: ${extension instanceof Unknown ? extension.reason : "is no module extension"}`, at);
      return;
    }
    const download = new Builtin("download", (call) => {
      const { url, ...rest } = Object.fromEntries(call.named);
      const urls = url ?? call.positional[0];
      this.declare("module_ctx.download", false, {
        ...call,
        positional: [`${name} (module_ctx.download)`],
        named: new Map<string, Value>([...Object.entries(rest), ...(urls === undefined ? [] : [["url", urls] as const])]),
      });
      return new Unknown("what was downloaded is not read", call.at);
    });
    const names = new Map<string, Value>([
      ["implementation", implementation],
      ["module_ctx", moduleContext(moduleName, tags, at, download)],
    ]);
    this.evaluate(this.own, file, names, "implementation(module_ctx)");
  }

  private forget(name: string): void {
    const { downloads } = this.found;
    for (let i = downloads.length - 1; i >= 0; i--) if (downloads[i]!.name === name || downloads[i]!.name.startsWith(`${name} `)) downloads.splice(i, 1);
  }

  private evaluate(
    repository: Repository,
    relative: string,
    predeclared: ReadonlyMap<string, Value>,
    source = this.textOf(repository, relative),
  ): Map<string, Value> {
    const file = repository.title + relative;
    try {
      return run({
        file,
        source,
        predeclared,
        load: (label, at) => this.loadLabel(label, repository, relative, at).globals,
        problem: (message, at) => this.problem(message, at),
      });
    } catch (error) {
      if (!(error instanceof StarlarkError)) throw error;
      this.problem(`${error.message}: nothing behind it was read`, error.at);
      return new Map();
    }
  }

  private textOf(repository: Repository, relative: string): string {
    const source = readText(path.join(repository.root, relative));
    this.lines.set(repository.title + relative, source.split("\n"));
    return source;
  }

  private problem(message: string, at: Site): void {
    const elsewhere = message.endsWith(ELSEWHERE);
    this.found.problems.push({ at: `${at.file}:${at.line}`, message, ...(elsewhere ? { elsewhere } : {}) });
    this.incomplete ||= !elsewhere;
  }

  private loadLabel(text: string, from: Repository, fromFile: string, at: Site): Loaded {
    const unknown = (reason: string): Loaded => ({ globals: new Unknown(reason, at), downloads: true });
    const label = parseLabel(text, path.posix.dirname(fromFile) === "." ? "" : path.posix.dirname(fromFile));
    if (!label) return unknown(`"${text}" is no label of a file`);
    if (label.repository === "bazel_tools")
      return { globals: bazelTools(label.path, at, { rule: (name) => this.rule(name), native: () => this.native() }), downloads: false };
    const repository = label.repository === "" ? from : (this.repositories.get(label.repository) ?? this.linkedFolder(label.repository, label.path));
    if (!repository) return unknown(`it is loaded from @${label.repository}, another repository${ELSEWHERE}`);
    return this.loadFile(repository, label.path, at);
  }

  /**
   * A repository that a rule of the workspace itself makes is often one of its folders, linked (Envoy's @envoy_api is api/).
   * It is taken for that where exactly one folder has the file; whatever comes of it is still verified by its digest.
   */
  private linkedFolder(name: string, file: string): Repository | undefined {
    if (!this.madeHere.has(name)) return undefined;
    const folders = readdirSync(this.own.root, { withFileTypes: true }).filter((d) => d.isDirectory() && existsSync(path.join(this.own.root, d.name, file)));
    if (folders.length !== 1) return undefined;
    const repository = { title: `${folders[0]!.name}/`, root: path.join(this.own.root, folders[0]!.name) };
    this.repositories.set(name, repository);
    return repository;
  }

  private loadFile(repository: Repository, relative: string, at: Site): Loaded {
    const full = path.join(repository.root, relative);
    const before = this.files.get(full);
    if (before === "loading") return { globals: new Unknown(`${relative} loads itself`, at), downloads: false };
    if (before) return before;
    if (!existsSync(full) || !statSync(full).isFile()) return { globals: new Unknown(`there is no ${repository.title}${relative}`, at), downloads: false };
    this.files.set(full, "loading");
    let loaded: Loaded;
    try {
      const source = this.textOf(repository, relative);
      loaded = { globals: new Map(), downloads: /\.download(_and_extract)?\b/.test(source) };
      const predeclared = this.language(repository, relative, () => loaded.downloads);
      loaded.globals = run({
        file: repository.title + relative,
        source,
        predeclared,
        load: (label, site) => {
          const other = this.loadLabel(label, repository, relative, site);
          loaded.downloads ||= other.downloads;
          return other.globals;
        },
        problem: (message, site) => this.problem(message, site),
      });
    } catch (error) {
      if (!(error instanceof StarlarkError) && !(error instanceof Failure)) throw error;
      this.problem(error.message, error instanceof StarlarkError ? error.at : at);
      loaded = { globals: new Unknown(`${relative} could not be read: ${error.message}`, at), downloads: true };
    }
    this.files.set(full, loaded);
    return loaded;
  }

  /** What every .bzl file may name. `speaksOfDownloads`: of the file, asked when one of its rules is called. */
  private language(repository: Repository, relative: string, speaksOfDownloads: () => boolean = () => true): Map<string, Value> {
    const names = inertNames();
    names.set("native", this.native());
    names.set(MODULE_EXTENSION, moduleExtension());
    names.set("repository_rule", new Builtin("repository_rule", () => this.customRule(repository.title + relative, speaksOfDownloads)));
    return names;
  }

  private native(): Struct {
    const members = new Map<string, Value>(NATIVE_RULES.map((rule) => [rule, this.rule(rule)]));
    members.set("existing_rules", new Builtin("existing_rules", () => new Dict([...this.declared])));
    members.set(
      "existing_rule",
      new Builtin("existing_rule", ({ positional: [name] }) => (typeof name === "string" ? (this.declared.get(name) ?? null) : null)),
    );
    for (const name of ["register_toolchains", "register_execution_platforms", "package_name", "repository_name"])
      members.set(name, new Builtin(name, () => null));
    members.set("bazel_version", this.bazelVersion);
    return new Struct(members, "native");
  }

  /** A rule that a file makes: with URLs and checksums among its attributes it downloads them; what else it may do is its code's secret. */
  private customRule(file: string, speaksOfDownloads: () => boolean): Builtin {
    return new Builtin("repository_rule", (call) => {
      const before = this.found.downloads.length;
      this.declare(`repository rule of ${file}`, false, call);
      const name = attributesOf(call).name;
      if (typeof name === "string") this.madeHere.add(name);
      if (this.found.downloads.length > before || !speaksOfDownloads()) return null;
      this.found.problems.push({
        at: this.placeOf(call, name),
        message: `${typeof name === "string" ? name : "a repository"} is made by a rule of ${file}, whose code decides what it downloads`,
        elsewhere: true,
      });
      return null;
    });
  }
}

export function attributesOf({ positional, named }: Call): Record<string, unknown> {
  const attributes: Record<string, unknown> = Object.create(null);
  if (positional.length > 0) attributes.name = plain(positional[0]!);
  for (const [name, value] of named) {
    const attribute = plain(value);
    if (attribute !== null) attributes[name] = attribute;
  }
  if (attributes.name === UNKNOWN) delete attributes.name;
  return attributes;
}

/** "file:line" of a call, as seen by whoever reads the declaration. */
export function placeOf({ at, stack }: Call): string {
  const site = at.file === PRELUDE ? (stack.findLast((s) => s.file !== PRELUDE) ?? at) : at;
  return `${site.file}:${site.line}`;
}
