// A log line as Envoy prints it: "[time][thread][level][logger] [source] text".
import type { EngineLogLine } from "./engine.js";

/** Where envoy 1.40 logs what a guest says, by level. */
const GUEST: Record<string, string> = {
  trace: "source/extensions/common/wasm/context.cc:1145",
  debug: "source/extensions/common/wasm/context.cc:1148",
  info: "source/extensions/common/wasm/context.cc:1151",
  warning: "source/extensions/common/wasm/context.cc:1154",
  error: "source/extensions/common/wasm/context.cc:1157",
  critical: "source/extensions/common/wasm/context.cc:1160",
};

/** `thread`: a number for each thread. */
export function envoyLogLine({ thread, logger, level, text }: EngineLogLine, now = new Date()): string {
  const two = (n: number, digits = 2) => String(n).padStart(digits, "0");
  const date = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}.${two(now.getMilliseconds(), 3)}`;
  const source = logger === "wasm" && text.startsWith("wasm log") ? ` [${GUEST[level] ?? GUEST.info}]` : "";
  return `[${date} ${time}][${thread === "main" ? process.pid : process.pid + 1}][${level}][${logger}]${source} ${text}`;
}
