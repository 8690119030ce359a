// One stream's bug stays one stream's bug. Everything an author wrote runs inside a guard; the compiler's isolation pass turns each guard's
// body into a wasm try/catch, `raise` and every `unreachable` into a throw, and checks divisions, loop turns and recursion.
import { getTime } from "./abi";
import { decimal, out, resetReceive } from "./memory";

/** Why the guarded code stopped; the isolation pass writes it where the reason is not a message. Same numbers in host/compiler/passes/isolation.ts. */
export namespace FaultKind {
  export const Message: i32 = 0;
  export const DivisionByZero: i32 = 1;
  export const DivisionOverflow: i32 = 2;
  export const Budget: i32 = 3;
  export const Recursion: i32 = 4;
  export const Memory: i32 = 5;
  export const Unreachable: i32 = 6;
}

// Written by the isolation pass (it finds them by name), read here.
/** Where in the author's files the code is: file << 26 | line << 10 | column. */
export let site: u32 = 0;
export let faultKind: i32 = 0;
/** Loop turns and calls left in this resume. */
export let budget: i32 = 0x7fffffff;
/** Turns and calls each resume may take; the compiler's `--budget`. */
export let budgetLimit: i32 = 10_000_000;
/** Estimated bytes of native stack used by recursion. */
export let depth: i32 = 0;
export function setDepth(bytes: i32): void {
  depth = bytes;
}

let faultMessage: string | null = null;

/** What AssemblyScript calls for `throw`, bounds, null and casts (`--use abort`). The place comes from `site`: the isolation pass drops the
 * other arguments, which name lines of the standard library. Allocates nothing: memory may have run out. */
export function abort(message: string | null, fileName: string | null, line: u32, column: u32): void {
  faultKind = FaultKind.Message;
  faultMessage = message;
  raise();
}

/** Ends the guarded code. The isolation pass replaces this body by a throw. */
export function raise(): void {
  unreachable();
}

/** Starts guarded code: a fresh budget. */
export function arm(): void {
  budget = budgetLimit;
  faultKind = FaultKind.Unreachable;
  faultMessage = null;
  site = 0;
}

/** Work of the runtime itself must not be stopped by what the author's code left of the budget. */
export function disarm(): void {
  budget = i32.MAX_VALUE;
}

/** After a guard returned 0: one line that says what happened and where. */
export function describeFault(files: StaticArray<string>): string {
  resetReceive();
  depth = 0;
  disarm();
  const text = reason();
  faultMessage = null;
  const place = site;
  const file = <i32>(place >> 26);
  if (place == 0 || file >= files.length) return text;
  return text + " (" + files[file] + ":" + decimal((place >> 10) & 0xffff) + ":" + decimal(place & 0x3ff) + ")";
}

function reason(): string {
  switch (faultKind) {
    case FaultKind.Message: {
      const message = faultMessage;
      if (message === null || message.length == 0) return "error without a message";
      return message;
    }
    case FaultKind.DivisionByZero:
      return "integer division by zero";
    case FaultKind.DivisionOverflow:
      return "integer division overflows";
    case FaultKind.Budget:
      return "too many loop turns or calls in one go (" + decimal(budgetLimit) + ", build --budget): an endless loop?";
    case FaultKind.Recursion:
      return "recursion is too deep";
    case FaultKind.Memory:
      return "out of memory (build --memory)";
    default:
      return "unreachable code was reached";
  }
}

/** Whether the last fault was that memory ran out: then the whole heap is collected before anything else. */
export function outOfMemory(): bool {
  return faultKind == FaultKind.Memory;
}

/** Seed of `Math.random` (`--use seed`): the time, which differs between the workers' VMs. */
export function seed(): f64 {
  getTime(out);
  return reinterpret<f64>(load<u64>(out));
}
