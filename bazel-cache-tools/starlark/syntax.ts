// The nodes of a parsed file.
import type { Site } from "./errors.js";
import type { Value } from "./values.js";

export type Expression =
  | { kind: "literal"; value: Value }
  | { kind: "name"; name: string; at: Site }
  | { kind: "list" | "tuple"; items: Expression[]; at: Site }
  | { kind: "dict"; entries: [Expression, Expression][]; at: Site }
  | { kind: "comprehension"; makes: "list"; element: Expression; clauses: Clause[]; at: Site }
  | { kind: "comprehension"; makes: "dict"; element: [Expression, Expression]; clauses: Clause[]; at: Site }
  | { kind: "unary"; mark: string; operand: Expression; at: Site }
  | { kind: "binary"; first: Expression; rest: Operation[]; at: Site }
  | { kind: "logic"; mark: "and" | "or"; operands: Expression[]; at: Site }
  | { kind: "conditional"; test: Expression; then: Expression; otherwise: Expression; at: Site }
  | { kind: "attribute"; of: Expression; name: string; at: Site }
  | { kind: "index"; of: Expression; index: Expression; at: Site }
  | { kind: "slice"; of: Expression; bounds: [Bound, Bound, Bound]; at: Site }
  | { kind: "call"; callee: Expression; arguments: Argument[]; at: Site }
  | { kind: "lambda"; parameters: Parameter[]; body: Expression; at: Site };

export type Node<Kind extends Expression["kind"]> = Extract<Expression, { kind: Kind }>;

/** The next operand of operators that apply from left to right: a list, since "a" + "b" + … may be long but nests nothing. */
export interface Operation {
  mark: string;
  right: Expression;
  at: Site;
}

/** Start, end or step of a slice, where it is written. */
export type Bound = Expression | undefined;

/** `for target in over`, or `if test`. */
export type Clause = { target: Expression; over: Expression } | { test: Expression };

export interface Argument {
  /** `x`, `name = x`, `*x`, `**x`. */
  kind: "positional" | "named" | "spread" | "keywords";
  name: string;
  value: Expression;
}

export interface Parameter {
  /** `name`, `*name` (nameless where it only ends the positional ones), `**name`. */
  kind: "plain" | "rest" | "keywords";
  name: string;
  otherwise: Expression | undefined;
}

export type Statement =
  | { kind: "expression"; value: Expression; at: Site }
  | { kind: "assign"; target: Expression; value: Expression; at: Site }
  | { kind: "augment"; target: Expression; mark: string; value: Expression; at: Site }
  | { kind: "if"; branches: { test: Expression; body: Statement[] }[]; otherwise: Statement[]; at: Site }
  | { kind: "for"; target: Expression; over: Expression; body: Statement[]; at: Site }
  | { kind: "def"; name: string; parameters: Parameter[]; body: Statement[]; at: Site }
  | { kind: "return"; value: Expression | undefined; at: Site }
  | { kind: "break" | "continue" | "pass"; at: Site }
  | { kind: "load"; label: string; names: { name: string; remote: string; at: Site }[]; at: Site };

/** The names that a statement binds where it stands; those that it binds inside of functions are not among them. */
export function namesBound(statement: Statement): string[] {
  switch (statement.kind) {
    case "assign":
    case "augment":
      return namesIn(statement.target);
    case "for":
      return [...namesIn(statement.target), ...statement.body.flatMap(namesBound)];
    case "if":
      return [...statement.branches.flatMap((branch) => branch.body), ...statement.otherwise].flatMap(namesBound);
    case "def":
      return [statement.name];
    case "load":
      return statement.names.map(({ name }) => name);
    default:
      return [];
  }
}

function namesIn(target: Expression): string[] {
  if (target.kind === "name") return [target.name];
  return target.kind === "list" || target.kind === "tuple" ? target.items.flatMap(namesIn) : [];
}
