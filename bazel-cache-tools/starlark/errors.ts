// What goes wrong in a Starlark file, and where.
import type { Unknown } from "./values.js";

/** A place in a file; line and column count from 1, columns in UTF-16 units. */
export interface Site {
  file: string;
  line: number;
  column: number;
}

/** A statement that cannot be evaluated. The message is without its position: callers print `${at.file}:${at.line}: ${message}`. */
export class StarlarkError extends Error {
  constructor(
    message: string,
    readonly at: Site,
    /** The value that could not be computed and that this error comes from. */
    readonly unknown?: Unknown,
  ) {
    super(message);
    this.name = "StarlarkError";
  }
}

/** The budget of steps is spent: nothing more is evaluated, so this one leaves `run`. */
export class BudgetSpent extends StarlarkError {}

/** An error that does not know its place yet: thrown by operators and methods, placed by the evaluator at the node it is at. */
export class Fault extends Error {
  constructor(
    message: string,
    /** Nothing is evaluated after it. */
    readonly final = false,
    readonly unknown?: Unknown,
  ) {
    super(message);
  }
}

/** Thrown where an operation meets a value that could not be computed: that value is then the operation's result. */
export class UnknownMet extends Error {
  constructor(readonly value: Unknown) {
    super(value.reason);
  }
}

/** The error to throw on for `thrown` at the node or statement `at`; what is no error of the file's passes unchanged. */
export function placed(thrown: unknown, at: Site): unknown {
  if (thrown instanceof Fault) return thrown.final ? new BudgetSpent(thrown.message, at) : new StarlarkError(thrown.message, at, thrown.unknown);
  if (thrown instanceof UnknownMet) return new StarlarkError(`cannot tell what this does: ${thrown.value.reason}`, at, thrown.value);
  return thrown;
}
