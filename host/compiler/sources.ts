// The author's files: read once, parsed with TypeScript's own parser, and asked for what the compiler needs to know: filters, their configuration classes, the
// clusters they name, and what TypeScript allows but AssemblyScript does not. Every source of a build passes through here.
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import type { Diagnostic } from "./asc.js";
import { looksBack } from "./late.js";
import { lint } from "./lint.js";

export interface SourceFile {
  /** Absolute path. */
  absolute: string;
  /** As shown in messages: relative to the working directory where that is shorter. */
  shown: string;
  /** As the compiler knows it, without extension. */
  internal: string;
  text: string;
  tree: ts.SourceFile;
}

export interface FilterClass {
  name: string;
  className: string;
  file: SourceFile;
  style: "linear" | "low-level";
  onError: "closed" | "open";
  /** Methods that the class or a class of the author above it defines. */
  methods: string[];
  config?: ConfigClass;
  /** Clusters named by a literal in `fetch`, `new FetchRequest`. */
  clusters: string[];
  /** The request may be looked at after its headers went on, so its headers have to be kept. */
  lateRequest: boolean;
  description: string;
}

export interface ConfigClass {
  className: string;
  file: SourceFile;
  fields: ConfigField[];
  description: string;
}

export type FieldType =
  | { kind: "string" | "bool" | "duration" }
  | { kind: "number"; type: string }
  | { kind: "array" | "map"; of: FieldType }
  | { kind: "class"; config: ConfigClass };

export interface ConfigField {
  name: string;
  type: FieldType;
  nullable: boolean;
  required: boolean;
  cluster: boolean;
  oneOf?: (string | number)[];
  range?: [number, number];
  description: string;
  /** The initializer, where it is a literal. */
  default?: unknown;
}

export interface Program {
  files: SourceFile[];
  filters: FilterClass[];
  diagnostics: Diagnostic[];
}

const NUMBERS = new Set(["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64", "number", "isize", "usize"]);

/** Reads the entry files and everything of the author they import. Throws an Error with one line where a file cannot be read. */
export function readProgram(entries: string[], cwd = process.cwd()): Program {
  const found = new Map<string, { text: string; tree: ts.SourceFile }>();
  const queue = entries.map((entry) => path.resolve(cwd, entry));
  const diagnostics: Diagnostic[] = [];
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    if (found.has(file)) continue;
    const text = readText(file, cwd);
    const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);
    found.set(file, { text, tree });
    for (const statement of tree.statements) {
      const target = importTarget(statement);
      if (!target?.startsWith(".")) continue;
      const resolved = resolveImport(path.resolve(path.dirname(file), target));
      if (resolved) queue.push(resolved);
    }
  }
  const root = commonDirectory([...found.keys()]);
  const files = [...found].map(([absolute, { text, tree }]): SourceFile => {
    const relative = path.relative(cwd, absolute);
    return {
      absolute,
      shown: relative.startsWith("..") ? absolute : relative,
      internal: path.relative(root, absolute).replaceAll(path.sep, "/").replace(/\.ts$/, ""),
      text,
      tree,
    };
  });
  for (const file of files) diagnostics.push(...syntaxErrors(file), ...lint(file));
  const filters: FilterClass[] = [];
  const reader = new ClassReader(files, diagnostics);
  for (const file of files) filters.push(...reader.filters(file));
  return { files, filters, diagnostics };
}

function readText(file: string, cwd: string): string {
  const shown = path.relative(cwd, file);
  if (!existsSync(file)) throw new Error(`${shown}: there is no such file`);
  if (!statSync(file).isFile()) throw new Error(`${shown}: not a file; name the .ts file of the filter`);
  if (!file.endsWith(".ts")) throw new Error(`${shown}: not a TypeScript file (.ts)`);
  return readFileSync(file, "utf8");
}

function importTarget(statement: ts.Statement): string | undefined {
  if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return undefined;
  return statement.moduleSpecifier && ts.isStringLiteral(statement.moduleSpecifier) ? statement.moduleSpecifier.text : undefined;
}

