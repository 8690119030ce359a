import type { Algorithm } from "./digest.js";
import type { FileIdentity } from "./hashing.js";

export function hashFile(
  file: string,
  algorithms: readonly Algorithm[],
  progress?: (bytes: number) => void,
): { digests: Partial<Record<Algorithm, string>>; identity: FileIdentity };
