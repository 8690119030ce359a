// The methods of lists, dicts and sets.
import { Fault } from "./errors.js";
import { changes, type Given, keeps, keepsAndChanges, type Native, reads } from "./native.js";
import { equal } from "./operators.js";
import { spend, spendElements } from "./session.js";
import { missing, placeIn } from "./subscripts.js";
import { repr } from "./text.js";
import { Dict, iterate, List, SetValue, Tuple, type Value } from "./values.js";

const ELEMENTS_MOVED_PER_STEP = 64;

export const LIST_METHODS: ReadonlyMap<string, Native<List>> = new Map<string, Native<List>>([
  ["append", keepsAndChanges("item", (self, given) => none(self.items.push(given.value(0))))],
  ["extend", changes("items", (self, given) => extend(self, given.value(0)))],
  ["insert", keepsAndChanges("index item", (self, given) => none(spliced(self, given.integer(0, 0), 0, given.value(1))))],
  ["remove", changes("item", (self, given) => none(spliced(self, indexIn(self, given.value(0)), 1)))],
  ["pop", changes("index?", (self, given) => spliced(self, placeIn(self, given.integer(0, -1)), 1)[0]!)],
  ["index", reads("item start? end?", (self, given) => indexIn(self, given.value(0), given.integer(1, 0), given.integer(2, self.items.length)))],
  ["clear", changes("", (self) => none(self.items.splice(0)))],
]);

export const DICT_METHODS: ReadonlyMap<string, Native<Dict>> = new Map<string, Native<Dict>>([
  ["get", keeps("key default?", (self, given) => self.get(given.value(0)) ?? given.value(1))],
  ["items", reads("", (self) => paid(Array.from(self.entries(), ([key, value]) => new Tuple([key, value]))))],
  ["keys", reads("", (self) => paid(self.keys()))],
  ["values", reads("", (self) => paid(self.values()))],
  ["update", keepsAndChanges("*", (self, { call }) => update(self, call.positional, call.named))],
  ["setdefault", keepsAndChanges("key default?", (self, given) => setDefault(self, given.value(0), given.value(1)))],
  ["pop", keepsAndChanges("key default?", popKey)],
  ["popitem", changes("", popFirst)],
  ["clear", changes("", (self) => none(self.clear()))],
]);

export const SET_METHODS: ReadonlyMap<string, Native<SetValue>> = new Map<string, Native<SetValue>>([
  ["add", changes("item", (self, given) => none(self.members.set(given.value(0), null)))],
  ["remove", changes("item", (self, given) => none(self.members.delete(given.value(0)) || missing(given.value(0))))],
  ["discard", changes("item", (self, given) => none(self.members.delete(given.value(0))))],
  ["clear", changes("", (self) => none(self.members.clear()))],
  ["update", changes("items", (self, given) => none(given.items(0).forEach((item) => void self.members.set(item, null))))],
  ["union", reads("items", (self, given) => new SetValue([...self.members.keys(), ...given.items(0)]))],
  ["intersection", reads("items", (self, given) => new SetValue(given.items(0).filter((item) => self.members.has(item))))],
  ["difference", reads("items", (self, given) => without(self, new SetValue(given.items(0))))],
  ["issubset", reads("items", (self, given) => without(self, new SetValue(given.items(0))).members.size === 0)],
  ["issuperset", reads("items", (self, given) => given.items(0).every((item) => self.members.has(item)))],
]);

function none(_result: unknown): null {
  return null;
}

/** What is behind the place moves, many elements in a step. */
function spliced(list: List, place: number, removed: number, ...added: Value[]): Value[] {
  const behind = place < 0 ? Math.min(-place, list.items.length) : Math.max(0, list.items.length - place);
  spend(Math.floor(behind / ELEMENTS_MOVED_PER_STEP));
  return list.items.splice(place, removed, ...added);
}

function paid(items: Value[]): List {
  spendElements(items.length);
  return new List(items);
}

/** `list.extend(items)`, which `list += items` is too. */
export function extend(list: List, value: Value): null {
  const items = iterate(value);
  spendElements(items.length);
  for (const item of items) list.items.push(item);
  return null;
}

/** `dict.update(pairs, **named)`, which `dict |= other` is too; it gives nothing. */
export function update(dict: Dict, positional: readonly Value[], named: ReadonlyMap<string, Value>): null {
  if (positional.length > 1) throw new Fault("at most one positional argument is taken");
  const pairs = [...(positional.length === 1 ? pairsOf(positional[0]!) : []), ...named];
  spendElements(pairs.length);
  for (const [key, value] of pairs) dict.set(key, value);
  return null;
}

function pairsOf(value: Value): (readonly [Value, Value])[] {
  if (value instanceof Dict) return Array.from(value.entries());
  return iterate(value).map((pair) => {
    const items = iterate(pair);
    if (items.length !== 2) throw new Fault(`a pair is required, not ${items.length} elements`);
    return [items[0]!, items[1]!];
  });
}

function indexIn(list: List, item: Value, start = 0, end = list.items.length): number {
  const place = (index: number): number => Math.max(0, index < 0 ? index + list.items.length : index);
  for (let at = place(start); at < Math.min(place(end), list.items.length); at++) {
    if (equal(list.items[at]!, item)) return at;
  }
  throw new Fault(`${repr(item)} is not in the list`);
}

function setDefault(dict: Dict, key: Value, otherwise: Value): Value {
  const value = dict.get(key);
  if (value !== undefined) return value;
  dict.set(key, otherwise);
  return otherwise;
}

function popKey(dict: Dict, given: Given): Value {
  const value = dict.get(given.value(0));
  if (value === undefined) return given.has(1) ? given.value(1) : missing(given.value(0));
  dict.delete(given.value(0));
  return value;
}

/** Starlark takes the first entry, where Python takes the last (starlark spec, "dict·popitem"). */
function popFirst(dict: Dict): Value {
  for (const [key, value] of dict.entries()) {
    dict.delete(key);
    return new Tuple([key, value]);
  }
  throw new Fault("popitem() of an empty dict");
}

function without(set: SetValue, other: SetValue): SetValue {
  return new SetValue(set.members.keys().filter((item) => !other.members.has(item)));
}
