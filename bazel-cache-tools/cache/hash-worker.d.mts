import type { Algorithm } from "./digest.js";
import type { FileIdentity } from "./hashing.js";

export function prepare(algorithms: readonly Algorithm[]): Promise<void>;
export function hashing(
  file: string,
  algorithms: readonly Algorithm[],
): Generator<number, { digests: Partial<Record<Algorithm, string>>; identity: FileIdentity }, void>;
