// Compiler messages for people: file:line:column, the line itself, a mark under what is meant.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Diagnostic } from "./asc.js";

export interface FormatOptions {
  color?: boolean;
  cwd?: string;
}

/** Formats messages with a source frame each. */
export function formatDiagnostics(diagnostics: Diagnostic[], options: FormatOptions = {}): string {
  return diagnostics.map((d) => formatDiagnostic(d, options)).join("\n\n");
}

function formatDiagnostic(d: Diagnostic, { color = false, cwd = process.cwd() }: FormatOptions): string {
  const paint = (code: number, text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const head = `${paint(d.severity === "error" ? 31 : 33, d.severity)}: ${d.message} ${paint(90, `[${d.code}]`)}`;
  if (!d.file || !d.line) return head;
  const place = `${d.file}:${d.line}:${d.column ?? 1}`;
  const source = sourceLine(path.resolve(cwd, d.file), d.line);
  if (source === undefined) return `${place} ${head}`;
  const number = String(d.line);
  const margin = " ".repeat(number.length);
  const column = d.column ?? 1;
  const tabs = source.slice(0, column - 1).replace(/[^\t]/g, " ");
  const marks = "^".repeat(Math.max(1, Math.min(d.length ?? 1, source.length - column + 1)));
  return [
    `${paint(36, place)} ${head}`,
    `${paint(90, `${margin} |`)}`,
    `${paint(90, `${number} |`)} ${source}`,
    `${paint(90, `${margin} |`)} ${tabs}${paint(31, marks)}`,
  ].join("\n");
}

function sourceLine(file: string, line: number): string | undefined {
  if (!existsSync(file)) return undefined;
  return readFileSync(file, "utf8").split(/\r?\n/)[line - 1];
}
