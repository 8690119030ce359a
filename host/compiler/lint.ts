// What TypeScript allows and AssemblyScript does not, found before the compiler stumbles over it: one sentence that says what to write instead. Used by `build`
// and by the editor plugin.
import ts from "typescript";
import type { Diagnostic } from "./asc.js";

interface LintFile {
  shown: string;
  tree: ts.SourceFile;
}

/** Names that do not exist inside Envoy, and what to use instead. */
const GLOBALS: Record<string, string> = {
  console: 'use log.info(text) from "envoyscript-sdk"',
  JSON: 'use Json.parse(text) and json.toString() from "envoyscript-sdk"',
  Promise: "calls that wait (fetch, text, next) simply return their result: nothing needs a Promise",
  fetch: 'use stream.fetch("cluster", "/path")',
  setTimeout: "there are no timers inside handle: Envoy's own timeouts end what takes too long",
  setInterval: "there are no timers inside handle",
  URL: "use stream.request.path and stream.request.query",
  TextEncoder: "use body.bytes() for bytes, body.text() for text",
  TextDecoder: "use body.bytes() for bytes, body.text() for text",
  process: "a filter has no process: put settings into its configuration class",
  require: "use import",
  RegExp: "use indexOf, startsWith, endsWith, includes and split",
  Symbol: "AssemblyScript has no symbols",
  Proxy: "AssemblyScript has no proxies",
  Reflect: "AssemblyScript has no reflection",
  WeakMap: "use Map",
  undefined: "use null, and a type T | null",
  globalThis: "use module-level variables",
  Date: "AssemblyScript's Date needs imports that Envoy does not offer",
  Intl: "AssemblyScript has no Intl",
};

/** AssemblyScript's raw memory access: a wrong address cannot be caught and would take the whole VM down. */
const UNSAFE = new Set([
  "load",
  "store",
  "changetype",
  "unchecked",
  "memory",
  "heap",
  "table",
  "atomic",
  "v128",
  "call_indirect",
  "unmanaged",
  "offsetof",
  "__new",
  "__alloc",
  "__stack_pointer",
  "__free",
  "__renew",
  "__pin",
  "__unpin",
  "__collect",
  "__link",
  "__visit",
]);

/** The same as a member: \`i32.load(address)\`, \`String.UTF8.decodeUnsafe(address, size)\`. */
const UNSAFE_OWNERS = new Set(["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64", "isize", "usize"]);
const UNSAFE_MEMBERS = /^(decode|encode)Unsafe$/;

const RAW_MEMORY = "reaches raw memory, where a mistake cannot be held to one stream: use arrays, ArrayBuffer and DataView";

export function lint(file: LintFile): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  const report = (node: ts.Node, code: string, message: string): void => {
    const start = node.getStart(file.tree);
    const { line, character } = file.tree.getLineAndCharacterOfPosition(start);
    const firstLine = node.getText(file.tree).split("\n", 1)[0]!;
    diagnostics.push({ severity: "error", code, message, file: file.shown, line: line + 1, column: character + 1, length: Math.max(1, firstLine.length) });
  };
  const visit = (node: ts.Node): void => {
    const rule = RULES[node.kind];
    if (rule) rule(node, report);
    if (ts.isIdentifier(node) && isReference(node)) checkName(node, report);
    if (isNestedFunction(node)) checkClosure(node, report);
    ts.forEachChild(node, visit);
  };
  visit(file.tree);
  return diagnostics;
}

type Report = (node: ts.Node, code: string, message: string) => void;
type Rule = (node: ts.Node, report: Report) => void;

const say =
  (code: string, message: string): Rule =>
  (node, report) =>
    report(node, code, message);

const K = ts.SyntaxKind;

