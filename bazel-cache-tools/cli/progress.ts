// Progress of long work on a terminal; elsewhere nothing, since the results themselves are lines.
import type { MultiBar, SingleBar } from "cli-progress";
import { bytes, color, paint } from "../../host/cli/terminal.js";

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
    format: (options, params, payload: { name: string; text: string }) => {
      const part = params.total > 0 ? Math.min(1, params.value / params.total) : 0;
      const width = Math.max(8, Math.min(28, (process.stderr.columns ?? 80) - 62));
      const done = Math.round(part * width);
      const line = options.barCompleteChar ? `${"█".repeat(done)}${"░".repeat(width - done)}` : "";
      const amount = params.total > 0 ? `${bytes(params.value)} of ${bytes(params.total)}` : bytes(params.value);
      const seconds = (Date.now() - params.startTime) / 1000;
      const rate = seconds > 0.5 ? `${bytes(params.value / seconds)}/s` : "";
      const left = part > 0 && part < 1 && seconds > 2 ? ` ${Math.ceil((seconds / part) * (1 - part))} s left` : "";
      return `${fit(payload.name, 24)} ${paint("cyan", line, color.err)} ${amount} ${rate}${left} ${payload.text}`;
    },
    barCompleteChar: "█",
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
    fps: 8,
    emptyOnZero: true,
    forceRedraw: true,
    gracefulExit: false,
  });
  return {
    bar(name, total) {
      const bar: SingleBar = bars.create(total, 0, { name, text: "" });
      let value = 0;
      return {
        add: (more) => {
          value += more;
          bar.update(value);
        },
        total: (known) => bar.setTotal(known),
        text: (text) => bar.update({ text }),
        end: () => {
          bar.stop();
          bars.remove(bar);
        },
      };
    },
    log: (line) => bars.log(`${line}\n`),
    close: () => bars.stop(),
  };
}

function fit(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);
}
