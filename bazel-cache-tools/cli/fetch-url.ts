// One URL that the user gave, downloaded to a file beside the cache.
import { Failure } from "../../host/cli/failure.js";
import { bytes } from "../../host/cli/terminal.js";
import type { Digest } from "../cache/digest.js";
import { partialDirectory } from "../cache/layout.js";
import { transfer } from "../net/index.js";
import type { Context } from "./context.js";
import { withDigests } from "./fetch.js";
import type { Progress } from "./progress.js";

/** The path of the complete file. Throws a Failure that says why it could not be had. */
export async function fetchUrl(
  wanted: { url: string; digest?: Digest },
  { cache }: Pick<Context, "cache">,
  signal: AbortSignal,
  progress: Progress,
): Promise<string> {
  const bar = progress.bar(wanted.url.split("/").at(-1) || wanted.url, 0);
  let before = 0;
  try {
    const result = await transfer(
      { name: wanted.url, urls: [wanted.url], ...(wanted.digest ? { digest: wanted.digest } : {}) },
      {
        directory: partialDirectory(cache),
        signal,
        progress: (event) => {
          if ("total" in event && event.total !== undefined) bar.total(event.total);
          if (event.type === "resumed") progress.log(`${wanted.url}: resumed at ${bytes(event.from)}`);
          if (event.type === "bytes") {
            bar.add(event.received - before);
            before = event.received;
          }
        },
      },
    );
    if (result.ok) return result.file;
    signal.throwIfAborted();
    const [failure] = result.failures;
    throw new Failure(failure ? withDigests(failure, wanted.digest) : `${wanted.url} could not be fetched`);
  } finally {
    bar.end();
  }
}