const RULES: Partial<Record<ts.SyntaxKind, Rule>> = {
  [K.TryStatement]: say("ES101", "AssemblyScript has no try/catch: SDK calls return a result with ok and error, and a fault ends only its own stream"),
  [K.AwaitExpression]: say("ES102", "AssemblyScript has no await: the call waits by itself, so leave the word out"),
  [K.RegularExpressionLiteral]: say("ES103", "AssemblyScript has no regular expressions: use indexOf, startsWith, endsWith, includes and split"),
  [K.AnyKeyword]: say("ES104", "AssemblyScript has no any: name the type, or make the function generic"),
  [K.UnknownKeyword]: say("ES104", "AssemblyScript has no unknown: name the type, or make the function generic"),
  [K.UnionType]: (node, report) => {
    const types = (node as ts.UnionTypeNode).types;
    const rest = types.filter((t) => t.getText() !== "null");
    if (rest.length === 1 && types.length === 2) return;
    if (rest.every((t) => ts.isLiteralTypeNode(t))) report(node, "ES105", "AssemblyScript has no literal types: use an enum, or a plain string or number");
    else report(node, "ES105", "AssemblyScript has no union types but T | null: use a base class, a generic function, or two functions");
  },
  [K.IntersectionType]: say("ES106", "AssemblyScript has no intersection types: use a class that extends another"),
  [K.SpreadElement]: say("ES107", "AssemblyScript has no spread: use concat for arrays, or name the arguments"),
  [K.SpreadAssignment]: say("ES107", "AssemblyScript has no spread: copy the fields one by one"),
  [K.Parameter]: (node, report) => {
    const p = node as ts.ParameterDeclaration;
    if (p.dotDotDotToken) report(node, "ES108", "AssemblyScript has no rest parameters: take an array");
  },
  [K.ObjectBindingPattern]: say("ES109", "AssemblyScript has no destructuring: name each field"),
  [K.ArrayBindingPattern]: say("ES109", "AssemblyScript has no destructuring: name each element"),
  [K.ForOfStatement]: say("ES110", "AssemblyScript has no for…of: use for (let i = 0; i < list.length; i++)"),
  [K.ForInStatement]: say("ES110", "AssemblyScript has no for…in: loop over map.keys() by index"),
  [K.YieldExpression]: say("ES111", "AssemblyScript has no generators: fill an array"),
  [K.ObjectLiteralExpression]: say("ES113", "AssemblyScript has no plain objects: write a class and new"),
  [K.TaggedTemplateExpression]: say("ES114", "AssemblyScript has no tagged templates: call the function with a string"),
  [K.DeleteExpression]: say("ES115", "AssemblyScript has no delete operator: use map.delete(key)"),
  [K.TypeOfExpression]: say("ES116", "AssemblyScript knows types when it compiles, not when it runs: use instanceof for classes"),
  [K.PrivateIdentifier]: say("ES117", "AssemblyScript has no #names: write private"),
  [K.TypeLiteral]: say("ES118", "AssemblyScript has no object types: write a class"),
  [K.TupleType]: say("ES118", "AssemblyScript has no tuples: write a class"),
  [K.MappedType]: say("ES118", "AssemblyScript has no mapped types: write a class"),
  [K.ConditionalType]: say("ES118", "AssemblyScript has no conditional types"),
  [K.BigIntLiteral]: say("ES119", "AssemblyScript has no bigint: use i64 or u64"),
  [K.PropertyAccessExpression]: (node, report) => {
    optionalChain(node, report);
    const { expression, name } = node as ts.PropertyAccessExpression;
    const typed = ts.isIdentifier(expression) && UNSAFE_OWNERS.has(expression.text) && /^(load|store|atomic)/.test(name.text);
    if (typed || UNSAFE_MEMBERS.test(name.text)) report(name, "ES122", `${name.text} ${RAW_MEMORY}`);
  },
  [K.ClassDeclaration]: fieldsBeforeSuper,
  [K.ImportDeclaration]: (node, report) => {
    const from = (node as ts.ImportDeclaration).moduleSpecifier;
    if (ts.isStringLiteral(from) && /^(~lib\/)?envoyscript-sdk\//.test(from.text))
      report(from, "ES124", 'the inside of the SDK can crash Envoy and changes without notice: import from "envoyscript-sdk"');
  },
  [K.ElementAccessExpression]: optionalChain,
  [K.CallExpression]: optionalChain,
  [K.AsyncKeyword]: say("ES102", "AssemblyScript has no async functions: calls wait by themselves, so leave the word out"),
  [K.BinaryExpression]: (node, report) => {
    const operator = (node as ts.BinaryExpression).operatorToken.kind;
    if (operator === K.QuestionQuestionToken || operator === K.QuestionQuestionEqualsToken)
      report(node, "ES112", "AssemblyScript has no ??: write value === null ? other : value");
    if (operator === K.InKeyword) report(node, "ES115", "AssemblyScript has no in operator: use map.has(key)");
  },
  [K.FunctionDeclaration]: (node, report) => {
    generator(node, report);
    if ((node as ts.FunctionDeclaration).modifiers?.some((m) => m.kind === K.DeclareKeyword))
      report(node, "ES125", "a filter cannot call the host directly, where a wrong call crashes Envoy: use what envoyscript-sdk exports");
  },
  [K.FunctionExpression]: generator,
  [K.MethodDeclaration]: generator,
};

function optionalChain(node: ts.Node, report: Report): void {
  if ((node as ts.PropertyAccessExpression).questionDotToken)
    report(node, "ES112", "AssemblyScript has no ?.: keep the value in a const and test it with !== null");
}

/** With a constructor of its own a class gets its fields' values before super() runs: \`this.config\` would be read before it is there, and nothing would say so. */
function fieldsBeforeSuper(node: ts.Node, report: Report): void {
  const { members, heritageClauses } = node as ts.ClassDeclaration;
  if (!heritageClauses?.some((h) => h.token === K.ExtendsKeyword) || !members.some(ts.isConstructorDeclaration)) return;
  const find = (e: ts.Node): void => {
    if (e.kind === K.ThisKeyword)
      report(
        e,
        "ES123",
        "AssemblyScript gives fields their values before super() runs where a class has a constructor: set this field in the constructor, after super()",
      );
    else ts.forEachChild(e, find);
  };
  for (const member of members)
    if (ts.isPropertyDeclaration(member) && member.initializer && !member.modifiers?.some((m) => m.kind === K.StaticKeyword)) find(member.initializer);
}

function generator(node: ts.Node, report: Report): void {
  const f = node as ts.FunctionDeclaration;
  if (f.asteriskToken) report(f.asteriskToken, "ES111", "AssemblyScript has no generators: fill an array");
  if (f.parent && ts.isSourceFile(f.parent) && !f.body && !f.modifiers?.some((m) => m.kind === K.DeclareKeyword))
    report(f, "ES120", "AssemblyScript has no overloads: give each function a name, or use a default for the argument");
}

/** An identifier that reads a variable, not a name being declared, a member or a label. */
function isReference(node: ts.Identifier): boolean {
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (
    ts.isPropertyAssignment(parent) ||
    ts.isMethodDeclaration(parent) ||
    ts.isPropertyDeclaration(parent) ||
    ts.isGetAccessor(parent) ||
    ts.isSetAccessor(parent)
  )
    return parent.name !== node;
  if (ts.isVariableDeclaration(parent) || ts.isParameter(parent)) return parent.name !== node;
  if (ts.isImportSpecifier(parent) || ts.isExportSpecifier(parent) || ts.isImportClause(parent) || ts.isNamespaceImport(parent)) return false;
  if (
    ts.isClassDeclaration(parent) ||
    ts.isFunctionDeclaration(parent) ||
    ts.isFunctionExpression(parent) ||
    ts.isEnumDeclaration(parent) ||
    ts.isEnumMember(parent)
  )
    return parent.name !== node && !ts.isEnumMember(parent);
  return !ts.isQualifiedName(parent) && !ts.isLabeledStatement(parent) && !ts.isBreakOrContinueStatement(parent) && !ts.isTypeParameterDeclaration(parent);
}

function checkName(node: ts.Identifier, report: Report): void {
  const name = node.text;
  if (declaredInFile(node, name)) return;
  if (Object.hasOwn(GLOBALS, name)) report(node, "ES121", `${name} does not exist inside Envoy: ${GLOBALS[name]}`);
  else if (UNSAFE.has(name)) report(node, "ES122", `${name} ${RAW_MEMORY}`);
}

function declaredInFile(node: ts.Node, name: string): boolean {
  for (let scope: ts.Node | undefined = node.parent; scope; scope = scope.parent) if (declares(scope, name)) return true;
  return false;
}

const declared = new WeakMap<ts.Node, Set<string>>();

/** Whether a scope itself (not one inside it) declares a name. */
function declares(scope: ts.Node, name: string): boolean {
  let names = declared.get(scope);
  if (!names) {
    names = new Set();
    collect(scope, names);
    declared.set(scope, names);
  }
  return names.has(name);
}

function collect(scope: ts.Node, names: Set<string>): void {
  const bind = (name: ts.BindingName): void => {
    if (ts.isIdentifier(name)) names.add(name.text);
    else for (const element of name.elements) if (ts.isBindingElement(element)) bind(element.name);
  };
  const statement = (node: ts.Node): void => {
    if (ts.isVariableStatement(node)) for (const d of node.declarationList.declarations) bind(d.name);
    else if (
      (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isEnumDeclaration(node) || ts.isModuleDeclaration(node)) &&
      node.name &&
      ts.isIdentifier(node.name)
    )
      names.add(node.name.text);
    else if (ts.isImportDeclaration(node) && node.importClause) {
      if (node.importClause.name) names.add(node.importClause.name.text);
      const bindings = node.importClause.namedBindings;
      if (bindings && ts.isNamedImports(bindings)) for (const e of bindings.elements) names.add(e.name.text);
      else if (bindings) names.add(bindings.name.text);
    }
  };
  if (ts.isSourceFile(scope) || ts.isBlock(scope) || ts.isModuleBlock(scope) || ts.isCaseClause(scope) || ts.isDefaultClause(scope))
    scope.statements.forEach(statement);
  if (ts.isFunctionLike(scope)) for (const p of scope.parameters) bind(p.name);
  if (
    (ts.isForStatement(scope) || ts.isForOfStatement(scope) || ts.isForInStatement(scope)) &&
    scope.initializer &&
    ts.isVariableDeclarationList(scope.initializer)
  )
    for (const d of scope.initializer.declarations) bind(d.name);
  if (ts.isCatchClause(scope) && scope.variableDeclaration) bind(scope.variableDeclaration.name);
  if ((ts.isFunctionExpression(scope) || ts.isClassExpression(scope)) && scope.name) names.add(scope.name.text);
}

function isNestedFunction(node: ts.Node): boolean {
  if (!ts.isArrowFunction(node) && !ts.isFunctionExpression(node) && !ts.isFunctionDeclaration(node)) return false;
  return enclosingFunction(node) !== undefined;
}

function enclosingFunction(node: ts.Node): ts.Node | undefined {
  for (let up = node.parent; up; up = up.parent) if (ts.isFunctionLike(up)) return up;
  return undefined;
}

/** A function inside another that uses a variable (or `this`) of it. */
function checkClosure(closure: ts.Node, report: Report): void {
  const visit = (node: ts.Node): void => {
    if (node.kind === K.ThisKeyword && ts.isArrowFunction(closure)) {
      report(
        node,
        "ES100",
        "AssemblyScript has no closures: a function cannot use this of the method around it; pass the object as an argument, or use a loop",
      );
      return;
    }
    if (ts.isIdentifier(node) && isReference(node)) {
      for (let scope: ts.Node = node.parent; scope && !ts.isSourceFile(scope); scope = scope.parent) {
        if (!declares(scope, node.text)) continue;
        const inside = scope.pos >= closure.pos && scope.end <= closure.end;
        if (!inside)
          report(
            node,
            "ES100",
            `AssemblyScript has no closures: a function cannot use ${node.text} of the function around it; pass it as an argument, use a loop, or make it a field of a class`,
          );
        break;
      }
    }
    if (ts.isFunctionExpression(node) && node !== closure) return;
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(closure, visit);
}
