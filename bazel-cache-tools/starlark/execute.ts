// Statements, and where they go on.
import { extend, update } from "./collections.js";
import { Fault, placed, UnknownMet } from "./errors.js";
import { assign, decide, evaluate, looped, parametersOf } from "./evaluate.js";
import { DefinedFunction, type Scope } from "./functions.js";
import { binary } from "./operators.js";
import { spend } from "./session.js";
import { assignIndexed, indexed } from "./subscripts.js";
import type { Statement } from "./syntax.js";
import { Dict, List, Unknown, type Value } from "./values.js";

/** How a block ends other than at its end. */
type Exit = "break" | "continue" | { value: Value } | undefined;

type Of<Kind extends Statement["kind"]> = Extract<Statement, { kind: Kind }>;

/** Runs the statements of a block. Throws `StarlarkError`. */
export function execute(statements: readonly Statement[], scope: Scope): Exit {
  for (const statement of statements) {
    try {
      spend(1);
      const exit = executeOne(statement, scope);
      if (exit !== undefined) return exit;
    } catch (thrown) {
      throw placed(thrown, statement.at);
    }
  }
  return undefined;
}

function executeOne(statement: Statement, scope: Scope): Exit {
  switch (statement.kind) {
    case "expression":
      evaluate(statement.value, scope);
      return undefined;
    case "assign":
      assign(statement.target, evaluate(statement.value, scope), scope);
      return undefined;
    case "augment":
      augment(statement, scope);
      return undefined;
    case "if":
      return execute(branch(statement, scope), scope);
    case "for":
      return loop(statement, scope);
    case "def":
      scope.names.set(statement.name, define(statement, scope));
      return undefined;
    case "return":
      return { value: statement.value ? evaluate(statement.value, scope) : null };
    case "break":
    case "continue":
      return statement.kind;
    case "pass":
      return undefined;
    case "load":
      throw new Fault("load() stands at the top level only");
  }
}

function branch(statement: Of<"if">, scope: Scope): readonly Statement[] {
  return statement.branches.find(({ test }) => decide(evaluate(test, scope)))?.body ?? statement.otherwise;
}

function loop(statement: Of<"for">, scope: Scope): Exit {
  for (const item of looped(evaluate(statement.over, scope))) {
    assign(statement.target, item, scope);
    const exit = execute(statement.body, scope);
    if (exit === "break") return undefined;
    if (typeof exit === "object") return exit;
  }
  return undefined;
}

function define(statement: Of<"def">, scope: Scope): DefinedFunction {
  const parameters = parametersOf(statement.parameters, scope);
  return new DefinedFunction(statement.name, parameters, scope, (inner) => {
    const exit = execute(statement.body, inner);
    return typeof exit === "object" ? exit.value : null;
  });
}

function augment({ target, mark, value }: Of<"augment">, scope: Scope): void {
  if (target.kind !== "index") {
    assign(target, augmented(mark, evaluate(target, scope), evaluate(value, scope)), scope);
    return;
  }
  // What is indexed is evaluated once: it may be a call.
  const of = evaluate(target.of, scope);
  const index = evaluate(target.index, scope);
  const before = known(() => indexed(of, index));
  assignIndexed(of, index, augmented(mark, before, evaluate(value, scope)));
}

/** `+=` on a list and `|=` on a dict change that very list or dict (starlark spec, "Augmented assignments"). */
function augmented(mark: string, left: Value, right: Value): Value {
  const whole = (mark === "+" && left instanceof List) || (mark === "|" && left instanceof Dict);
  if (!whole || right instanceof Unknown) return known(() => binary(mark, left, right));
  if (left instanceof List) extend(left, right);
  else if (left instanceof Dict) update(left, [right], new Map());
  return left;
}

function known(work: () => Value): Value {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof UnknownMet) return thrown.value;
    throw thrown;
  }
}