function resolveImport(target: string): string | undefined {
  return [`${target}.ts`, path.join(target, "index.ts"), target].find((candidate) => existsSync(candidate) && statSync(candidate).isFile());
}

function commonDirectory(files: string[]): string {
  let common = path.dirname(files[0]!).split(path.sep);
  for (const file of files) {
    const parts = path.dirname(file).split(path.sep);
    let i = 0;
    while (i < common.length && common[i] === parts[i]) i++;
    common = common.slice(0, i);
  }
  return common.join(path.sep) || path.sep;
}

function syntaxErrors(file: SourceFile): Diagnostic[] {
  const errors = (file.tree as unknown as { parseDiagnostics: ts.DiagnosticWithLocation[] }).parseDiagnostics;
  return errors.map((e) => at(file, e.start, e.length, `TS${e.code}`, ts.flattenDiagnosticMessageText(e.messageText, " ")));
}

/** A diagnostic at a place of a file. */
export function at(file: Pick<SourceFile, "shown" | "tree">, start: number, length: number, code: string, message: string): Diagnostic {
  const { line, character } = file.tree.getLineAndCharacterOfPosition(start);
  return { severity: "error", code, message, file: file.shown, line: line + 1, column: character + 1, length };
}

function decoratorsOf(node: ts.Node): { name: string; args: readonly ts.Expression[]; node: ts.Decorator }[] {
  if (!ts.canHaveDecorators(node)) return [];
  return (ts.getDecorators(node) ?? []).map((decorator) => {
    const e = decorator.expression;
    return ts.isCallExpression(e) ? { name: e.expression.getText(), args: e.arguments, node: decorator } : { name: e.getText(), args: [], node: decorator };
  });
}

function describe(node: ts.Node): string {
  return ts
    .getJSDocCommentsAndTags(node)
    .map((doc) => (ts.isJSDoc(doc) ? (ts.getTextOfJSDocComment(doc.comment) ?? "") : ""))
    .join("\n")
    .trim();
}

class ClassReader {
  private readonly configs = new Map<ts.ClassDeclaration, ConfigClass>();

  constructor(
    private readonly files: SourceFile[],
    private readonly diagnostics: Diagnostic[],
  ) {}

  filters(file: SourceFile): FilterClass[] {
    const list: FilterClass[] = [];
    for (const node of file.tree.statements) {
      if (!ts.isClassDeclaration(node)) continue;
      const decorator = decoratorsOf(node).find((d) => d.name === "filter");
      if (!decorator) continue;
      const filter = this.filter(file, node, decorator.args, decorator.node);
      if (filter) list.push(filter);
    }
    return list;
  }

  private error(file: SourceFile, node: ts.Node, code: string, message: string): undefined {
    this.diagnostics.push(at(file, node.getStart(), node.getWidth(), code, message));
    return undefined;
  }

