// The entry file of a module: registers the author's filters with the runtime, parses their configurations, and exports Envoy's callbacks.
import ts from "typescript";
import type { ConfigClass, ConfigField, FieldType, FilterClass, Program, SourceFile } from "./sources.js";

const SDK = "~lib/envoyscript-sdk";
export const ENTRY = "envoyscript-entry";

/** Name of the constant that carries a filter's features; passes/features.ts fills it in. */
export const featuresConstant = (index: number) => `${ENTRY}/features${index}`;

/** The author's text with its classes exported under names of ours, so that neither needs an `export`. Line numbers stay as they are. */
export function withExports(file: SourceFile, program: Program): string {
  const classes = new Set<string>();
  for (const filter of program.filters) if (filter.file === file) classes.add(filter.className);
  for (const config of configsOf(program)) if (config.file === file) classes.add(config.className);
  const text = withoutTypeModifiers(file);
  if (classes.size === 0) return text;
  return `${text}\nexport { ${[...classes].map((name) => `${name} as __es_${name}`).join(", ")} };\n`;
}

/** `import type { A }` and `import { type A }` as AssemblyScript reads them: the word `type` blanked out, so that every position stays. */
function withoutTypeModifiers(file: SourceFile): string {
  let text = file.text;
  const blank = (node: ts.Node, from: number): void => {
    const start = text.indexOf("type", from);
    if (start >= 0 && start < node.end) text = `${text.slice(0, start)}    ${text.slice(start + 4)}`;
  };
  for (const statement of file.tree.statements) {
    if (ts.isImportDeclaration(statement) && statement.importClause) {
      const clause = statement.importClause;
      if (clause.isTypeOnly) blank(clause, clause.getStart(file.tree));
      const bindings = clause.namedBindings;
      if (bindings && ts.isNamedImports(bindings)) for (const e of bindings.elements) if (e.isTypeOnly) blank(e, e.getStart(file.tree));
    } else if (ts.isExportDeclaration(statement)) {
      if (statement.isTypeOnly) blank(statement, statement.getStart(file.tree));
      if (statement.exportClause && ts.isNamedExports(statement.exportClause))
        for (const e of statement.exportClause.elements) if (e.isTypeOnly) blank(e, e.getStart(file.tree));
    }
  }
  return text;
}

export function generateEntry(program: Program): string {
  const configs = configsOf(program);
  const out: string[] = [
    `import { Registry, useRegistry } from "${SDK}/runtime/roots";`,
    `import { AnyFilter, Duration, NoConfig, OnError, give } from "${SDK}/filter";`,
    `import { Json } from "${SDK}/json";`,
    `import { checkNames, checkNumber, checkRange, checkText, isArray, isObject, missing, readBool, readDuration, readNumber, readString } from "${SDK}/config";`,
    `export * from "${SDK}/runtime/entry";`,
  ];
  for (const [i, filter] of program.filters.entries()) out.push(`import { __es_${filter.className} as Filter${i} } from "./${filter.file.internal}";`);
  for (const [i, config] of configs.entries()) out.push(`import { __es_${config.className} as Config${i} } from "./${config.file.internal}";`);
  const parsers = new Parsers(configs);
  for (const config of configs) parsers.add(config);
  out.push(...parsers.code);
  for (const i of program.filters.keys()) out.push(`function features${i}(): i32 { return -1; }`);
  const choose = (method: string, args: string, type: string, value: (filter: FilterClass, index: number) => string) => {
    const cases = program.filters.map((filter, i) => `      case ${i}: return ${value(filter, i)};`);
    return `  ${method}(index: i32${args}): ${type} {\n    switch (index) {\n${cases.slice(0, -1).join("\n")}\n      default: return ${value(program.filters.at(-1)!, program.filters.length - 1)};\n    }\n  }`;
  };
  out.push(
    "class Generated extends Registry {",
    `  get count(): i32 { return ${program.filters.length}; }`,
    choose("name", "", "string", (f) => JSON.stringify(f.name)),
    choose("onError", "", "OnError", (f) => (f.onError === "open" ? "OnError.Open" : "OnError.Closed")),
    choose("lowLevel", "", "bool", (f) => String(f.style === "low-level")),
    choose("features", "", "i32", (_, i) => `features${i}()`),
    choose("hasField", ", name: string", "bool", (f) => f.config?.fields.map((field) => `name == ${JSON.stringify(field.name)}`).join(" || ") || "false"),
    choose("parse", ", json: Json, path: string, problems: string[]", "Object", (f) =>
      f.config ? `parse${configs.indexOf(f.config)}(json, path, problems)` : "parseNone(json, path, problems)",
    ),
    choose("create", ", config: Object", "AnyFilter", (_, i) => `create${i}(config)`),
    "  get files(): StaticArray<string> { return files; }",
    "}",
    "const files: StaticArray<string> = ES_FILES;",
  );
  out.push(
    `function parseNone(json: Json, path: string, problems: string[]): NoConfig {${configs.length > 0 || program.filters.length > 1 ? " if (isObject(json, path, problems)) checkNames(json, path, [], problems);" : ""} return new NoConfig(); }`,
  );
  for (const i of program.filters.keys()) out.push(`function create${i}(config: Object): AnyFilter { give(config); return new Filter${i}(); }`);
  out.push("useRegistry(new Generated());");
  const shown = program.files.map((file) => JSON.stringify(file.shown));
  return `${out.join("\n").replace("ES_FILES", `[${shown.join(", ")}]`)}\n`;
}

