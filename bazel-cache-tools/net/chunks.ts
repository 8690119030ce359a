// The bytes of a stream, one chunk after the other. Unlike a stream's own iterator it gives what had arrived before an error first:
// over a connection that is reset every few seconds, what waits in the buffer is a good part of the progress.
import type { Readable } from "node:stream";

/** Bytes that may wait for the reader. */
const WAITING = 256 * 1024;

/**
 * Reads from now on, whether or not somebody takes the chunks yet; holds the sender back when many wait.
 * The generator ends with the stream, throws its error behind the last chunk, and destroys it when it is left early.
 */
export function chunksOf(stream: Readable): AsyncGenerator<Buffer, void> {
  let waiting: Buffer[] = [];
  let bytes = 0;
  let ended = false;
  let failure: Error | undefined;
  let wake: () => void = () => undefined;
  stream.on("data", (chunk: Buffer) => {
    waiting.push(chunk);
    bytes += chunk.length;
    if (bytes >= WAITING) stream.pause();
    wake();
  });
  stream.on("error", (error) => {
    failure ??= error;
  });
  // Comes last in every case: behind the end, behind an error, or alone.
  stream.on("close", () => {
    ended = true;
    wake();
  });

  async function* read(): AsyncGenerator<Buffer, void> {
    try {
      for (;;) {
        const chunks = waiting;
        waiting = [];
        bytes = 0;
        for (const chunk of chunks) yield chunk;
        if (waiting.length > 0) continue;
        if (ended) break;
        stream.resume();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (failure) throw failure;
    } finally {
      stream.destroy();
    }
  }
  return read();
}
