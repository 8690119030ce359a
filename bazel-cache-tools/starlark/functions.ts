// Functions that a file defines: their scope, and how arguments find their parameters.
import { Fault } from "./errors.js";
import { type Session, session } from "./session.js";
import { type Call, Callable, Dict, Tuple, type Value } from "./values.js";

/** Names and, behind them, those of the scope around. */
export class Scope {
  constructor(
    readonly names: Map<string, Value>,
    readonly around?: Scope,
  ) {}

  find(name: string): Value | undefined {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.around) {
      const value = scope.names.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/** A parameter whose default is computed, which happens once, where the function is defined. */
export interface BoundParameter {
  kind: "plain" | "rest" | "keywords";
  name: string;
  otherwise: Value | undefined;
}

/** A function of a file's. It is invoked on the account of the run that goes on, or of the one that defined it. */
export class DefinedFunction extends Callable {
  readonly #home: Session | undefined = session();

  constructor(
    readonly name: string,
    readonly parameters: readonly BoundParameter[],
    private readonly around: Scope,
    private readonly body: (scope: Scope) => Value,
  ) {
    super();
  }

  override invoke(call: Call): Value {
    const account = session();
    if (account === undefined && this.#home !== undefined) return this.#home.enter(() => this.invoke(call));
    const scope = new Scope(bind(this.name, this.parameters, call), this.around);
    if (account === undefined) return this.body(scope);
    const { budget, stack } = account;
    if (account.calls >= budget.depth) throw new Fault(`calls nested more than ${budget.depth} deep`);
    account.calls++;
    stack.push(call.at);
    try {
      return this.body(scope);
    } finally {
      stack.pop();
      account.calls--;
    }
  }
}

/** The names that a call gives to the parameters (starlark spec, "Function and method calls"). */
function bind(name: string, parameters: readonly BoundParameter[], call: Call): Map<string, Value> {
  const names = new Map<string, Value>();
  const extra = new Map(call.named);
  let used = 0;
  let byPosition = true;
  let takesRest = false;
  let keywords: string | undefined;
  for (const parameter of parameters) {
    if (parameter.kind === "keywords") keywords = parameter.name;
    else if (parameter.kind === "rest") {
      byPosition = false;
      if (parameter.name === "") continue;
      takesRest = true;
      names.set(parameter.name, new Tuple(call.positional.slice(used)));
    } else {
      const positional = byPosition ? call.positional[used++] : undefined;
      const named = extra.get(parameter.name);
      if (positional !== undefined && named !== undefined) throw new Fault(`${name}() got '${parameter.name}' twice`);
      const value = positional ?? named ?? parameter.otherwise;
      if (value === undefined) throw new Fault(`${name}() is missing the argument '${parameter.name}'`);
      extra.delete(parameter.name);
      names.set(parameter.name, value);
    }
  }
  if (!takesRest && call.positional.length > used) throw new Fault(`${name}() takes ${used} positional arguments, ${call.positional.length} are given`);
  if (keywords !== undefined) names.set(keywords, new Dict(extra));
  else for (const argument of extra.keys()) throw new Fault(`${name}() got an unexpected argument '${argument}'`);
  return names;
}
