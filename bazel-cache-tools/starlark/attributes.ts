// What stands behind a dot: the fields of structs, the methods of everything else.
import { DICT_METHODS, LIST_METHODS, SET_METHODS } from "./collections.js";
import { UnknownMet } from "./errors.js";
import { bound, type Native } from "./native.js";
import { spendText } from "./session.js";
import { STRING_METHODS } from "./strings.js";
import { Dict, List, SetValue, Struct, Unknown, type Value } from "./values.js";

/** `value.name`, or undefined where it has none. */
export function attributeOf(value: Value, name: string): Value | undefined {
  if (value instanceof Unknown) throw new UnknownMet(value);
  if (value instanceof Struct) return value.get(name);
  if (typeof value === "string") {
    spendText(value.length);
    return method(STRING_METHODS, name, value);
  }
  if (value instanceof Dict) return method(DICT_METHODS, name, value);
  if (value instanceof List) return method(LIST_METHODS, name, value);
  return value instanceof SetValue ? method(SET_METHODS, name, value) : undefined;
}

function method<Self>(methods: ReadonlyMap<string, Native<Self>>, name: string, self: Self): Value | undefined {
  const found = methods.get(name);
  return found && bound(name, found, self);
}

/** What `dir(value)` lists. */
export function attributeNames(value: Value): string[] {
  if (value instanceof Struct) return [...value.fields.keys()];
  if (typeof value === "string") return [...STRING_METHODS.keys()];
  if (value instanceof Dict) return [...DICT_METHODS.keys()];
  if (value instanceof List) return [...LIST_METHODS.keys()];
  return value instanceof SetValue ? [...SET_METHODS.keys()] : [];
}
