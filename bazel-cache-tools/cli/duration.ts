// Spans of time on the command line: "12h", "30d", "2w".
import { InvalidArgumentError } from "commander";

const HOUR = 60 * 60 * 1000;
const UNITS: Record<string, number> = { h: HOUR, d: 24 * HOUR, w: 7 * 24 * HOUR };

/** In ms. */
export function duration(text: string): number {
  const [, number, unit] = /^(\d{1,6}(?:\.\d{1,3})?)([hdw])$/i.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError("Write hours, days or weeks: 12h, 30d, 2w.");
  return Number(number) * UNITS[unit!.toLowerCase()]!;
}
