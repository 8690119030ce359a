// Registries' files over the network: small, asked for before anything else is known.
import { readFileSync, rmSync } from "node:fs";
import type { Digest } from "../cache/digest.js";
import { partialDirectory } from "../cache/layout.js";
import { placeFile, sourceOf } from "../cache/store.js";
import type { RegistryFile } from "../declared/registry.js";
import { transfer } from "../net/index.js";
import type { Context } from "./context.js";
import type { FetchOptions } from "./fetch.js";

/** Bazel keeps such files under their checksum alone, where a lockfile says it; so is it done here. */
export async function fetchRegistryFile(
  url: string,
  digest: Digest | undefined,
  context: Pick<Context, "cache">,
  options: FetchOptions,
): Promise<RegistryFile> {
  const { signal, attempts, stallTimeout } = options;
  const settings = { ...(attempts === undefined ? {} : { attempts }), ...(stallTimeout === undefined ? {} : { stallTimeout }) };
  const result = await transfer({ name: url, urls: [url], ...(digest ? { digest } : {}) }, { ...settings, directory: partialDirectory(context.cache), signal });
  if (!result.ok) {
    const [failure] = result.failures;
    if (failure?.kind === "status" && failure.status === 404) return { absent: true };
    signal.throwIfAborted();
    return { unavailable: failure?.message ?? "it could not be fetched" };
  }
  const content = readFileSync(result.file);
  if (digest) {
    const source = await sourceOf(result.file, digest);
    if (source) await placeFile(context.cache, source, [], { move: true });
  } else rmSync(result.file, { force: true });
  return { bytes: content };
}
