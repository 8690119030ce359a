// Source text to tokens, one at a time: names, literals, marks, and the indentation as tokens of its own.
import type { Site } from "./errors.js";
import { stringEnd, unescaped } from "./literals.js";
import { nameBound, nextStatement } from "./recovery.js";
import { spend } from "./session.js";

export type TokenKind = "name" | "number" | "string" | "bytes" | "mark" | "newline" | "indent" | "dedent" | "end" | "invalid";

const KEYWORDS = new Set(["and", "break", "continue", "def", "elif", "else", "for", "if", "in", "lambda", "not", "or", "pass", "return"]);
const STRING_PREFIXES = new Set(["r", "b", "rb", "br"]);
const MARK = /\/\/=|<<=|>>=|\*\*|\/\/|<<|>>|==|!=|<=|>=|\+=|-=|\*=|\/=|%=|&=|\|=|\^=|[-+*/%&|^~<>=.,:;()[\]{}]/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER = /(?:0[xXoObB][0-9A-Za-z_]*|(?:\.[0-9]|[0-9])(?:[eE][+-][0-9]|[0-9A-Za-z_.])*)/y;
/** A token is kept as a node or two, so it costs more than a step of evaluation. */
const TOKEN_STEPS = 4;

/** The token it stands on, in `kind`, `text` and `start`; `advance` goes on to the next. */
export class Tokens {
  kind: TokenKind = "newline";
  /** A name, a mark or keyword, a number's digits, a string's value; of what is no token, why. */
  text = "";
  start = 0;
  #row = 1;
  #lineStart = 0;
  #tokenRow = 1;
  #tokenLineStart = 0;
  #site: Site | undefined;
  #next = 0;
  #brackets = 0;
  #began = { at: 0, row: 1, lineStart: 0 };
  #indents = [0];
  #dedents = 0;
  #lineOpens = true;
  #lineHasTokens = false;

  constructor(
    readonly source: string,
    readonly file: string,
  ) {}

  /** Where the token is. Nodes that start at the same token share it. */
  site(): Site {
    this.#site ??= { file: this.file, line: this.#tokenRow, column: this.start - this.#tokenLineStart + 1 };
    return this.#site;
  }

  advance(): void {
    spend(TOKEN_STEPS);
    if (this.#dedents > 0) {
      this.#dedents--;
      this.#token("dedent", this.#next, this.#next);
    } else if (!this.#lineOpens || !this.#indentation()) this.#onLine();
  }

  #onLine(): void {
    this.#skipBlank();
    const at = this.#next;
    const ended = at >= this.source.length;
    if (!ended && this.source[at] !== "\n") {
      this.#lineHasTokens = true;
      this.#word(at);
      return;
    }
    this.#token(ended && !this.#lineHasTokens ? "end" : "newline", at, at);
    if (!ended) this.#newLine(at + 1);
    this.#lineOpens = true;
    this.#lineHasTokens = false;
  }

