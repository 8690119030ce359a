// Regular expressions as Envoy has them: RE2's syntax, over bytes that are read as UTF-8.
import { createRequire } from "node:module";
import type { RE2JS } from "re2js";
import { toByteString, toUnicode } from "./byte-string.js";
import { ConfigError, type Fields } from "./config/fields.js";

export interface Pattern {
  /** Whether all of a byte string matches. */
  matches(text: string): boolean;
  /** Whether a part of it does. */
  finds(text: string): boolean;
  /** Replaces each match; `\1` in `substitution` stands for what the first group matched, `\0` for all of it. */
  replace(text: string, substitution: string): string;
}

const load = createRequire(import.meta.url);

/** Takes 13 ms to load: only where a configuration has a regular expression. Node keeps what it has loaded. */
const re2 = (): typeof import("re2js") => load("re2js");

/** Reads a RegexMatcher. */
export function readRegex(fields: Fields): Pattern {
  const text = fields.required("regex");
  fields.accept("google_re2").done();
  return compileRegex(text, `${fields.path}.regex`);
}

export function compileRegex(text: string, path: string): Pattern {
  let compiled: RE2JS;
  try {
    compiled = re2().RE2JS.compile(text);
  } catch (error) {
    const reason = re2Words(error instanceof Error ? error.message : String(error));
    throw new ConfigError(`${path}: ${reason}`, reason);
  }
  return {
    matches: (bytes) => compiled.matches(toUnicode(bytes)),
    finds: (bytes) => compiled.matcher(toUnicode(bytes)).find(),
    replace(bytes, substitution) {
      const input = toUnicode(bytes);
      const matcher = compiled.matcher(input);
      let result = "";
      let at = 0;
      while (matcher.find()) {
        result +=
          input.slice(at, matcher.start()) + substitution.replace(/\\([0-9\\])/g, (_, c: string) => (c === "\\" ? c : (matcher.group(Number(c)) ?? "")));
        at = matcher.end();
      }
      return toByteString(result + input.slice(at));
    },
  };
}

/** Go's words for what is wrong with an expression, and RE2's. */
const WORDS: [string, string][] = [
  ["missing argument to repetition operator", "no argument for repetition operator"],
  ["invalid nested repetition operator", "bad repetition operator"],
  ["invalid or unsupported Perl syntax", "invalid perl operator"],
  ["invalid repeat count", "invalid repetition size"],
  ["missing closing )", "missing )"],
  ["missing closing ]", "missing ]"],
  ["invalid named capture", "invalid named capture group"],
];

function re2Words(message: string): string {
  const [, what = message, where] = /^error parsing regexp: (.*?)(?:: `(.*)`)?$/s.exec(message) ?? [];
  return `${WORDS.find(([words]) => words === what)?.[1] ?? what}${where === undefined ? "" : `: ${where}`}`;
}
