// One file from its text to its globals: statement by statement, past those that fail.
import { UNIVERSE } from "./builtins.js";
import { BudgetSpent, Fault, placed, type Site, StarlarkError } from "./errors.js";
import { execute } from "./execute.js";
import { Scope } from "./functions.js";
import { Parser } from "./parse-statements.js";
import { type Budget, DEFAULT_BUDGET, Session } from "./session.js";
import { namesBound, type Statement } from "./syntax.js";
import { Tokens } from "./tokens.js";
import { Unknown, type Value } from "./values.js";

export interface RunOptions {
  /** As sites name it. */
  file: string;
  source: string;
  /** What the file finds besides the language's own functions; it wins over them. */
  predeclared: ReadonlyMap<string, Value>;
  /** Globals of a loaded file, or why it is not to be had. */
  load(label: string, at: Site): ReadonlyMap<string, Value> | Unknown;
  /** Told of every statement that could not be evaluated, once each; evaluation goes on behind it. */
  problem(message: string, at: Site): void;
  /** Bounds that differ from the default. */
  budget?: Partial<Budget>;
}

/**
 * Evaluates a file and gives its globals, without those it loads. Names whose statement failed are `Unknown`.
 * Throws `StarlarkError` where the file is too large or takes more steps than the budget has; all else goes to `problem`.
 *
 * @example
 * const globals = run({ file: "a.bzl", source: 'V = "1.%d" % 2', predeclared: new Map(), load, problem });
 * globals.get("V"); // "1.2"
 */
export function run(options: RunOptions): Map<string, Value> {
  const budget = { ...DEFAULT_BUDGET, ...options.budget };
  const start: Site = { file: options.file, line: 1, column: 1 };
  if (options.source.length > budget.source) throw new BudgetSpent(`a file of more than ${budget.source} characters`, start);
  const session = new Session(budget, options.problem);
  try {
    return session.enter(() => new File(options, session).run());
  } catch (thrown) {
    throw placed(thrown, start);
  }
}

class File {
  readonly #globals = new Map<string, Value>();
  /** What is loaded is not passed on to those who load this file (bazel 0.29: `--incompatible_no_transitive_loads`). */
  readonly #loaded = new Map<string, Value>();
  readonly #scope: Scope;
  readonly #tokens: Tokens;
  readonly #parser: Parser;

  constructor(
    private readonly options: RunOptions,
    private readonly session: Session,
  ) {
    const { file, source, predeclared } = options;
    const universe = new Scope(new Map(UNIVERSE));
    this.#scope = new Scope(this.#globals, new Scope(this.#loaded, new Scope(new Map(predeclared), universe)));
    this.#tokens = new Tokens(normal(source), file);
    this.#parser = new Parser(this.#tokens);
  }

  run(): Map<string, Value> {
    for (;;) {
      const statements = this.#parse();
      if (statements === undefined) return this.#globals;
      for (const statement of statements) this.#execute(statement);
    }
  }

  #parse(): Statement[] | undefined {
    try {
      return this.#parser.next();
    } catch (thrown) {
      const name = this.#tokens.nameBound();
      this.#failed(thrown, this.#tokens.site(), name === undefined ? [] : [name]);
      this.#parser.recover();
      return [];
    }
  }

  #execute(statement: Statement): void {
    try {
      if (statement.kind === "load") this.#load(statement);
      else execute([statement], this.#scope);
    } catch (thrown) {
      this.#failed(thrown, statement.at, namesBound(statement));
    }
  }

  #failed(thrown: unknown, at: Site, names: readonly string[]): void {
    const error = placed(overflowed(thrown) ? new Fault("nested too deeply") : thrown, at);
    if (!(error instanceof StarlarkError) || error instanceof BudgetSpent) throw error;
    this.session.problem(error.message, error.at);
    const unknown = error.unknown ?? new Unknown(error.message, error.at);
    for (const name of names) this.#globals.set(name, unknown);
  }

  #load({ label, names, at }: Extract<Statement, { kind: "load" }>): void {
    const file = this.options.load(label, at);
    for (const { name, remote } of names) {
      this.#globals.delete(name);
      if (file instanceof Unknown) {
        this.#loaded.set(name, file);
        continue;
      }
      const value = file.get(remote);
      const reason = `${label} has no '${remote}'`;
      if (value === undefined) this.session.problem(reason, at);
      this.#loaded.set(name, value ?? new Unknown(reason, at));
    }
  }
}

/** Calls in calls, each within its bounds, may still exhaust the stack; whatever was at work then says so in its own class of error. */
function overflowed(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.message.includes("Maximum call stack size exceeded");
}

/** One kind of line end, no byte order mark. */
function normal(source: string): string {
  const text = source.startsWith("\ufeff") ? source.slice(1) : source;
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}
