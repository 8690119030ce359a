// Colours where a person looks, plain text elsewhere.

export function wantsColor(stream: { isTTY?: boolean }, env: Record<string, string | undefined>): boolean {
  return !!stream.isTTY && !env.NO_COLOR && env.TERM !== "dumb";
}

export const color = { out: wantsColor(process.stdout, process.env), err: wantsColor(process.stderr, process.env) };

const CODES = { bold: 1, dim: 90, red: 31, green: 32, yellow: 33, blue: 34, cyan: 36 } as const;

export function paint(style: keyof typeof CODES, text: string, enabled = color.out): string {
  return enabled ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}

/** A word of unknown origin must not steer the terminal: control characters, and those that turn the direction of writing, become "?". */
export function printable(word: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  return word.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "?");
}

/** The same for lines that we have painted: our own colours and the ends of lines stay. */
export function harmless(lines: string): string {
  return (
    lines
      // biome-ignore lint/suspicious/noControlCharactersInRegex: our colours are such.
      .split(/(\u001b\[\d{1,2}m|[\n\t])/)
      .map((part, i) => (i % 2 ? part : printable(part)))
      .join("")
  );
}

/** From now on all that is printed by console is harmless. */
export function guardConsole(): void {
  for (const name of ["log", "error"] as const) {
    const print = console[name].bind(console);
    console[name] = (text: string) => print(harmless(text));
  }
}

/** 20,345 bytes as "19.9 KiB". */
export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  return size < 1024 * 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1024 / 1024).toFixed(1)} MiB`;
}
