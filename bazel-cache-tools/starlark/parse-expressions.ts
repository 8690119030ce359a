// Tokens to expressions: precedence climbing over one table, one token of lookahead.
import { placed, type Site, StarlarkError } from "./errors.js";
import { numberOf } from "./literals.js";
import { session } from "./session.js";
import type { Argument, Clause, Expression, Parameter } from "./syntax.js";
import type { TokenKind, Tokens } from "./tokens.js";
import { Unknown, type Value } from "./values.js";

/** Starlark's precedence, the loosest first (starlark spec, "Binary operators"). */
const LEVELS = [
  ["or"],
  ["and"],
  ["not"],
  ["==", "!=", "<", ">", "<=", ">=", "in", "not in"],
  ["|"],
  ["^"],
  ["&"],
  ["<<", ">>"],
  ["+", "-"],
  ["*", "/", "//", "%"],
];
const LEVEL: ReadonlyMap<string, number> = new Map(LEVELS.flatMap((marks, level) => marks.map((mark) => [mark, level] as const)));
const NOT = LEVEL.get("not")!;
const COMPARISON = LEVEL.get("==")!;
const BIT_OR = LEVEL.get("|")!;
const CONSTANTS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ["None", null],
  ["True", true],
  ["False", false],
]);
/** What may follow an expression list that ends in a comma. */
const ENDS = new Set([")", "]", "}", "=", ":", ";", "in"]);

export class ExpressionParser {
  #depth = 0;
  readonly #limit = session()!.budget.depth;

  constructor(protected readonly tokens: Tokens) {}

  /** One expression, lambda and conditional included. */
  expression(): Expression {
    this.deeper();
    const parsed = this.at("lambda") ? this.#lambda() : this.#conditional();
    this.shallower();
    return parsed;
  }

