// Which Authorization a hop of a transfer gets: that of its URL, else that of netrc, and never one meant for another host.
import { lookup, type NetrcEntry } from "./netrc.js";
import { sharesCredentials } from "./redirects.js";

/** Basic authentication (RFC 7617). */
export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

/** A percent-encoded part of a URL; left alone where it is not well-formed. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function ofUserinfo(url: URL): string | undefined {
  return url.username === "" && url.password === "" ? undefined : basic(decoded(url.username), decoded(url.password));
}

/**
 * The Authorization header for the last URL of `trail`; its first is the wanted one. Elsewhere than there only what the hop's own URL carries
 * or a `machine` of its name gives is sent, and nothing at all once https was left.
 */
export function authorizationFor(trail: readonly URL[], netrc: NetrcEntry[]): string | undefined {
  const first = trail[0]!;
  const here = trail.at(-1)!;
  const own = ofUserinfo(here);
  if (own !== undefined) return own;
  const home = sharesCredentials(first, here);
  if (home && ofUserinfo(first) !== undefined) return ofUserinfo(first);
  if (here.protocol === "http:" && trail.some((hop) => hop.protocol === "https:")) return undefined;
  const entry = lookup(netrc, here.hostname, !home);
  return entry && (entry.login !== "" || entry.password !== "") ? basic(entry.login, entry.password) : undefined;
}
