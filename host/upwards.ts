// Looking for something in a directory and those above it.
import path from "node:path";

/** What `look` finds first on the way from a directory to the root. */
export function upwards<T>(from: string, look: (directory: string) => T | undefined): T | undefined {
  for (let directory = from; ; directory = path.dirname(directory)) {
    const found = look(directory);
    if (found !== undefined || directory === path.dirname(directory)) return found;
  }
}
