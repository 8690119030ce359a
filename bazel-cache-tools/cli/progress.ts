// Progress of long work on a terminal; elsewhere nothing, since the results themselves are lines.
import type { MultiBar, SingleBar } from "cli-progress";
import { bytes, color, harmless, paint } from "../../host/cli/terminal.js";

export interface Bar {
  /** Bytes that came since the last call. */
  add(more: number): void;
  total(total: number): void;
  text(text: string): void;
  end(): void;
}

export interface Progress {
  bar(name: string, total: number): Bar;
  /** A line above the bars. */
  log(line: string): void;
  close(): void;
}

const SILENT: Bar = { add: () => {}, total: () => {}, text: () => {}, end: () => {} };

/** Bars on standard error where that is a terminal. `quiet`: none. `log` lines go to standard error in any case. */
export async function openProgress(quiet = false): Promise<Progress> {
  if (quiet || !process.stderr.isTTY || process.env.TERM === "dumb") return { bar: () => SILENT, log: (line) => console.error(line), close: () => {} };
  const { default: cliProgress } = await import("cli-progress");
  const bars: MultiBar = new cliProgress.MultiBar({
    format: (_, { total, value, startTime }, { name, text }: Payload) => (name === "" ? "" : line(name, text, total, value, (Date.now() - startTime) / 1000)),
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
    fps: 8,
    emptyOnZero: true,
    forceRedraw: true,
    gracefulExit: false,
    // Lines above the bars may be longer than the terminal; the bars themselves are kept within it.
    linewrap: true,
  });
  // A bar whose file is done is taken for the next one: lines that come and go leave traces.
  const idle: SingleBar[] = [];
  return {
    bar(name, total) {
      const payload: Payload = { name, text: "" };
      const before = idle.shift();
      before?.start(total, 0, payload);
      const bar: SingleBar = before ?? bars.create(total, 0, payload);
      let value = 0;
      return {
        add: (more) => {
          value += more;
          bar.update(value);
        },
        total: (known) => bar.setTotal(known),
        text: (text) => bar.update({ text }),
        end: () => {
          bar.update({ name: "", text: "" });
          idle.push(bar);
        },
      };
    },
    log: (text) => bars.log(`${harmless(text)}\n`),
    close: () => bars.stop(),
  };
}

interface Payload {
  /** Empty: the bar waits for the next file. */
  name: string;
  text: string;
}

/** What fits into the terminal, the least important part last. */
function line(name: string, text: string, total: number, value: number, seconds: number): string {
  const columns = (process.stderr.columns ?? 80) - 1;
  const part = total > 0 ? Math.min(1, value / total) : 0;
  const percent = total > 0 ? `${Math.floor(part * 100)} %` : "";
  const amount = total > 0 ? `${bytes(value)} of ${bytes(total)}` : bytes(value);
  const rate = seconds > 0.5 && value > 0 ? `${bytes(value / seconds)}/s` : "";
  const left = part > 0 && part < 1 && seconds > 2 ? `${Math.ceil((seconds / part) * (1 - part))} s left` : "";
  let shown = fit(harmless(name), Math.max(12, Math.min(32, columns - 40)));
  for (const word of [percent.padStart(5), amount, text, left, rate]) if (word !== "" && shown.length + 1 + word.length <= columns) shown += ` ${word}`;
  const room = Math.min(24, columns - shown.length - 1);
  if (room < 8 || total === 0) return shown;
  const done = Math.round(part * room);
  return `${shown} ${paint("cyan", `${"█".repeat(done)}${"░".repeat(room - done)}`, color.err)}`;
}

/** Long names differ at their ends more often than in the middle. */
function fit(text: string, width: number): string {
  if (text.length <= width) return text.padEnd(width);
  const end = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - end)}…${text.slice(-end)}`;
}
