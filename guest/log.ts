// Logging to Envoy's `wasm` logger. A message below the logger's level does not cross the border.
import { getLogLevel, log as hostLog } from "./runtime/abi";
import { at, begin, out, putText } from "./runtime/memory";

/** Levels as in proxy-wasm. */
export enum Level {
  Trace = 0,
  Debug = 1,
  Info = 2,
  Warn = 3,
  Error = 4,
  Critical = 5,
}

let threshold: i32 = Level.Info;
let known: bool = false;

/** @internal The level can change at run time (admin /logging), so it is asked again once per entry into the module that logs. */
export function forgetLevel(): void {
  known = false;
}

/** @internal */
export function write(level: Level, message: string): void {
  if (!enabled(level)) return;
  begin();
  const size = putText(message);
  hostLog(level, at(0), size);
}

function enabled(level: Level): bool {
  if (!known) {
    getLogLevel(out);
    threshold = load<i32>(out);
    known = true;
  }
  return <i32>level >= threshold;
}

/**
 * Envoy's log. Messages go to the logger `wasm`: `envoy --component-log-level wasm:debug`, or at run time `POST /logging?wasm=debug` on the admin port.
 * @example
 * log.info("denied " + stream.request.path);
 * if (log.isEnabled(Level.Debug)) log.debug(expensive());
 */
export namespace log {
  export function trace(message: string): void {
    write(Level.Trace, message);
  }
  export function debug(message: string): void {
    write(Level.Debug, message);
  }
  export function info(message: string): void {
    write(Level.Info, message);
  }
  export function warn(message: string): void {
    write(Level.Warn, message);
  }
  export function error(message: string): void {
    write(Level.Error, message);
  }
  export function critical(message: string): void {
    write(Level.Critical, message);
  }
  /** Whether a message of this level would be written: to skip building an expensive one. */
  export function isEnabled(level: Level): bool {
    return enabled(level);
  }
}
