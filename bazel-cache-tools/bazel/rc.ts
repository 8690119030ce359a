// .bazelrc files: which of Bazel's options are set for a workspace, and where (bazel 7.7: `BlazeOptionHandler`, `RcFile`).
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

export interface RcOption {
  /** "common", "build", "startup", …, without ":config". */
  command: string;
  /** Behind the colon: counts only where --config asks for it. */
  config?: string;
  /** As it is written: "--repository_cache=~/x", or the two words of "--repository_cache ~/x". */
  words: string[];
  file: string;
  line: number;
}

export interface RcFiles {
  options: RcOption[];
  /** Files that an `import` names and that are not there: Bazel stops there. */
  missing: { file: string; at: string }[];
}

export interface RcPlaces {
  workspace?: string | undefined;
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  /** Where Bazel is run: imports without %workspace% are relative to it. */
  cwd: string;
  /** For tests: where the system's own rc file lies. */
  system?: string;
}

/** Reads the rc files in Bazel's order: the system's, the workspace's, the user's; a later line wins over an earlier one. */
export function readRcFiles(places: RcPlaces): RcFiles {
  const found: RcFiles = { options: [], missing: [] };
  for (const file of rcFiles(places)) readInto(found, file, places, []);
  return found;
}

function rcFiles({ workspace, env, platform, system }: RcPlaces): string[] {
  const systemRc = system ?? (platform === "win32" ? path.join(env.ProgramData ?? "C:\\ProgramData", "bazel.bazelrc") : "/etc/bazel.bazelrc");
  const home = platform === "win32" ? (env.HOME ?? env.USERPROFILE ?? homedir()) : (env.HOME ?? homedir());
  return [systemRc, ...(workspace ? [path.join(workspace, ".bazelrc")] : []), path.join(home, ".bazelrc")];
}

function readInto(found: RcFiles, file: string, places: RcPlaces, chain: readonly string[]): void {
  const real = path.resolve(file);
  // A file that imports itself is refused by Bazel; one that is imported twice is read twice.
  if (chain.includes(real) || chain.length > 50 || !existsSync(real)) return;
  for (const { words, line } of rcLines(textOf(real))) {
    const [command, ...rest] = words as [string, ...string[]];
    if (command === "import" || command === "try-import") {
      const target = rest[0]?.replace(/^%workspace%/, places.workspace ?? "%workspace%");
      if (target === undefined) continue;
      const imported = path.resolve(places.cwd, target);
      if (existsSync(imported)) readInto(found, imported, places, [...chain, real]);
      else if (command === "import") found.missing.push({ file: imported, at: `${real}:${line}` });
      continue;
    }
    const [name, config] = command.split(":", 2) as [string, string | undefined];
    found.options.push({ command: name, ...(config === undefined ? {} : { config }), words: rest, file: real, line });
  }
}

/** One of Bazel's own files; one that cannot be read counts for empty here, since Bazel says so itself. */
export function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Lines as words: `\` joins lines, `#` begins a comment outside of quotes (also within a word), quotes and backslashes are as in a shell. */
export function rcLines(text: string): { words: string[]; line: number }[] {
  const lines: { words: string[]; line: number }[] = [];
  let number = 0;
  let pending = "";
  let first = 1;
  for (const raw of text.replace(/^\ufeff/, "").split(/\r?\n/)) {
    number++;
    if (pending === "") first = number;
    if (raw.endsWith("\\")) {
      pending += raw.slice(0, -1);
      continue;
    }
    const words = shellWords(pending + raw);
    pending = "";
    if (words.length > 0) lines.push({ words, line: first });
  }
  const words = shellWords(pending);
  if (words.length > 0) lines.push({ words, line: first });
  return lines;
}

function shellWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (quote !== "") {
      if (c === quote) quote = "";
      else if (c === "\\" && i + 1 < line.length) word += line[++i]!;
      else word += c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= "";
    } else if (c === "\\" && i + 1 < line.length) word = (word ?? "") + line[++i]!;
    else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (c === "#") break;
    else word = (word ?? "") + c;
  }
  if (word !== undefined) words.push(word);
  return words;
}

/**
 * What `bazel build` reads, the weakest first: a line of `build` wins over one of `common` wherever they stand (bazel 4.2, 7.7; `always` counts from 6.1 on).
 * `fetch`, `query`, `sync` and `mod` have lines of their own.
 */
const BUILD: readonly string[] = ["always", "common", "build"];

export interface RcValue {
  value: string;
  /** "file:line". */
  at: string;
  command: string;
  /** Counts only where this --config is asked for. */
  config?: string;
}

/** The values of an option, the last of them wins. `names`: its spellings, without dashes. `--config=x` in a line stands for the lines of `build:x`. */
export function rcValues(options: readonly RcOption[], names: readonly string[], commands: readonly string[] = BUILD): RcValue[] {
  const values: RcValue[] = [];
  const expand = (lines: readonly RcOption[], expanding: readonly string[]) => {
    for (const { command, words, file, line } of lines) {
      for (let i = 0; i < words.length; i++) {
        if (words[i] === "--") break;
        const [, name, given] = /^--([^=]+)(?:=(.*))?$/s.exec(words[i]!) ?? [];
        if (name === undefined || (name !== "config" && !names.includes(name))) continue;
        const value = given ?? words[++i] ?? "";
        if (name !== "config") values.push({ value, at: `${file}:${line}`, command });
        else if (!expanding.includes(value)) expand(linesOf(options, commands, value), [...expanding, value]);
      }
    }
  };
  expand(linesOf(options, commands, undefined), []);
  return values;
}

/** A switch: `--name`, `--noname`, `--name=false`. Undefined where no line has it. */
export function rcFlag(options: readonly RcOption[], name: string): boolean | undefined {
  let value: boolean | undefined;
  for (const { words } of linesOf(options, BUILD, undefined)) {
    for (const word of words) {
      if (word === `--${name}`) value = true;
      else if (word === `--no${name}`) value = false;
      else if (word.startsWith(`--${name}=`)) value = /=(true|1|yes)$/i.test(word);
    }
  }
  return value;
}

function linesOf(options: readonly RcOption[], commands: readonly string[], config: string | undefined): RcOption[] {
  return commands.flatMap((command) => options.filter((o) => o.command === command && o.config === config));
}

/** Lines that set an option for one --config only. */
export function rcConfigValues(options: readonly RcOption[], names: readonly string[]): RcValue[] {
  const configs = new Set(options.map((o) => o.config).filter((c) => c !== undefined));
  return [...configs].flatMap((config) => {
    const lines = linesOf(options, BUILD, config).map(({ config: _, ...line }) => line);
    return rcValues(lines, names).map((value) => ({ ...value, config }));
  });
}
