// Expressions to values.
import { attributeOf } from "./attributes.js";
import { Fault, placed, type Site, UnknownMet } from "./errors.js";
import { type BoundParameter, DefinedFunction, Scope } from "./functions.js";
import { binary, unary } from "./operators.js";
import { session, spend, spendElements } from "./session.js";
import { assignIndexed, assignSliced, indexed, sliced } from "./subscripts.js";
import type { Bound, Clause, Expression, Node, Parameter } from "./syntax.js";
import { Callable, Dict, iterate, List, Tuple, truth, typeName, Unknown, type Value } from "./values.js";

/** The value of `node`: an `Unknown` where an operation in it met one. Throws `StarlarkError`. */
export function evaluate(node: Expression, scope: Scope): Value {
  if (node.kind === "literal") {
    spend(1);
    return node.value;
  }
  try {
    spend(1);
    return computed(node, scope);
  } catch (thrown) {
    if (thrown instanceof UnknownMet) return thrown.value;
    throw placed(thrown, node.at);
  }
}

function computed(node: Exclude<Expression, { kind: "literal" }>, scope: Scope): Value {
  switch (node.kind) {
    case "name":
      return found(node.name, scope);
    case "attribute":
      return attribute(evaluate(node.of, scope), node.name);
    case "call":
      return call(node, scope);
    case "list":
      return new List(node.items.map((item) => evaluate(item, scope)));
    case "tuple":
      return new Tuple(node.items.map((item) => evaluate(item, scope)));
    case "dict":
      return new Dict(node.entries.map(([key, value]) => [evaluate(key, scope), evaluate(value, scope)] as const));
    case "comprehension":
      return comprehension(node, scope);
    case "binary":
      return operations(node, scope);
    case "unary":
      return unary(node.mark, evaluate(node.operand, scope));
    case "logic":
      return logic(node, scope);
    case "conditional":
      return evaluate(decide(evaluate(node.test, scope)) ? node.then : node.otherwise, scope);
    case "index":
      return indexed(evaluate(node.of, scope), evaluate(node.index, scope));
    case "slice":
      return sliced(evaluate(node.of, scope), boundsOf(node.bounds, scope));
    case "lambda":
      return new DefinedFunction("lambda", parametersOf(node.parameters, scope), scope, (inner) => evaluate(node.body, inner));
  }
}

function found(name: string, scope: Scope): Value {
  const value = scope.find(name);
  if (value === undefined) throw new Fault(`name '${name}' is not defined`);
  return value;
}

function attribute(of: Value, name: string): Value {
  const value = attributeOf(of, name);
  if (value === undefined) throw new Fault(`'${typeName(of)}' value has no field or method '${name}'`);
  return value;
}

function boundsOf(bounds: readonly Bound[], scope: Scope): (Value | undefined)[] {
  return bounds.map((bound) => bound && evaluate(bound, scope));
}

/** Whether a branch is taken. */
export function decide(test: Value): boolean {
  if (test instanceof Unknown) throw new Fault(`cannot tell which branch is taken: ${test.reason}`, false, test);
  return truth(test);
}

/** What a loop runs over. */
export function looped(over: Value): Value[] {
  if (over instanceof Unknown) throw new Fault(`cannot tell what the loop runs over: ${over.reason}`, false, over);
  return iterate(over);
}

/** The parameters of a def or lambda, with their defaults computed. */
export function parametersOf(parameters: readonly Parameter[], scope: Scope): BoundParameter[] {
  return parameters.map(({ kind, name, otherwise }) => ({ kind, name, otherwise: otherwise && evaluate(otherwise, scope) }));
}

function logic(node: Node<"logic">, scope: Scope): Value {
  let value: Value = null;
  for (const operand of node.operands) {
    value = evaluate(operand, scope);
    if (truth(value) === (node.mark === "or")) return value;
  }
  return value;
}

function operations(node: Node<"binary">, scope: Scope): Value {
  let value = evaluate(node.first, scope);
  for (const { mark, right, at } of node.rest) {
    const operand = evaluate(right, scope);
    try {
      value = binary(mark, value, operand);
    } catch (thrown) {
      if (!(thrown instanceof UnknownMet)) throw placed(thrown, at);
      value = thrown.value;
    }
  }
  return value;
}

