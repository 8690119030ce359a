// `file:` URLs as paths.
import { fileURLToPath } from "node:url";

/** Undefined for URLs of other schemes, and for those that name no path of this machine. */
export function localPath(url: string): string | undefined {
  if (!url.startsWith("file:")) return undefined;
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}