  private filter(file: SourceFile, node: ts.ClassDeclaration, args: readonly ts.Expression[], decorator: ts.Node): FilterClass | undefined {
    const [name, onError] = args;
    if (!name || !ts.isStringLiteral(name) || !/^[\w.-]+$/.test(name.text)) {
      return this.error(file, decorator, "ES201", 'a filter has a name of letters, digits, "-", "_" and ".": write @filter("my-filter")');
    }
    if (onError && !/^OnError\.(Closed|Open)$/.test(onError.getText())) {
      return this.error(file, onError, "ES202", "the second argument of @filter is OnError.Closed or OnError.Open");
    }
    if (!node.name) return this.error(file, node, "ES203", "a filter class needs a name");
    const methods = new Set<string>();
    let current: { file: SourceFile; node: ts.ClassDeclaration } | undefined = { file, node };
    while (current) {
      for (const member of current.node.members) if (ts.isMethodDeclaration(member)) methods.add(member.name.getText());
      const parent: ts.ExpressionWithTypeArguments | undefined = current.node.heritageClauses?.find((h) => h.token === ts.SyntaxKind.ExtendsKeyword)?.types[0];
      if (!parent) break;
      const base = parent.expression.getText();
      if (base === "Filter" || base === "StreamFilter") {
        if (base === "Filter" && !methods.has("handle")) return this.error(file, node.name, "ES204", `${node.name.text} has no handle(stream: Stream): void`);
        const config = parent.typeArguments?.[0]
          ? this.configOf(current.file, parent.typeArguments[0])
          : this.error(file, parent, "ES205", `write ${base}<NoConfig>, or ${base}<Config> with a class of your own`);
        return {
          name: name.text,
          className: node.name.text,
          file,
          style: base === "Filter" ? "linear" : "low-level",
          onError: onError?.getText() === "OnError.Open" ? "open" : "closed",
          methods: [...methods],
          ...(config ? { config } : {}),
          clusters: clustersIn(file.tree),
          lateRequest: looksBack(node, base === "Filter"),
          description: describe(node),
        };
      }
      const next: { file: SourceFile; node: ts.ClassDeclaration } | undefined = this.find(current.file, base);
      if (!next) break;
      current = next;
    }
    return this.error(file, node.name, "ES206", `${node.name.text} must extend Filter<Config> or StreamFilter<Config>`);
  }

  /** A class by name: in this file, or where the file imports it from. */
  private find(file: SourceFile, name: string): { file: SourceFile; node: ts.ClassDeclaration } | undefined {
    for (const node of file.tree.statements) {
      if (ts.isClassDeclaration(node) && node.name?.text === name) return { file, node };
      if (!ts.isImportDeclaration(node)) continue;
      const target = importTarget(node);
      const bindings = node.importClause?.namedBindings;
      if (!target?.startsWith(".") || !bindings || !ts.isNamedImports(bindings)) continue;
      const element = bindings.elements.find((e) => e.name.text === name);
      const resolved = element && resolveImport(path.resolve(path.dirname(file.absolute), target));
      const other = this.files.find((f) => f.absolute === resolved);
      if (other) return this.find(other, (element!.propertyName ?? element!.name).text);
    }
    return undefined;
  }

  private configOf(file: SourceFile, type: ts.TypeNode): ConfigClass | undefined {
    const name = type.getText();
    if (name === "NoConfig") return undefined;
    const found = this.find(file, name);
    if (!found) return this.error(file, type, "ES207", `the configuration class ${name} is not a class of this file or of one it imports`);
    const known = this.configs.get(found.node);
    if (known) return known;
    const config: ConfigClass = { className: found.node.name!.text, file: found.file, fields: [], description: describe(found.node) };
    this.configs.set(found.node, config);
    for (const member of found.node.members) {
      if (!ts.isPropertyDeclaration(member)) continue;
      if (member.modifiers?.some((m) => m.kind === ts.SyntaxKind.StaticKeyword || m.kind === ts.SyntaxKind.PrivateKeyword)) continue;
      const field = this.field(found.file, member);
      if (field) config.fields.push(field);
    }
    return config;
  }

  private field(file: SourceFile, node: ts.PropertyDeclaration): ConfigField | undefined {
    const name = node.name.getText();
    if (!node.type) return this.error(file, node.name, "ES208", `the field ${name} of a configuration needs a type`);
    let typeNode: ts.TypeNode = node.type;
    let nullable = false;
    if (ts.isUnionTypeNode(typeNode)) {
      const rest = typeNode.types.filter((t) => t.getText() !== "null");
      nullable = rest.length < typeNode.types.length;
      if (rest.length === 1) typeNode = rest[0]!;
    }
    const type = this.type(file, typeNode);
    if (!type) return undefined;
    if (nullable && type.kind !== "string" && type.kind !== "class" && type.kind !== "array" && type.kind !== "map" && type.kind !== "duration") {
      return this.error(file, node.type, "ES209", `a ${typeNode.getText()} cannot be null in AssemblyScript: use a default`);
    }
    const field: ConfigField = { name, type, nullable, required: false, cluster: false, description: describe(node) };
    if (node.initializer) {
      const value = literal(node.initializer);
      if (value !== undefined) field.default = value;
    }
    for (const decorator of decoratorsOf(node)) this.constrain(file, field, decorator);
    return field;
  }

