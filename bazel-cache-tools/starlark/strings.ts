// The methods of strings (starlark spec, "String methods"); positions count UTF-16 units.
import { Fault, UnknownMet } from "./errors.js";
import { formatBraces } from "./format.js";
import { type Given, keeps, type Native, reads } from "./native.js";
import { Pieces, spendElement, spendElements, spendSearch } from "./session.js";
import { List, Tuple, typeName, Unknown, type Value } from "./values.js";

const BLANKS = " \t\n\r\f\v";

type StringMethod = Native<string>;

export const STRING_METHODS: ReadonlyMap<string, StringMethod> = new Map<string, StringMethod>([
  ["format", keeps("*", (self, { call }) => formatBraces(self, call.positional, call.named))],
  ["join", reads("items", (self, given) => join(self, given.items(0)))],
  ["replace", reads("old new count?", (self, given) => replaced(self, given.text(0), given.text(1), given.integer(2, -1)))],
  ["split", reads("sep? maxsplit?", (self, given) => listed(split(self, given)))],
  ["rsplit", reads("sep? maxsplit?", (self, given) => listed(splitFromEnd(self, given)))],
  ["splitlines", reads("keepends?", (self, given) => listed(lines(self, given.value(0) === true)))],
  ["elems", reads("", (self) => listed(self.split("").slice(0, spendElements(self.length))))],
  ["strip", reads("chars?", (self, given) => stripped(self, given, true, true))],
  ["lstrip", reads("chars?", (self, given) => stripped(self, given, true, false))],
  ["rstrip", reads("chars?", (self, given) => stripped(self, given, false, true))],
  ["startswith", reads("sub start? end?", (self, given) => affixes(given).some((affix) => clipped(self, given).text.startsWith(affix)))],
  ["endswith", reads("sub start? end?", (self, given) => affixes(given).some((affix) => clipped(self, given).text.endsWith(affix)))],
  ["removeprefix", reads("prefix", (self, given) => (self.startsWith(given.text(0)) ? self.slice(given.text(0).length) : self))],
  ["removesuffix", reads("suffix", (self, given) => (given.text(0) !== "" && self.endsWith(given.text(0)) ? self.slice(0, -given.text(0).length) : self))],
  ["find", reads("sub start? end?", (self, given) => found(self, given, "indexOf"))],
  ["rfind", reads("sub start? end?", (self, given) => found(self, given, "lastIndexOf"))],
  ["index", reads("sub start? end?", (self, given) => needed(found(self, given, "indexOf")))],
  ["rindex", reads("sub start? end?", (self, given) => needed(found(self, given, "lastIndexOf")))],
  ["count", reads("sub start? end?", (self, given) => cut(clipped(self, given).text, given.text(0), -1).length - 1)],
  ["partition", reads("sep", (self, given) => parted(self, self.indexOf(separator(self, given.text(0))), given.text(0), [self, "", ""]))],
  ["rpartition", reads("sep", (self, given) => parted(self, self.lastIndexOf(separator(self, given.text(0))), given.text(0), ["", "", self]))],
  ["lower", reads("", (self) => self.toLowerCase())],
  ["upper", reads("", (self) => self.toUpperCase())],
  ["capitalize", reads("", (self) => self.slice(0, 1).toUpperCase() + self.slice(1).toLowerCase())],
  ["title", reads("", (self) => self.replace(/\p{L}+/gu, (word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase()))],
  ["isalnum", reads("", (self) => /^[\p{L}\p{N}]+$/u.test(self))],
  ["isalpha", reads("", (self) => /^\p{L}+$/u.test(self))],
  ["isdigit", reads("", (self) => /^\p{Nd}+$/u.test(self))],
  ["isspace", reads("", (self) => /^\s+$/.test(self))],
  ["islower", reads("", (self) => self === self.toLowerCase() && self !== self.toUpperCase())],
  ["isupper", reads("", (self) => self === self.toUpperCase() && self !== self.toLowerCase())],
  ["istitle", reads("", (self) => /\p{L}/u.test(self) && !/\p{L}\p{Lu}|(?<!\p{L})\p{Ll}/u.test(self))],
]);

function listed(items: string[]): List {
  spendElements(items.length);
  return new List(items);
}

function join(separator: string, items: readonly Value[]): string {
  const pieces = new Pieces();
  items.forEach((item, index) => {
    if (item instanceof Unknown) throw new UnknownMet(item);
    if (typeof item !== "string") throw new Fault(`join() takes strings, not '${typeName(item)}'`);
    if (index > 0) pieces.add(separator);
    pieces.add(item);
  });
  return pieces.text();
}

/** `text` cut at the first `limit` places where `separator` is (all of them where it is negative); an empty separator cuts everywhere. */
function cut(text: string, separator: string, limit: number): string[] {
  spendSearch(text, separator);
  const pieces: string[] = [];
  let from = 0;
  for (let search = 0; search <= text.length && pieces.length !== limit; ) {
    const at = text.indexOf(separator, search);
    if (at === -1) break;
    pieces.push(text.slice(from, at));
    spendElement(pieces);
    from = at + separator.length;
    search = Math.max(from, at + 1);
  }
  pieces.push(text.slice(from));
  return pieces;
}

function replaced(text: string, old: string, by: string, count: number): string {
  return join(by, cut(text, old, count));
}

function separator(text: string, given: string): string {
  if (given === "") throw new Fault("empty separator");
  spendSearch(text, given);
  return given;
}

function split(self: string, given: Given): string[] {
  const limit = given.integer(1, -1);
  if (given.value(0) !== null) return cut(self, separator("", given.text(0)), limit);
  const words = wordsOf(self);
  const rest = words[limit];
  if (limit < 0 || rest === undefined) return words.map(({ word }) => word);
  return [...words.slice(0, limit).map(({ word }) => word), self.slice(rest.at)];
}

function splitFromEnd(self: string, given: Given): string[] {
  const limit = given.integer(1, -1);
  if (given.value(0) === null) {
    const words = wordsOf(self);
    const rest = words[words.length - limit - 1];
    if (limit < 0 || rest === undefined) return words.map(({ word }) => word);
    return [self.slice(0, rest.at + rest.word.length), ...words.slice(words.length - limit).map(({ word }) => word)];
  }
  const pieces = cut(self, separator("", given.text(0)), -1);
  const rest = pieces.length - limit;
  return limit < 0 || rest <= 1 ? pieces : [join(given.text(0), pieces.slice(0, rest)), ...pieces.slice(rest)];
}

function wordsOf(text: string): { word: string; at: number }[] {
  const words: { word: string; at: number }[] = [];
  for (const match of text.matchAll(/[^ \t\n\r\f\v]+/g)) {
    spendElement(words);
    words.push({ word: match[0], at: match.index });
  }
  return words;
}

function lines(text: string, keepEnds: boolean): string[] {
  const found: string[] = [];
  for (const [line] of text.matchAll(/[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g)) {
    spendElement(found);
    found.push(keepEnds ? line : line.replace(/[\r\n]+$/, ""));
  }
  return found;
}

function stripped(self: string, given: Given, left: boolean, right: boolean): string {
  return trimmed(self, given.value(0) === null ? BLANKS : given.text(0), left, right);
}

function trimmed(text: string, characters: string, left: boolean, right: boolean): string {
  spendSearch(text, characters);
  let from = 0;
  let to = text.length;
  while (left && from < to && characters.includes(text[from]!)) from++;
  while (right && to > from && characters.includes(text[to - 1]!)) to--;
  return text.slice(from, to);
}

function affixes(given: Given): string[] {
  const value = given.value(0);
  const wanted = value instanceof Tuple ? value.items : [value];
  return wanted.map((affix) => {
    if (affix instanceof Unknown) throw new UnknownMet(affix);
    if (typeof affix !== "string") throw new Fault(`a string is required, not '${typeName(affix)}'`);
    return affix;
  });
}

/** The part of `self` between the arguments `start` and `end`, and where it starts. */
function clipped(self: string, given: Given): { text: string; from: number } {
  if (!given.has(1) && !given.has(2)) return { text: self, from: 0 };
  const place = (index: number): number => Math.min(self.length, Math.max(0, index < 0 ? index + self.length : index));
  const from = place(given.integer(1, 0));
  return { text: self.slice(from, Math.max(from, place(given.integer(2, self.length)))), from };
}

function found(self: string, given: Given, way: "indexOf" | "lastIndexOf"): number {
  const { text, from } = clipped(self, given);
  spendSearch(text, given.text(0));
  const at = text[way](given.text(0));
  return at === -1 ? -1 : at + from;
}

function needed(at: number): number {
  if (at === -1) throw new Fault("substring not found");
  return at;
}

function parted(self: string, at: number, separator: string, otherwise: [string, string, string]): Tuple {
  return new Tuple(at === -1 ? otherwise : [self.slice(0, at), separator, self.slice(at + separator.length)]);
}
