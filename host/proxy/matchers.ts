// Envoy's string and header matchers, compiled from their configuration.
import type { HeaderMap } from "../vm/headermap.js";
import type { Fields } from "./config/fields.js";
import { readRegex } from "./regex.js";

export type StringMatch = (value: string) => boolean;

export function readStringMatch(fields: Fields): StringMatch {
  const ignoreCase = fields.bool("ignore_case") ?? false;
  const fold = (text: string) => (ignoreCase ? text.toLowerCase() : text);
  const tests: [string, (value: string, wanted: string) => boolean][] = [
    ["exact", (value, wanted) => value === wanted],
    ["prefix", (value, wanted) => value.startsWith(wanted)],
    ["suffix", (value, wanted) => value.endsWith(wanted)],
    ["contains", (value, wanted) => value.includes(wanted)],
  ];
  for (const [name, test] of tests) {
    const wanted = fields.string(name);
    if (wanted === undefined) continue;
    fields.done();
    return (value) => test(fold(value), fold(wanted));
  }
  const regex = fields.message("safe_regex");
  if (!regex) return fields.fail("exact", "is missing (exact, prefix, suffix, contains or safe_regex)");
  const pattern = readRegex(regex);
  fields.done();
  return (value) => pattern.matches(value);
}

export type HeaderMatch = (headers: HeaderMap) => boolean;

export function readHeaderMatch(fields: Fields): HeaderMatch {
  const name = fields.required("name").toLowerCase();
  const invert = fields.bool("invert_match") ?? false;
  const missingIsEmpty = fields.bool("treat_missing_header_as_empty") ?? false;
  const test = headerTest(fields);
  fields.done();
  return (headers) => {
    const values = headers.all(name);
    if (test === "present") return values.length > 0 !== invert;
    if (test === "absent") return (values.length === 0) !== invert;
    if (values.length === 0 && missingIsEmpty) values.push("");
    // envoy 1.40: a header that is missing does not match, inverted or not; of several values one is enough.
    return values.length > 0 && values.some(test) !== invert;
  };
}

function headerTest(fields: Fields): StringMatch | "present" | "absent" {
  const string = fields.message("string_match");
  if (string) return readStringMatch(string);
  const present = fields.bool("present_match");
  if (present !== undefined) return present ? "present" : "absent";
  const range = fields.message("range_match");
  if (range) {
    const start = range.number("start") ?? 0;
    const end = range.number("end") ?? 0;
    range.done();
    return (value) => /^-?\d+$/.test(value) && Number(value) >= start && Number(value) < end;
  }
  const exact = fields.string("exact_match");
  if (exact !== undefined) return (value) => value === exact;
  const prefix = fields.string("prefix_match");
  if (prefix !== undefined) return (value) => value.startsWith(prefix);
  const suffix = fields.string("suffix_match");
  if (suffix !== undefined) return (value) => value.endsWith(suffix);
  const contains = fields.string("contains_match");
  if (contains !== undefined) return (value) => value.includes(contains);
  const regex = fields.message("safe_regex_match");
  if (regex) {
    const pattern = readRegex(regex);
    return (value) => pattern.matches(value);
  }
  return "present";
}
