// What ends a serving command from outside: Ctrl-C, a plain kill, a closed terminal, or a reader of our output that went away.

export interface Interruption {
  /** Resolves when the user wants an end. */
  promise: Promise<"interrupted">;
  /** Whether it came already: Ctrl-C in a terminal reaches Envoy too, and its end may be seen first. */
  came(): boolean;
  /** The same for what takes a signal. */
  signal: AbortSignal;
}

/** From now on signals no longer kill the process: whoever calls this ends by itself when the promise resolves. */
export function interruption(): Interruption {
  const controller = new AbortController();
  const promise = new Promise<"interrupted">((resolve) => {
    const end = () => {
      controller.abort();
      resolve("interrupted");
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end);
    for (const stream of [process.stdout, process.stderr]) stream.on("error", end);
  });
  return { promise, came: () => controller.signal.aborted, signal: controller.signal };
}