  /** Expressions with commas between: a tuple, unless it is one without a comma. */
  expressions(one: () => Expression = () => this.expression()): Expression {
    const at = this.tokens.site();
    const first = one();
    if (!this.at(",")) return first;
    const items = [first];
    while (this.take(",") && !this.#listEnds()) items.push(one());
    return { kind: "tuple", items, at };
  }

  /** The variables of a `for`, up to its `in`. */
  loopTargets(): Expression {
    return this.assignable(this.expressions(() => this.#binary(BIT_OR)));
  }

  assignable(target: Expression): Expression {
    if (target.kind === "list" || target.kind === "tuple") target.items.forEach((item) => void this.assignable(item));
    else if (!["name", "index", "slice", "attribute"].includes(target.kind)) throw this.error("cannot assign to this expression");
    return target;
  }

  /** Parameters of a def or lambda, up to the mark that closes them. */
  parameters(close: string): Parameter[] {
    const parameters: Parameter[] = [];
    while (!this.at(close)) {
      if (this.take("**")) parameters.push({ kind: "keywords", name: this.name(), otherwise: undefined });
      else if (this.take("*")) parameters.push({ kind: "rest", name: this.tokens.kind === "name" ? this.name() : "", otherwise: undefined });
      else parameters.push({ kind: "plain", name: this.name(), otherwise: this.take("=") ? this.expression() : undefined });
      if (!this.take(",")) break;
    }
    const names = parameters.map(({ name }) => name).filter((name) => name !== "");
    if (new Set(names).size !== names.length) throw this.error("two parameters of the same name");
    return parameters;
  }

  protected at(mark: string): boolean {
    return this.tokens.kind === "mark" && this.tokens.text === mark;
  }

  protected take(mark: string): boolean {
    if (!this.at(mark)) return false;
    this.tokens.advance();
    return true;
  }

  protected takeKind(kind: TokenKind): boolean {
    if (this.tokens.kind !== kind) return false;
    this.tokens.advance();
    return true;
  }

  protected expect(mark: string): void {
    if (!this.take(mark)) throw this.error(`${this.#described()} where '${mark}' is expected`);
  }

  protected name(): string {
    if (this.tokens.kind !== "name") throw this.error(`${this.#described()} where a name is expected`);
    const name = this.tokens.text;
    this.tokens.advance();
    return name;
  }

  protected error(message: string): StarlarkError {
    return new StarlarkError(this.tokens.kind === "invalid" ? this.tokens.text : message, this.tokens.site());
  }

  protected unexpected(): StarlarkError {
    return this.error(`unexpected ${this.#described()}`);
  }

  /** Counts how deep the text nests, so that no text can exhaust the stack; `shallower` is the way back. */
  protected deeper(): void {
    if (++this.#depth > this.#limit) throw this.error(`nested more than ${this.#limit} deep`);
  }

  protected shallower(): void {
    this.#depth--;
  }

  /** Back to the top level, after an error. */
  protected surface(): void {
    this.#depth = 0;
  }

  #described(): string {
    const { kind, text } = this.tokens;
    if (kind === "newline") return "end of line";
    if (kind === "end") return "end of file";
    if (kind === "string" || kind === "bytes") return "string";
    return kind === "indent" || kind === "dedent" ? kind : `'${text.slice(0, 100)}'`;
  }

  #listEnds(): boolean {
    const { kind, text } = this.tokens;
    return kind === "newline" || kind === "end" || (kind === "mark" && ENDS.has(text));
  }

  #conditional(): Expression {
    const at = this.tokens.site();
    const then = this.#binary(0);
    if (!this.take("if")) return then;
    const test = this.#binary(0);
    this.expect("else");
    return { kind: "conditional", test, then, otherwise: this.expression(), at };
  }

  #binary(lowest: number): Expression {
    const at = this.tokens.site();
    let left = this.#unary();
    let compared = false;
    for (;;) {
      if (this.tokens.kind !== "mark") return left;
      let mark = this.tokens.text;
      const level = mark === "not" ? COMPARISON : LEVEL.get(mark);
      if (level === undefined || level < lowest) return left;
      if (level === COMPARISON && compared) throw this.error("comparisons do not chain: use 'and'");
      compared = level === COMPARISON;
      const place = this.tokens.site();
      this.tokens.advance();
      if (mark === "not") {
        this.expect("in");
        mark = "not in";
      }
      const right = this.#binary(level + 1);
      if (mark === "and" || mark === "or") {
        if (left.kind === "logic" && left.mark === mark) left.operands.push(right);
        else left = { kind: "logic", mark, operands: [left, right], at };
      } else if (left.kind === "binary") left.rest.push({ mark, right, at: place });
      else left = { kind: "binary", first: left, rest: [{ mark, right, at: place }], at };
    }
  }

