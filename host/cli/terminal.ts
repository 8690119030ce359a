// Colours where a person looks, plain text elsewhere.

export function wantsColor(stream: { isTTY?: boolean }, env: Record<string, string | undefined>): boolean {
  return !!stream.isTTY && !env.NO_COLOR && env.TERM !== "dumb";
}

export const color = { out: wantsColor(process.stdout, process.env), err: wantsColor(process.stderr, process.env) };

const CODES = { bold: 1, dim: 90, red: 31, green: 32, yellow: 33, blue: 34, cyan: 36 } as const;

export function paint(style: keyof typeof CODES, text: string, enabled = color.out): string {
  return enabled ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}

/** 20,345 bytes as "19.9 KiB". */
export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  return size < 1024 * 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1024 / 1024).toFixed(1)} MiB`;
}
