// Tokens to statements, one top-level line at a time, so that an error costs no more than its own statement.
import type { Site } from "./errors.js";
import { ExpressionParser } from "./parse-expressions.js";
import type { Expression, Statement } from "./syntax.js";

const AUGMENTED = new Set(["+=", "-=", "*=", "/=", "//=", "%=", "&=", "|=", "^=", "<<=", ">>="]);

export class Parser extends ExpressionParser {
  #functions = 0;
  #loops = 0;

  /** The statements of the next top-level line, or undefined at the end of the file. Throws `StarlarkError`; then call `recover`. */
  next(): Statement[] | undefined {
    while (this.tokens.kind === "newline") this.tokens.advance();
    if (this.tokens.kind === "end") return undefined;
    this.tokens.begin();
    return this.#statements();
  }

  recover(): void {
    this.tokens.recover();
    this.#functions = 0;
    this.#loops = 0;
    this.surface();
  }

  #statements(): Statement[] {
    const at = this.tokens.site();
    if (this.take("def")) return [this.#def(at)];
    if (this.take("if")) return [this.#if(at)];
    if (this.take("for")) return [this.#for(at)];
    return this.#simpleLine();
  }

  #simpleLine(): Statement[] {
    const statements = [this.#simple()];
    while (this.take(";") && this.tokens.kind !== "newline") statements.push(this.#simple());
    if (!this.takeKind("newline")) throw this.unexpected();
    return statements;
  }

  #simple(): Statement {
    const at = this.tokens.site();
    if (this.take("pass")) return { kind: "pass", at };
    if (this.at("break") || this.at("continue")) return this.#jump(at);
    if (this.at("return")) return this.#return(at);
    const value = this.expressions();
    if (this.take("=")) return { kind: "assign", target: this.assignable(value), value: this.expressions(), at };
    const mark = this.tokens.text;
    if (this.tokens.kind === "mark" && AUGMENTED.has(mark)) {
      if (value.kind === "list" || value.kind === "tuple" || value.kind === "slice") throw this.error(`cannot assign to this expression with ${mark}`);
      const target = this.assignable(value);
      this.tokens.advance();
      return { kind: "augment", target, mark: mark.slice(0, -1), value: this.expressions(), at };
    }
    if (value.kind === "call" && value.callee.kind === "name" && value.callee.name === "load") return this.#load(value.arguments, at);
    return { kind: "expression", value, at };
  }

  #jump(at: Site): Statement {
    const kind = this.at("break") ? "break" : "continue";
    if (this.#loops === 0) throw this.error(`'${kind}' outside of a loop`);
    this.tokens.advance();
    return { kind, at };
  }

  #return(at: Site): Statement {
    if (this.#functions === 0) throw this.error("'return' outside of a function");
    this.tokens.advance();
    const empty = this.tokens.kind === "newline" || this.at(";");
    return { kind: "return", value: empty ? undefined : this.expressions(), at };
  }

  #load([label, ...rest]: { kind: string; name: string; value: Expression }[], at: Site): Statement {
    const text = (expression: Expression | undefined): string => {
      if (expression?.kind === "literal" && typeof expression.value === "string") return expression.value;
      throw this.error("load() takes string literals");
    };
    const names = rest.map(({ name, value }) => ({ name: name === "" ? text(value) : name, remote: text(value), at }));
    return { kind: "load", label: text(label?.value), names, at };
  }

  #def(at: Site): Statement {
    const name = this.name();
    this.expect("(");
    const parameters = this.parameters(")");
    this.expect(")");
    const loops = this.#loops;
    this.#loops = 0;
    this.#functions++;
    const body = this.#suite();
    this.#functions--;
    this.#loops = loops;
    return { kind: "def", name, parameters, body, at };
  }

  #if(at: Site): Statement {
    const branches = [{ test: this.expression(), body: this.#suite() }];
    while (this.take("elif")) branches.push({ test: this.expression(), body: this.#suite() });
    return { kind: "if", branches, otherwise: this.take("else") ? this.#suite() : [], at };
  }

  #for(at: Site): Statement {
    const target = this.loopTargets();
    this.expect("in");
    const over = this.expressions();
    this.#loops++;
    const body = this.#suite();
    this.#loops--;
    return { kind: "for", target, over, body, at };
  }

  /** What stands behind a colon: the rest of the line, or an indented block. */
  #suite(): Statement[] {
    this.expect(":");
    if (!this.takeKind("newline")) return this.#simpleLine();
    if (!this.takeKind("indent")) throw this.error("an indented block is expected");
    const statements: Statement[] = [];
    this.deeper();
    while (!this.takeKind("dedent")) {
      for (const statement of this.#statements()) statements.push(statement);
    }
    this.shallower();
    return statements;
  }
}
