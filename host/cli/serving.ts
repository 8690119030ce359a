// What `run` and the demonstration share: a port that is really ours, and Envoy's output as people want to read it.
import { guestText, type LogLine } from "../envoy/log.js";
import { Failure } from "./failure.js";
import { paint } from "./terminal.js";

export const ACCESS_LOG = "%RESPONSE_CODE%\t%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\t%RESPONSE_CODE_DETAILS%\t%DURATION% ms";

/** envoy 1.40: with its default (SO_REUSEPORT) two Envoys of one user share a port, and each gets some of the connections. */
export const OWN_PORT = { enable_reuse_port: false };

/** Adds what to do where Envoy only says what is wrong. */
export function explained(error: unknown): Error {
  const found = error instanceof Error ? error : new Error(String(error));
  return /Address already in use/.test(found.message) ? new Failure(`${found.message}; choose another port with --port`) : found;
}

const STYLES: Record<string, "dim" | "blue" | "yellow" | "red"> = {
  trace: "dim",
  debug: "dim",
  info: "blue",
  warning: "yellow",
  error: "red",
  critical: "red",
};

/** Guest lines without Envoy's prefix; of Envoy itself only what went wrong. */
export function showLog(line: LogLine): void {
  const guest = guestText(line.text);
  if (guest === undefined && line.level !== "error" && line.level !== "critical") return;
  console.log(`${paint(STYLES[line.level] ?? "dim", line.level.padEnd(7))}  ${guest ?? line.text}`);
}

/** A line in ACCESS_LOG's format. */
export function showAccess(line: string): void {
  const [status = "", request, details, duration] = line.split("\t");
  const style = status >= "500" || status === "0" ? "red" : status >= "400" ? "yellow" : "green";
  console.log(`${paint(style, status.padEnd(7))}  ${request}  ${paint("dim", `${duration}${details === "via_upstream" ? "" : `, ${details}`}`)}`);
}
