// What a request asks for. A downloader rewrite puts the original URL without its scheme behind the server's address, and proxies on the way may spell it otherwise.
import { type Digest, isAlgorithm } from "../cache/digest.js";
import { FILE, isEntryName, parseEntryPath } from "../cache/layout.js";

export interface Asked {
  /** By its digest: "/content_addressable/sha256/<hex>/file" or "/sha256/<hex>". */
  digest?: Digest;
  /** URLs without scheme that may be meant, as the request spells it first. */
  spellings: string[];
}

/** `target`: as it stands in the request line; Node takes ASCII only. Undefined for what is no path. */
export function parseTarget(target: string): Asked | undefined {
  if (!target.startsWith("/")) return undefined;
  const rest = target.slice(1);
  const path = rest.replace(/\?.*$/s, "");
  const [algorithm = "", hex = "", ...more] = path.split("/");
  const short = more.length === 0 && isAlgorithm(algorithm) && isEntryName(hex, algorithm) ? { algorithm, hex } : undefined;
  const entry = parseEntryPath(path);
  const digest = entry?.name === FILE ? entry.digest : short;
  return { ...(digest ? { digest } : {}), spellings: spellingsOf(rest) };
}

/** As it stands, and with its percent signs resolved. The result is compared only, it is never a path. */
export function spellingsOf(text: string): string[] {
  return [...new Set([text, decoded(text)])];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A declared URL as requests name it: without scheme and fragment. Undefined for what no HTTP server is asked for. */
export function withoutScheme(url: string): string | undefined {
  return /^https?:\/\/([^#]*)/is.exec(url)?.[1];
}