  #word(at: number): void {
    const name = this.#match(NAME, at);
    const after = at + (name?.length ?? 0);
    const quote = this.source[after];
    if ((quote === '"' || quote === "'") && (name === undefined || STRING_PREFIXES.has(name.toLowerCase()))) this.#string(at, after, name ?? "");
    else if (name !== undefined) this.#token(KEYWORDS.has(name) ? "mark" : "name", at, after, name);
    else this.#numberOrMark(at);
  }

  #numberOrMark(at: number): void {
    const number = this.#match(NUMBER, at);
    const word = number ?? this.#match(MARK, at);
    if (number !== undefined) this.#token("number", at, at + number.length, number);
    else if (word !== undefined) this.#token("mark", at, at + word.length, word);
    else this.#token("invalid", at, at + 1, `unexpected character ${JSON.stringify(String.fromCodePoint(this.source.codePointAt(at)!))}`);
    if (word === "(" || word === "[" || word === "{") this.#brackets++;
    else if (word === ")" || word === "]" || word === "}") this.#brackets = Math.max(0, this.#brackets - 1);
  }

  #string(at: number, open: number, prefix: string): void {
    const quote = this.source[open]!;
    const triple = this.source.startsWith(quote.repeat(3), open);
    const from = open + (triple ? 3 : 1);
    const end = stringEnd(this.source, from, quote, triple);
    if (end === undefined) {
      this.#token("invalid", at, open + 1, "unclosed string literal");
      return;
    }
    const literal = this.source.slice(from, end);
    const value = /r/i.test(prefix) || !literal.includes("\\") ? literal : unescaped(literal);
    this.#token(/b/i.test(prefix) ? "bytes" : "string", at, end + (triple ? 3 : 1), value);
    this.#countLines(from, end);
  }

  #countLines(from: number, to: number): void {
    for (let at = from; at < to; at++) {
      if (this.source.charCodeAt(at) !== 10) continue;
      this.#row++;
      this.#lineStart = at + 1;
    }
  }

  #match(pattern: RegExp, at: number): string | undefined {
    pattern.lastIndex = at;
    return pattern.test(this.source) ? this.source.slice(at, pattern.lastIndex) : undefined;
  }

  #token(kind: TokenKind, start: number, next: number, text = ""): void {
    this.kind = kind;
    this.text = text;
    this.start = start;
    this.#site = undefined;
    this.#tokenRow = this.#row;
    this.#tokenLineStart = this.#lineStart;
    this.#next = next;
  }

  #newLine(at: number): void {
    this.#next = at;
    this.#row++;
    this.#lineStart = at;
  }

  /** Skips blank lines and measures the next one; true where that makes an indent or a dedent. */
  #indentation(): boolean {
    let width = 0;
    for (; this.#next < this.source.length; ) {
      const one = this.source[this.#next];
      if (one === " ") width++;
      else if (one === "\t") width = (width | 7) + 1;
      else if (one === "\n") width = 0;
      else if (one === "#") this.#next = this.#lineEnd() - 1;
      else if (one !== "\f") break;
      if (one === "\n") this.#newLine(this.#next + 1);
      else this.#next++;
    }
    if (this.#next >= this.source.length) width = 0;
    this.#lineOpens = false;
    return this.#indent(width);
  }

  #indent(width: number): boolean {
    if (width > this.#indents.at(-1)!) {
      this.#indents.push(width);
      this.#token("indent", this.#next, this.#next);
      return true;
    }
    let closed = 0;
    for (; width < this.#indents.at(-1)!; closed++) this.#indents.pop();
    if (closed === 0) return false;
    this.#dedents = closed - 1;
    if (width === this.#indents.at(-1)) this.#token("dedent", this.#next, this.#next);
    else this.#token("invalid", this.#next, this.#next, "the indentation matches that of no line above");
    return true;
  }

  #lineEnd(): number {
    const end = this.source.indexOf("\n", this.#next);
    return end === -1 ? this.source.length : end;
  }

  #skipBlank(): void {
    for (; ; this.#next++) {
      const one = this.source[this.#next];
      if (one === " " || one === "\t" || one === "\f") continue;
      if (one === "#") this.#next = this.#lineEnd() - 1;
      else if (one === "\\" && this.source[this.#next + 1] === "\n") {
        this.#newLine(this.#next + 2);
        this.#next--;
      } else if (one === "\n" && this.#brackets > 0) {
        this.#newLine(this.#next + 1);
        this.#next--;
      } else return;
    }
  }

  /** Remembers that a top-level statement begins at the token it stands on. */
  begin(): void {
    this.#began = { at: this.start, row: this.#tokenRow, lineStart: this.#tokenLineStart };
  }

  /** Goes behind the statement that began last, which does not parse. */
  recover(): void {
    const { at, row, lineStart } = this.#began;
    this.#row = row;
    this.#lineStart = lineStart;
    this.#next = nextStatement(this.source, at);
    this.#countLines(at, this.#next);
    this.#brackets = 0;
    this.#indents = [0];
    this.#dedents = 0;
    this.#lineOpens = true;
    this.#lineHasTokens = false;
    // Whoever reads on skips it, and only then reads the first token.
    this.kind = "newline";
  }

  /** The name that the statement that began last would have bound. */
  nameBound(): string | undefined {
    return nameBound(this.source, this.#began.at);
  }
}