  #unary(): Expression {
    if (this.tokens.kind !== "mark") return this.#postfix();
    const mark = this.tokens.text;
    if (mark !== "not" && mark !== "-" && mark !== "+" && mark !== "~") return this.#postfix();
    const at = this.tokens.site();
    this.tokens.advance();
    this.deeper();
    const operand = mark === "not" ? this.#binary(NOT + 1) : this.#unary();
    this.shallower();
    return { kind: "unary", mark, operand, at };
  }

  #postfix(): Expression {
    const at = this.tokens.site();
    let of = this.#atom(at);
    for (let suffixes = 0; ; suffixes++) {
      if (suffixes > this.#limit) throw this.error(`more than ${this.#limit} calls or indices in a row`);
      const place = this.tokens.site();
      if (this.take(".")) of = { kind: "attribute", of, name: this.name(), at: place };
      else if (this.take("(")) of = { kind: "call", callee: of, arguments: this.#arguments(), at };
      else if (this.take("[")) of = this.#subscript(of, place);
      else return of;
    }
  }

  #atom(at: Site): Expression {
    const { kind, text } = this.tokens;
    if (kind === "string" || kind === "bytes") return this.#strings(at);
    if (kind === "name" || kind === "number") {
      const value = kind === "name" ? CONSTANTS.get(text) : this.#number(text, at);
      this.tokens.advance();
      return value === undefined ? { kind: "name", name: text, at } : { kind: "literal", value };
    }
    if (this.take("(")) return this.#parenthesised(at);
    if (this.take("[")) return this.#list(at);
    if (this.take("{")) return this.#dict(at);
    throw this.unexpected();
  }

  #number(digits: string, at: Site): Value {
    try {
      return numberOf(digits);
    } catch (thrown) {
      throw placed(thrown, at);
    }
  }

  /** String literals side by side are one. */
  #strings(at: Site): Expression {
    let value = "";
    let bytes = false;
    for (; this.tokens.kind === "string" || this.tokens.kind === "bytes"; this.tokens.advance()) {
      bytes ||= this.tokens.kind === "bytes";
      value += this.tokens.text;
    }
    return { kind: "literal", value: bytes ? new Unknown("bytes are not evaluated", at) : value };
  }

  #parenthesised(at: Site): Expression {
    if (this.take(")")) return { kind: "tuple", items: [], at };
    const inner = this.expressions();
    this.expect(")");
    return inner;
  }

  #list(at: Site): Expression {
    const items: Expression[] = [];
    while (!this.at("]")) {
      const element = this.expression();
      if (items.length === 0 && this.at("for")) return { kind: "comprehension", makes: "list", element, clauses: this.#clauses("]"), at };
      items.push(element);
      if (!this.take(",")) break;
    }
    this.expect("]");
    return { kind: "list", items, at };
  }

  #dict(at: Site): Expression {
    const entries: [Expression, Expression][] = [];
    while (!this.at("}")) {
      const key = this.expression();
      this.expect(":");
      const element: [Expression, Expression] = [key, this.expression()];
      if (entries.length === 0 && this.at("for")) return { kind: "comprehension", makes: "dict", element, clauses: this.#clauses("}"), at };
      entries.push(element);
      if (!this.take(",")) break;
    }
    this.expect("}");
    return { kind: "dict", entries, at };
  }

  #clauses(close: string): Clause[] {
    const clauses: Clause[] = [];
    while (!this.take(close)) {
      if (this.take("if")) clauses.push({ test: this.#binary(0) });
      else {
        this.expect("for");
        const target = this.loopTargets();
        this.expect("in");
        clauses.push({ target, over: this.#binary(0) });
      }
    }
    return clauses;
  }

  #subscript(of: Expression, at: Site): Expression {
    const start = this.at(":") ? undefined : this.expressions();
    if (start !== undefined && this.take("]")) return { kind: "index", of, index: start, at };
    this.expect(":");
    const end = this.at(":") || this.at("]") ? undefined : this.expression();
    const step = this.take(":") && !this.at("]") ? this.expression() : undefined;
    this.expect("]");
    return { kind: "slice", of, bounds: [start, end, step], at };
  }

  #arguments(): Argument[] {
    const given: Argument[] = [];
    while (!this.at(")")) {
      given.push(this.#argument());
      if (!this.take(",")) break;
    }
    this.expect(")");
    return given;
  }

  #argument(): Argument {
    if (this.take("**")) return { kind: "keywords", name: "", value: this.expression() };
    if (this.take("*")) return { kind: "spread", name: "", value: this.expression() };
    const value = this.expression();
    if (!this.at("=")) return { kind: "positional", name: "", value };
    if (value.kind !== "name") throw this.error("an argument's name is not a name");
    this.tokens.advance();
    return { kind: "named", name: value.name, value: this.expression() };
  }

  #lambda(): Expression {
    const at = this.tokens.site();
    this.expect("lambda");
    const parameters = this.parameters(":");
    this.expect(":");
    return { kind: "lambda", parameters, body: this.expression(), at };
  }
}
