// The two ways to put values into a text: `template % values` and `template.format(values)`.
import { Fault } from "./errors.js";
import { integer } from "./literals.js";
import { Pieces } from "./session.js";
import { floatText, repr, str } from "./text.js";
import { Dict, Float, Tuple, typeName, type Value } from "./values.js";

const CONVERSIONS: ReadonlyMap<string, (value: Value) => string> = new Map<string, (value: Value) => string>([
  ["s", str],
  ["r", repr],
  ["d", (value) => whole(value).toString()],
  ["i", (value) => whole(value).toString()],
  ["o", (value) => whole(value).toString(8)],
  ["x", (value) => whole(value).toString(16)],
  ["X", (value) => whole(value).toString(16).toUpperCase()],
  ["c", character],
  [
    "e",
    (value) =>
      double(value)
        .toExponential(6)
        .replace(/e([+-])(\d)$/, "e$10$2"),
  ],
  ["f", (value) => double(value).toFixed(6)],
  ["g", (value) => floatText(double(value))],
]);

function whole(value: Value): number | bigint {
  if (typeof value === "number" || typeof value === "bigint") return value;
  if (value instanceof Float && Number.isFinite(value.value)) return integer(BigInt(Math.trunc(value.value)));
  throw new Fault(`a number is required, not '${typeName(value)}'`);
}

function double(value: Value): number {
  if (value instanceof Float) return value.value;
  return Number(whole(value));
}

function character(value: Value): string {
  if (typeof value === "string" && Array.from(value).length === 1) return value;
  if (typeof value === "number" && value >= 0 && value <= 0x10ffff) return String.fromCodePoint(value);
  throw new Fault("%c requires a single character or its code point");
}

/** `template % values`: a tuple for several, a dict for `%(name)s`. */
export function formatPercent(template: string, values: Value): string {
  const positional = values instanceof Tuple ? values.items : [values];
  const pieces = new Pieces();
  let used = 0;
  let named = false;
  const field = (name: string): Value => {
    if (!(values instanceof Dict)) throw new Fault(`%(${name}) requires a dict`);
    named = true;
    const value = values.get(name);
    if (value === undefined) throw new Fault(`no key '${name}' to format`);
    return value;
  };
  const next = (): Value => {
    const value = positional[used++];
    if (value === undefined) throw new Fault("not enough arguments for the format string");
    return value;
  };
  for (let from = 0; ; ) {
    const sign = template.indexOf("%", from);
    if (sign === -1) {
      pieces.add(template.slice(from));
      break;
    }
    pieces.add(template.slice(from, sign));
    const close = template[sign + 1] === "(" ? template.indexOf(")", sign) : sign;
    const letter = close === -1 ? undefined : template[close + 1];
    if (letter === undefined) throw new Fault("incomplete format");
    from = close + 2;
    const convert = CONVERSIONS.get(letter);
    if (letter === "%") pieces.add("%");
    else if (convert) pieces.add(convert(close === sign ? next() : field(template.slice(sign + 2, close))));
    else throw new Fault(`unsupported format character '${letter}'`);
  }
  if (used < positional.length && !named && !(values instanceof Dict)) throw new Fault("not all arguments converted by the format string");
  return pieces.text();
}

/** `template.format(...)`; fields are empty, a number or a name, as Bazel has them: no attributes, no widths. */
export function formatBraces(template: string, positional: readonly Value[], named: ReadonlyMap<string, Value>): string {
  const pieces = new Pieces();
  let automatic = 0;
  let numbered = false;
  const argument = (field: string): Value => {
    const counted = field === "";
    if (counted || /^\d+$/.test(field)) {
      if (counted ? numbered : automatic > 0) throw new Fault("cannot mix {} with numbered fields");
      numbered ||= !counted;
      const value = positional[counted ? automatic++ : Number(field)];
      if (value === undefined) throw new Fault(`no argument for field {${field}}`);
      return value;
    }
    if (/[[\]{}.,:!]/.test(field)) throw new Fault(`unsupported format field {${field}}`);
    const value = named.get(field);
    if (value === undefined) throw new Fault(`no argument named '${field}'`);
    return value;
  };
  for (let from = 0; from < template.length; ) {
    const brace = nextBrace(template, from);
    pieces.add(template.slice(from, brace));
    if (brace === template.length) break;
    if (template[brace] === template[brace + 1]) {
      pieces.add(template[brace]!);
      from = brace + 2;
      continue;
    }
    const close = template[brace] === "{" ? template.indexOf("}", brace) : -1;
    if (close === -1) throw new Fault(`single '${template[brace]}' in a format string`);
    pieces.add(str(argument(template.slice(brace + 1, close))));
    from = close + 1;
  }
  return pieces.text();
}

function nextBrace(template: string, from: number): number {
  for (let at = from; at < template.length; at++) {
    if (template[at] === "{" || template[at] === "}") return at;
  }
  return template.length;
}
