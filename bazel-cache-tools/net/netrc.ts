// User names and passwords from ~/.netrc, as curl and Bazel read them.
import { readFile } from "node:fs/promises";
import { join } from "node:path";

export interface NetrcEntry {
  /** Lower case. Undefined for `default`. */
  machine?: string;
  login: string;
  password: string;
}

/** Words, with quotes and backslashes inside them as curl takes them; a `#` that begins a word begins a comment. */
function words(text: string): { word: string; quoted: boolean; end: number }[] {
  const found = [];
  const pattern = /#[^\n]*|"((?:[^"\\]|\\.)*)"|(\S+)/gs;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [whole, quoted, plain] = match;
    if (quoted !== undefined) found.push({ word: quoted.replace(/\\(.)/gs, (_, c: string) => ESCAPES[c] ?? c), quoted: true, end: pattern.lastIndex });
    else if (plain !== undefined) found.push({ word: plain, quoted: false, end: pattern.lastIndex });
    else if (whole === "") break;
  }
  return found;
}

const ESCAPES: Record<string, string> = { n: "\n", r: "\r", t: "\t" };

/** The entries of a netrc file in their order. Macros are skipped: they end with an empty line. */
export function parseNetrc(text: string): NetrcEntry[] {
  const entries: NetrcEntry[] = [];
  const all = words(text.replace(/\r\n/g, "\n").replace(/(^|\n)([ \t]*)macdef[^\n]*(\n(?![ \t]*(\n|$))[^\n]*)*/g, "$1"));
  for (let i = 0; i < all.length; i++) {
    const { word, quoted } = all[i]!;
    if (quoted) continue;
    const entry = entries.at(-1);
    if (word === "default") entries.push({ login: "", password: "" });
    else if (word === "machine") entries.push({ machine: all[++i]?.word.toLowerCase() ?? "", login: "", password: "" });
    else if (word === "login" && entry) entry.login = all[++i]?.word ?? "";
    else if (word === "password" && entry) entry.password = all[++i]?.word ?? "";
    else if (word === "account") i++;
  }
  return entries;
}

/**
 * The entry of a host: the first `machine` of that name, else `default`.
 * @param named only an entry that names the host will do. A redirect may lead anywhere, and `default` is not meant for just anyone.
 */
export function lookup(entries: NetrcEntry[], host: string, named = false): NetrcEntry | undefined {
  const name = host.toLowerCase();
  return entries.find((entry) => entry.machine === name) ?? (named ? undefined : entries.find((entry) => entry.machine === undefined));
}

/** Reads `$NETRC`, else `~/.netrc` (`~/_netrc` on Windows). No file means no entries. */
export async function readNetrc(env: Record<string, string | undefined>): Promise<NetrcEntry[]> {
  const home = env.HOME || env.USERPROFILE;
  const paths = env.NETRC ? [env.NETRC] : home ? [join(home, ".netrc"), join(home, "_netrc")] : [];
  for (const path of paths) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined) return parseNetrc(text);
  }
  return [];
}
