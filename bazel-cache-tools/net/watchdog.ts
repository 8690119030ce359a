// One timer for what a connection is expected to do next. It runs only while the other side is awaited.
import { type FailureKind, TransferError } from "./failure.js";

export interface Watchdog {
  /** Within `ms` from now something must come, or `bark` gets a failure of that kind. Replaces what was expected before. */
  expect(ms: number, kind: FailureKind, message: string): void;
  /** Nothing is expected. */
  rest(): void;
}

export function watchdog(bark: (failure: TransferError) => void): Watchdog {
  let timer: NodeJS.Timeout | undefined;
  const rest = () => clearTimeout(timer);
  return {
    expect(ms, kind, message) {
      rest();
      timer = setTimeout(() => bark(new TransferError(kind, message)), ms);
    },
    rest,
  };
}