function call(node: Node<"call">, scope: Scope): Value {
  const callee = evaluate(node.callee, scope);
  const positional: Value[] = [];
  const named = new Map<string, Value>();
  const name = (word: string, value: Value): void => {
    if (named.has(word)) throw new Fault(`the argument '${word}' is given twice`);
    named.set(word, value);
  };
  for (const argument of node.arguments) {
    const value = evaluate(argument.value, scope);
    if (argument.kind === "positional") positional.push(value);
    else if (argument.kind === "named") name(argument.name, value);
    else if (argument.kind === "spread") for (const item of spread(value)) positional.push(item);
    else for (const [word, item] of keywordsOf(value)) name(word, item);
  }
  const account = session();
  if (callee instanceof Unknown) {
    account?.problemOnce(node, `${spelled(node.callee)}() cannot be evaluated: ${callee.reason}`, node.at);
    return callee;
  }
  if (!(callee instanceof Callable)) throw new Fault(`'${typeName(callee)}' value cannot be called`);
  return callee.invoke({ positional, named, at: node.at, stack: [...(account?.stack ?? []), node.at] });
}

function spread(value: Value): Value[] {
  if (value instanceof Unknown) throw new Fault(`cannot tell which arguments * gives: ${value.reason}`, false, value);
  return iterate(value);
}

function keywordsOf(value: Value): (readonly [string, Value])[] {
  if (value instanceof Unknown) throw new Fault(`cannot tell which arguments ** gives: ${value.reason}`, false, value);
  if (!(value instanceof Dict)) throw new Fault(`the argument behind ** is a dict, not '${typeName(value)}'`);
  spendElements(value.size);
  return Array.from(value.entries(), ([key, item]) => {
    if (typeof key !== "string") throw new Fault(`the keys behind ** are strings, not '${typeName(key)}'`);
    return [key, item] as const;
  });
}

/** `native.http_archive`, as a message names it. */
function spelled(callee: Expression): string {
  if (callee.kind === "name") return callee.name;
  if (callee.kind === "attribute") return `${spelled(callee.of)}.${callee.name}`;
  return callee.kind === "call" ? `${spelled(callee.callee)}()` : "…";
}

function comprehension(node: Node<"comprehension">, scope: Scope): Value {
  const inner = new Scope(new Map(), scope);
  const { clauses } = node;
  if (node.makes === "list") {
    const items: Value[] = [];
    run(clauses, 0, inner, () => void items.push(evaluate(node.element, inner)));
    return new List(items);
  }
  const entries = new Dict();
  const [key, value] = node.element;
  run(clauses, 0, inner, () => entries.set(evaluate(key, inner), evaluate(value, inner)));
  return entries;
}

function run(clauses: readonly Clause[], index: number, scope: Scope, element: () => void): void {
  const clause = clauses[index];
  if (clause === undefined) element();
  else if ("test" in clause) {
    if (decide(evaluate(clause.test, scope))) run(clauses, index + 1, scope, element);
  } else {
    for (const item of looped(evaluate(clause.over, scope))) {
      assign(clause.target, item, scope);
      run(clauses, index + 1, scope, element);
    }
  }
}

/** `target = value`. */
export function assign(target: Expression, value: Value, scope: Scope): void {
  if (target.kind === "name") scope.names.set(target.name, value);
  else if (target.kind === "tuple" || target.kind === "list") unpack(target.items, value, scope);
  else if (target.kind === "index") place(target.at, () => assignIndexed(evaluate(target.of, scope), evaluate(target.index, scope), value));
  else if (target.kind === "slice") place(target.at, () => assignSliced(evaluate(target.of, scope), boundsOf(target.bounds, scope), value));
  else if (target.kind === "attribute") place(target.at, () => immutable(evaluate(target.of, scope)));
}

function unpack(targets: readonly Expression[], value: Value, scope: Scope): void {
  const items = value instanceof Unknown ? targets.map(() => value) : iterate(value);
  if (items.length !== targets.length) throw new Fault(`cannot unpack ${items.length} values into ${targets.length} names`);
  targets.forEach((target, index) => void assign(target, items[index]!, scope));
}

function immutable(value: Value): never {
  if (value instanceof Unknown) throw new Fault(`cannot tell what is assigned to: ${value.reason}`, false, value);
  throw new Fault(`the fields of a '${typeName(value)}' value cannot be assigned`);
}

/** Errors of an assignment are at its target. */
function place(at: Site, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    throw placed(thrown, at);
  }
}
