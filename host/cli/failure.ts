// How a command fails: one line, and exit code 1 (it did not work) or 2 (it was called wrongly).

export class Failure extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2 = 1,
  ) {
    super(message);
  }
}

/** Wrong usage. */
export function usage(message: string): Failure {
  return new Failure(message, 2);
}
