// Which proxy stands before a URL, by the environment variables that curl, Go and Bazel read.
import { BlockList, isIP } from "node:net";
import { decoded } from "./credentials.js";
import { TransferError } from "./failure.js";

export type Env = Record<string, string | undefined>;

/** Default ports of what can stand in front of a proxy's host. */
const PROXY_PORTS: Record<string, number> = { "http:": 80, "https:": 443, "socks:": 1080, "socks5:": 1080, "socks5h:": 1080 };

const TARGET_PORTS: Record<string, number> = { "http:": 80, "https:": 443 };

export interface ForwardProxy {
  scheme: "http" | "https" | "socks";
  /** Without brackets, as sockets take it. */
  host: string;
  port: number;
  /** Percent-decoded. Never shown. */
  user: string;
  password: string;
  /** "host:port", for messages. */
  shown: string;
}

/**
 * The proxy of a URL, or undefined for a direct connection. Lower case wins; `HTTP_PROXY` counts for nothing inside a CGI,
 * where a request's `Proxy` header sets it (httpoxy, CVE-2016-5385).
 * @throws TransferError "proxy" where the variable holds no URL of a known scheme.
 */
export function proxyFor(url: URL, env: Env): ForwardProxy | undefined {
  const upper = url.protocol === "https:" ? env.HTTPS_PROXY : env.REQUEST_METHOD === undefined ? env.HTTP_PROXY : undefined;
  const named = (url.protocol === "https:" ? env.https_proxy : env.http_proxy) ?? upper;
  const text = (named ?? env.all_proxy ?? env.ALL_PROXY ?? "").trim();
  // An empty variable switches the proxy off, as with curl.
  if (text === "" || isExempt(url, env.no_proxy ?? env.NO_PROXY ?? "")) return undefined;
  return parseProxy(text);
}

export function parseProxy(text: string): ForwardProxy {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  const port = url && PROXY_PORTS[url.protocol];
  if (!url || port === undefined || url.hostname === "") {
    throw new TransferError(
      "proxy",
      `the proxy setting ${text.replace(/^.*@/, "…@")} is no URL of an http, https or socks5 proxy; correct http_proxy, https_proxy or all_proxy`,
    );
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return {
    scheme: url.protocol === "https:" ? "https" : url.protocol === "http:" ? "http" : "socks",
    host,
    port: url.port === "" ? port : Number(url.port),
    user: decoded(url.username),
    password: decoded(url.password),
    shown: `${url.hostname}:${url.port || port}`,
  };
}

/**
 * Whether NO_PROXY names the host: `*`, a host (which covers its subdomains, with or without a leading dot or `*.`), `host:port`,
 * an address, or a range of addresses (`10.0.0.0/8`), apart by commas or blanks.
 */
export function isExempt(url: URL, list: string): boolean {
  const host = url.hostname
    .replace(/^\[|\]$/g, "")
    .replace(/\.$/, "")
    .toLowerCase();
  const port = url.port || String(TARGET_PORTS[url.protocol] ?? "");
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => covers(entry, host, port));
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  if (entry.includes("/")) return inRange(entry, host);
  // Of an address of IPv6 the last colon is no port unless there are brackets.
  const [, bracketed, plain, wantedPort] = /^(?:\[([^\]]*)\]|([^:]*|.*:.*:.*?))(?::(\d+))?$/.exec(entry) ?? [];
  if (isIP(entry) === 0 && wantedPort !== undefined && wantedPort !== port) return false;
  const name = isIP(entry) ? entry : (bracketed ?? plain ?? entry).replace(/^\*?\./, "").replace(/\.$/, "");
  if (name === "") return false;
  if (isIP(host)) return host === name;
  return host === name || host.endsWith(`.${name}`);
}

function inRange(entry: string, host: string): boolean {
  const [network = "", bits = ""] = entry.split("/");
  const family = isIP(host);
  if (family === 0 || isIP(network) !== family || !/^\d+$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) return false;
  const range = new BlockList();
  const type = family === 4 ? "ipv4" : "ipv6";
  range.addSubnet(network, Number(bits), type);
  return range.check(host, type);
}
