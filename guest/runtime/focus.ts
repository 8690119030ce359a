// Which stream the host calls are about: the one whose callback runs, unless another was chosen. An author can keep a stream and use it in another one's
// callback (a field of the filter is shared between streams); the call must then reach that stream, never the one that happens to run.
import { Status, setEffectiveContext } from "./abi";

let focused: u32 = 0;
let current: u32 = 0;

/** Envoy has begun a callback of this context (or one about it). */
export function entered(id: u32): void {
  current = id;
  focused = id;
}

/** Makes the host calls that follow mean this stream. False where it is gone. */
export function focus(id: u32): bool {
  if (id == focused) return true;
  if (setEffectiveContext(id) != Status.Ok) return false;
  focused = id;
  return true;
}

/**
 * Whether a callback of this stream runs. Only then can it be answered or reset: Envoy 1.40 stops the stream whose callback makes such a call, and if the
 * call is about another stream, nothing resumes the first.
 */
export function isCurrent(id: u32): bool {
  return id == current;
}

/** The stream whose on_log runs; 0 outside of it. */
let logging: u32 = 0;

export function beginLog(id: u32): void {
  logging = id;
}

export function endLog(): void {
  logging = 0;
}

/** Envoy 1.40 shows the headers of a stream once more in its on_log, for reading. */
export function isLogging(id: u32): bool {
  return id != 0 && id == logging;
}