/** Every configuration class, those nested in others too. */
export function configsOf(program: Program): ConfigClass[] {
  const list: ConfigClass[] = [];
  const visit = (config: ConfigClass): void => {
    if (list.includes(config)) return;
    list.push(config);
    for (const field of config.fields) inType(field.type);
  };
  const inType = (type: FieldType): void => {
    if (type.kind === "class") visit(type.config);
    else if (type.kind === "array" || type.kind === "map") inType(type.of);
  };
  for (const filter of program.filters) if (filter.config) visit(filter.config);
  return list;
}

class Parsers {
  readonly code: string[] = [];
  private helpers = 0;

  constructor(private readonly configs: ConfigClass[]) {}

  add(config: ConfigClass): void {
    const i = this.configs.indexOf(config);
    const names = config.fields.map((field) => JSON.stringify(field.name)).join(", ");
    const lines = config.fields.map((field) => this.field(field));
    this.code.push(
      `function parse${i}(json: Json, path: string, problems: string[]): Config${i} {`,
      `  const c = new Config${i}();`,
      "  if (!isObject(json, path, problems)) return c;",
      `  checkNames(json, path, [${names}], problems);`,
      ...lines,
      "  return c;",
      "}",
    );
  }

  private field(field: ConfigField): string {
    const name = field.name;
    const path = `path + ".${name}"`;
    const checks: string[] = [];
    if (field.range) {
      const text = field.type.kind === "number" ? `<f64>c.${name}` : `<f64>c.${name}${field.nullable ? "!" : ""}.length`;
      checks.push(`checkRange(${text}, ${field.range[0]}, ${field.range[1]}, "${field.type.kind === "number" ? "it" : "its length"}", ${path}, problems);`);
    }
    if (field.oneOf) {
      const list = `[${field.oneOf.map((value) => JSON.stringify(value)).join(", ")}]`;
      checks.push(
        field.type.kind === "string"
          ? `checkText(c.${name}${field.nullable ? "!" : ""}, ${list}, ${path}, problems);`
          : `checkNumber(<f64>c.${name}, ${list}, ${path}, problems);`,
      );
    }
    const read = `{ const v = json.get(${JSON.stringify(name)}); if (v.ok${field.nullable ? " && !v.isNull" : ""}) { c.${name} = ${this.read(field.type, "v", path)}; ${checks.join(" ")} }`;
    return `  ${read}${field.required ? ` else missing(${path}, problems);` : ""} }`;
  }

  private read(type: FieldType, json: string, path: string): string {
    switch (type.kind) {
      case "string":
        return `readString(${json}, ${path}, problems)`;
      case "bool":
        return `readBool(${json}, ${path}, problems)`;
      case "duration":
        return `readDuration(${json}, ${path}, problems)`;
      case "number":
        return `readNumber<${type.type}>(${json}, ${path}, problems)`;
      case "class":
        return `parse${this.configs.indexOf(type.config)}(${json}, ${path}, problems)`;
      default:
        return `${this.collection(type)}(${json}, ${path}, problems)`;
    }
  }

  private collection(type: FieldType & { kind: "array" | "map" }): string {
    const name = `read${this.helpers++}`;
    const typeName = this.typeName(type);
    const array = type.kind === "array";
    const itemPath = array ? 'path + "[" + i.toString() + "]"' : 'path + "." + json.nameAt(i)';
    const item = this.read(type.of, "json.at(i)", itemPath);
    this.code.push(
      `function ${name}(json: Json, path: string, problems: string[]): ${typeName} {`,
      `  const list = new ${typeName}();`,
      `  if (!${array ? "isArray" : "isObject"}(json, path, problems)) return list;`,
      `  for (let i = 0; i < json.length; i++) ${array ? `list.push(${item});` : `list.set(json.nameAt(i), ${item});`}`,
      "  return list;",
      "}",
    );
    return name;
  }

  private typeName(type: FieldType): string {
    switch (type.kind) {
      case "number":
        return type.type;
      case "duration":
        return "Duration";
      case "class":
        return `Config${this.configs.indexOf(type.config)}`;
      case "array":
        return `Array<${this.typeName(type.of)}>`;
      case "map":
        return `Map<string, ${this.typeName(type.of)}>`;
      default:
        return type.kind;
    }
  }
}
