// Envoy's log: one line apart from the next, the wasm logger told from the others, and Envoy's own reason when it refuses or dies.

export interface LogLine {
  level: string;
  logger: string;
  text: string;
}

/** For --log-format: what readLog takes apart. */
export const LOG_FORMAT = "\u0001%l\u0001%n\u0001%v";

/** Reads a log written in LOG_FORMAT as it comes. */
export function readLog(stream: NodeJS.ReadableStream, reasons: Reasons, onLine: (line: LogLine) => void): void {
  splitLines(stream, (line) => {
    if (!line.startsWith("\u0001")) {
      // A message with line breaks in it goes on here.
      reasons.more(line);
      return;
    }
    const [, level = "", logger = "", text = ""] = line.split("\u0001");
    reasons.add(level, text);
    onLine({ level, logger, text });
  });
}

/** What a filter said, without Envoy's prefix; undefined where the line is Envoy's own. */
export function guestText(text: string): string | undefined {
  return /^wasm log[^:]*: (.*)$/s.exec(text)?.[1];
}

/** Envoy's own words for why it ends: the last critical line, or while it starts the last error; and what a filter said when it is a filter that failed. */
export class Reasons {
  private lines: { level: string; text: string }[] = [];
  private started = false;

  add(level: string, text: string): void {
    if (level !== "error" && level !== "critical") return;
    this.lines.push({ level, text });
    if (this.lines.length > 20) this.lines.shift();
  }

  more(text: string): void {
    const last = this.lines.at(-1);
    if (last && text.trim() && last.text.length < 2000) last.text += ` ${text.trim()}`;
  }

  /** From now on errors are no reason to end: requests have them. */
  start(): void {
    this.started = true;
    this.lines = [];
  }

  best(code: number | null, signal: string | null): string {
    const end = signal ? `killed by ${signal}` : `exit code ${code}`;
    const isGuest = (line: { text: string }) => line.text.startsWith("wasm log");
    const critical = this.lines.findLast((line) => line.level === "critical" && !line.text.startsWith("Caught") && !isGuest(line));
    const own = critical ?? (this.started ? undefined : this.lines.findLast((line) => !isGuest(line)));
    if (!own) return end;
    const guest = /wasm|plugin/i.test(own.text) ? this.lines.findLast(isGuest) : undefined;
    const reason = guest ? `${guestText(guest.text) ?? guest.text} (${withoutFrame(own.text)})` : withoutFrame(own.text);
    return signal ? `${reason} (${end})` : reason;
  }
}

/** envoy 1.40 wraps a reason in the name of the file, twice even: "error `REASON` initializing config '… FILE' REASON". */
function withoutFrame(text: string): string {
  return /^error `([^`]+)` initializing config /.exec(text)?.[1] ?? text.replace(/^error initializing config(?:uration)? '[^']*':? /, "");
}

export function splitLines(stream: NodeJS.ReadableStream, handle: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) handle(line);
  });
  stream.on("end", () => {
    if (rest) handle(rest);
  });
}