  private constrain(file: SourceFile, field: ConfigField, decorator: { name: string; args: readonly ts.Expression[]; node: ts.Decorator }): void {
    const values = decorator.args.map(literal);
    if (decorator.name === "required") field.required = true;
    else if (decorator.name === "cluster" && field.type.kind === "string") field.cluster = true;
    else if (decorator.name === "oneOf" && Array.isArray(values[0]) && (field.type.kind === "string" || field.type.kind === "number"))
      field.oneOf = values[0] as (string | number)[];
    else if (
      decorator.name === "range" &&
      typeof values[0] === "number" &&
      typeof values[1] === "number" &&
      ["number", "string", "array"].includes(field.type.kind)
    )
      field.range = [values[0], values[1]];
    else
      this.error(
        file,
        decorator.node,
        "ES210",
        `@${decorator.name} does not fit the field ${field.name}: @required, @cluster (string), @oneOf([…]) (string, number), @range(least, greatest) (number; length of a string or array)`,
      );
  }

  private type(file: SourceFile, node: ts.TypeNode): FieldType | undefined {
    const text = node.getText();
    if (text === "string") return { kind: "string" };
    if (text === "bool" || text === "boolean") return { kind: "bool" };
    if (text === "Duration") return { kind: "duration" };
    if (NUMBERS.has(text)) return { kind: "number", type: text === "number" ? "f64" : text };
    if (ts.isArrayTypeNode(node)) return this.wrap("array", file, node.elementType);
    if (ts.isTypeReferenceNode(node)) {
      const name = node.typeName.getText();
      if (name === "Array" && node.typeArguments?.[0]) return this.wrap("array", file, node.typeArguments[0]);
      if (name === "Map" && node.typeArguments?.[0]?.getText() === "string" && node.typeArguments[1]) return this.wrap("map", file, node.typeArguments[1]);
      if (!node.typeArguments && this.find(file, name)) {
        const config = this.configOf(file, node);
        if (config) return { kind: "class", config };
      }
    }
    return this.error(
      file,
      node,
      "ES211",
      `a configuration field cannot be ${text}: use string, bool, a number type, Duration, a class, T[], Map<string, T> or T | null`,
    );
  }

  private wrap(kind: "array" | "map", file: SourceFile, node: ts.TypeNode): FieldType | undefined {
    const of = this.type(file, node);
    return of ? { kind, of } : undefined;
  }
}

/** The value of a literal expression, or undefined. */
function literal(node: ts.Expression): unknown {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (ts.isNumericLiteral(node)) return Number(node.text.replaceAll("_", ""));
  if (ts.isPrefixUnaryExpression(node) && node.operator === ts.SyntaxKind.MinusToken) {
    const value = literal(node.operand);
    return typeof value === "number" ? -value : undefined;
  }
  if (node.kind === ts.SyntaxKind.TrueKeyword) return true;
  if (node.kind === ts.SyntaxKind.FalseKeyword) return false;
  if (node.kind === ts.SyntaxKind.NullKeyword) return null;
  if (ts.isArrayLiteralExpression(node)) {
    const values = node.elements.map(literal);
    return values.includes(undefined) ? undefined : values;
  }
  return undefined;
}

/** Clusters that the file calls by a literal name. */
function clustersIn(tree: ts.SourceFile): string[] {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    const first = ts.isCallExpression(node) || ts.isNewExpression(node) ? node.arguments?.[0] : undefined;
    if (first && ts.isStringLiteral(first)) {
      if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === "fetch") names.add(first.text);
      if (ts.isNewExpression(node) && node.expression.getText() === "FetchRequest") names.add(first.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return [...names];
}
