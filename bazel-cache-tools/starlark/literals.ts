// String and number literals to the values they stand for.
import { Fault } from "./errors.js";
import { PIECE_STEPS, Pieces, spend } from "./session.js";
import { Float, type Value } from "./values.js";

const CODED = /\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/y;
const SINGLE: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["t", "\t"],
  ["r", "\r"],
  ["a", "\x07"],
  ["b", "\b"],
  ["f", "\f"],
  ["v", "\v"],
  ["\n", ""],
  ["\\", "\\"],
  ["'", "'"],
  ['"', '"'],
]);

/** A number that long is no number anyone wrote. */
const MAX_DIGITS = 1000;

/** Where the literal that opens before `from` closes: the offset of the closing quote, or undefined where it does not. */
export function stringEnd(source: string, from: number, quote: string, triple: boolean): number | undefined {
  for (let at = from; at < source.length; at++) {
    const one = source[at];
    if (one === "\\") at++;
    else if (one === "\n" && !triple) return undefined;
    else if (one === quote && (!triple || source.startsWith(quote.repeat(3), at))) return at;
  }
  // Nothing comes of having read that far, so a file of such quotes would make this quadratic.
  spend(Math.ceil((source.length - from) / 16));
  return undefined;
}

/** The text of a literal. An escape that Starlark does not know stands for itself (bazel < 4.0 without `--incompatible_restrict_string_escapes`). */
export function unescaped(literal: string): string {
  const pieces = new Pieces();
  let from = 0;
  for (let at = literal.indexOf("\\"); at !== -1; at = literal.indexOf("\\", from)) {
    spend(PIECE_STEPS);
    if (at > from) pieces.add(literal.slice(from, at));
    const next = literal[at + 1]!;
    const single = SINGLE.get(next);
    const coded = single === undefined ? codedAt(literal, at) : undefined;
    pieces.add(single ?? coded?.text ?? `\\${next}`);
    from = at + (coded?.length ?? 2);
  }
  pieces.add(literal.slice(from));
  return pieces.text();
}

function codedAt(literal: string, at: number): { text: string; length: number } | undefined {
  CODED.lastIndex = at;
  const [whole, octal, ...hex] = CODED.exec(literal) ?? [];
  if (whole === undefined) return undefined;
  const point = octal === undefined ? Number.parseInt(hex.find((code) => code !== undefined)!, 16) : Number.parseInt(octal, 8);
  return point > 0x10ffff ? undefined : { text: String.fromCodePoint(point), length: whole.length };
}

/** The value of a number literal, or why it is none. */
export function numberOf(digits: string): Value {
  if (digits.length > MAX_DIGITS) throw new Fault("a number with too many digits");
  if (/^(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|[1-9]\d*|0+)$/.test(digits)) return integer(BigInt(digits));
  if (/^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(digits) && !/^\d+$/.test(digits)) return new Float(Number(digits));
  throw new Fault(`invalid number ${digits}`);
}

/** An integer as this evaluator keeps it: a number while it is safe. */
export function integer(value: bigint): number | bigint {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}
