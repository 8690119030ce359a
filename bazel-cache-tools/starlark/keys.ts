// Dict keys: a JavaScript value that is the same for equal Starlark values and for no others.
import { Fault, UnknownMet } from "./errors.js";
import { checkDepth, PIECE_STEPS, Pieces, spend, spendText } from "./session.js";
import { Callable, Float, Struct, Tuple, typeName, Unknown, type Value } from "./values.js";

const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/** Strings, numbers and the like are their own keys; what is composed becomes a text behind a NUL, which strings that start so double. */
export function keyOf(value: Value): unknown {
  if (typeof value === "string") {
    spendText(value.length);
    return value.charCodeAt(0) === 0 ? `\0${value}` : value;
  }
  if (value === null || typeof value !== "object") return value;
  if (value instanceof Float && Number.isSafeInteger(value.value)) return value.value + 0;
  const pieces = new Pieces();
  spell(value, pieces, 0);
  return `\0(${pieces.text()}`;
}

function spell(value: Value, pieces: Pieces, depth: number): void {
  spend(PIECE_STEPS);
  checkDepth(depth);
  if (value instanceof Unknown) throw new UnknownMet(value);
  if (value instanceof Tuple) {
    for (const item of value.items) spell(item, pieces, depth + 1);
    pieces.add(`t${value.items.length};`);
  } else if (value instanceof Struct && value.fields.size > 0) {
    for (const [name, field] of value.fields) {
      spell(name, pieces, depth + 1);
      spell(field, pieces, depth + 1);
    }
    pieces.add(`s${value.fields.size};`);
  } else pieces.add(spellOne(value));
}

function spellOne(value: Value): string {
  if (typeof value === "string") return `"${value.length}:${value}`;
  if (value instanceof Float) return Number.isSafeInteger(value.value) ? `i${value.value + 0};` : `f${value.value};`;
  if (value instanceof Callable || value instanceof Struct) return `o${identityOf(value)};`;
  if (value === null || typeof value === "boolean") return `${value};`;
  if (typeof value === "object") throw new Fault(`unhashable type: '${typeName(value)}'`);
  return `i${value};`;
}

function identityOf(value: object): number {
  const known = identities.get(value);
  if (known !== undefined) return known;
  identities.set(value, ++lastIdentity);
  return lastIdentity;
}
