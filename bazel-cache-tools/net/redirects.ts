// Where a redirect leads, and when it is not followed.
import { TransferError } from "./failure.js";

/** As many as Bazel follows (bazel 7.7: HttpConnector, MAX_REDIRECTS). */
export const MAX_REDIRECTS = 40;

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

/** A hop fit for messages: signed URLs carry their secret in the query. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}${url.search === "" ? "" : "?…"}`;
}

/**
 * The next hop behind `trail`, whose last URL answered with `location` (RFC 9110 §15.4, relative to that URL).
 * @param verified the bytes are checked by a digest, so a hop from https to http can harm nobody.
 * @throws TransferError "redirects" for circles, chains of more than 40, unknown schemes and http behind https.
 */
export function nextHop(trail: readonly URL[], location: string | undefined, verified: boolean): URL {
  const from = trail.at(-1)!;
  if (location === undefined || !URL.canParse(location, from)) throw new TransferError("redirects", `${shown(from)} redirects to nowhere`);
  const to = new URL(location, from);
  to.hash = "";
  if (to.protocol !== "http:" && to.protocol !== "https:") throw new TransferError("redirects", `${shown(from)} redirects to a ${to.protocol} URL`);
  const before = trail.findIndex((hop) => hop.href === to.href);
  if (before >= 0) {
    const circle = trail.slice(before).map(shown);
    throw new TransferError("redirects", `redirects go in a circle: ${[...circle.slice(0, 4), ...(circle.length > 4 ? ["…"] : []), shown(to)].join(" → ")}`);
  }
  if (trail.length > MAX_REDIRECTS) throw new TransferError("redirects", `more than ${MAX_REDIRECTS} redirects, the last to ${shown(to)}`);
  if (from.protocol === "https:" && to.protocol === "http:" && !verified) {
    throw new TransferError("redirects", `${shown(from)} redirects to plain http (${shown(to)}), which nothing protects without a digest; declare one`);
  }
  return to;
}

/** Whether `to` may see what was meant for `from`: the same host and port, and no step down to plain http. */
export function sharesCredentials(from: URL, to: URL): boolean {
  return (
    from.hostname === to.hostname && (from.protocol === to.protocol ? from.port === to.port : to.protocol === "https:" && from.port === "" && to.port === "")
  );
}
