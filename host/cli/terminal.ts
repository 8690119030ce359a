// Colours where a person looks, plain text elsewhere.

const on = (stream: NodeJS.WriteStream) => stream.isTTY && !process.env.NO_COLOR && process.env.TERM !== "dumb";

export const color = { out: on(process.stdout), err: on(process.stderr) };

const CODES = { bold: 1, dim: 90, red: 31, green: 32, yellow: 33, blue: 34, cyan: 36 } as const;

export function paint(style: keyof typeof CODES, text: string, enabled = color.out): string {
  return enabled ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}

/** 20,345 bytes as "19.9 KiB". */
export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  return size < 1024 * 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1024 / 1024).toFixed(1)} MiB`;
}
