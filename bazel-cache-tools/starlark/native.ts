// How functions and methods that are built in take their arguments, and what they do where one is unknown.
import { Fault, UnknownMet } from "./errors.js";
import { isInteger } from "./operators.js";
import { Builtin, type Call, iterate, typeName, Unknown, type Value } from "./values.js";

/** The arguments of one call, in the order of the parameters; undefined where one was left out. */
export class Given {
  constructor(
    readonly values: readonly (Value | undefined)[],
    readonly call: Call,
  ) {}

  value(index: number): Value {
    return this.values[index] ?? null;
  }

  has(index: number): boolean {
    return this.values[index] !== undefined;
  }

  text(index: number, otherwise?: string): string {
    const value = this.values[index] ?? otherwise;
    if (typeof value === "string") return value;
    throw new Fault(`a string is required, not '${typeName(value ?? null)}'`);
  }

  /** An integer, `otherwise` where it is None or left out. */
  integer(index: number, otherwise: number): number {
    const value = this.values[index] ?? otherwise;
    if (isInteger(value)) return Number(value);
    throw new Fault(`an integer is required, not '${typeName(value)}'`);
  }

  items(index: number): Value[] {
    return iterate(this.value(index));
  }
}

/** A function or method: its parameters, what it does, and how it takes what is unknown. */
export interface Native<Self> {
  /** Parameters: `name`, `name?` where it may be left out; undefined where it takes whatever is given. */
  parameters: { name: string; needed: boolean }[] | undefined;
  /** Stores or passes on its arguments without looking at them, so they may be unknown. Otherwise its result is the unknown one. */
  keeps: boolean;
  /** Changes what it is called on: where it cannot tell how, that is an error, since the result alone would not show it. */
  changes: boolean;
  run(self: Self, given: Given): Value;
}

type Run<Self> = (self: Self, given: Given) => Value;

function native<Self>(parameters: string, run: Run<Self>, keeps: boolean, changes: boolean): Native<Self> {
  const words = parameters.split(" ").filter((word) => word !== "");
  return {
    parameters: parameters === "*" ? undefined : words.map((word) => ({ name: word.replace("?", ""), needed: !word.endsWith("?") })),
    keeps,
    changes,
    run,
  };
}

export const reads = <Self>(parameters: string, run: Run<Self>): Native<Self> => native(parameters, run, false, false);
export const keeps = <Self>(parameters: string, run: Run<Self>): Native<Self> => native(parameters, run, true, false);
export const changes = <Self>(parameters: string, run: Run<Self>): Native<Self> => native(parameters, run, false, true);
export const keepsAndChanges = <Self>(parameters: string, run: Run<Self>): Native<Self> => native(parameters, run, true, true);

/** `fn` as a value, called on `self`. */
export function bound<Self>(name: string, fn: Native<Self>, self: Self): Builtin {
  return new Builtin(name, (call) => {
    try {
      if (!fn.keeps) refuseUnknown(call);
      return fn.run(self, new Given(fn.parameters ? inOrder(name, fn.parameters, call) : call.positional, call));
    } catch (thrown) {
      if (thrown instanceof UnknownMet && fn.changes) throw new Fault(`cannot tell what ${name}() changes: ${thrown.value.reason}`, false, thrown.value);
      throw thrown;
    }
  });
}

function refuseUnknown(call: Call): void {
  for (const value of [...call.positional, ...call.named.values()]) {
    if (value instanceof Unknown) throw new UnknownMet(value);
  }
}

function inOrder(name: string, parameters: { name: string; needed: boolean }[], call: Call): (Value | undefined)[] {
  if (call.positional.length > parameters.length) throw new Fault(`${name}() takes at most ${parameters.length} arguments`);
  const values: (Value | undefined)[] = [...call.positional];
  for (const [argument, value] of call.named) {
    const index = parameters.findIndex((parameter) => parameter.name === argument);
    if (index === -1) throw new Fault(`${name}() got an unexpected argument '${argument}'`);
    if (values[index] !== undefined) throw new Fault(`${name}() got '${argument}' twice`);
    values[index] = value;
  }
  const missing = parameters.find((parameter, index) => parameter.needed && values[index] === undefined);
  if (missing) throw new Fault(`${name}() is missing the argument '${missing.name}'`);
  return values;
}
