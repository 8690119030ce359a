// What goes wrong with a transfer, in one closed list: every error of Node, of HTTP and of the bytes themselves becomes one of these kinds.
import type { Digest } from "../cache/digest.js";

/** Why a URL gave no file. `RETRIES` in retry.ts says what is done about each. */
export type FailureKind =
  | "refused"
  | "unreachable"
  | "connect-timeout"
  | "unknown-host"
  | "tls"
  | "proxy"
  | "status"
  | "truncated"
  | "stalled"
  | "reset"
  | "not-http"
  | "wrong-digest"
  | "empty"
  | "html"
  | "redirects"
  | "invalid-url"
  | "missing-file"
  | "disk"
  | "aborted"
  | "other";

export interface TransferFailure {
  /** The URL as it was wanted, without user name and password. */
  url: string;
  kind: FailureKind;
  /** One line: what happened, where, and what to do. Holds no secrets. */
  message: string;
  /** HTTP status, where the server gave one. */
  status?: number;
  /** Bytes that are there, resumed ones included. */
  received?: number;
  /** Bytes the server announced. */
  expected?: number;
  /** Digest of the bytes that came, where they were not the wanted ones. */
  actual?: Digest;
  /** Path of the bad file, where `keepBad` asked for it. */
  kept?: string;
}

export interface FailureDetails {
  status?: number;
  received?: number;
  expected?: number;
  actual?: Digest;
  kept?: string;
  /** What the server asked for in Retry-After, ms. */
  retryAfter?: number;
  /** A name server that could not answer may answer in a moment; one that says "no such host" hardly will. */
  temporary?: boolean;
  /** Blamed on what was there before and not on the URL: the next try does not count. */
  free?: boolean;
}

/** The one error inside this room. Its message is the "what"; where and what to do are added when it is reported. */
export class TransferError extends Error {
  readonly kind: FailureKind;
  readonly details: FailureDetails;

  constructor(kind: FailureKind, message: string, details: FailureDetails = {}) {
    super(message);
    this.kind = kind;
    this.details = details;
  }
}

/** Codes of Node's system, DNS and TLS errors. What is not here is looked up by prefix below. */
const CODES: Record<string, [FailureKind, string]> = {
  ECONNREFUSED: ["refused", "connection refused"],
  ENOTFOUND: ["unknown-host", "no such host"],
  EAI_AGAIN: ["unknown-host", "the name server does not answer"],
  ECONNRESET: ["reset", "connection reset"],
  ECONNABORTED: ["reset", "connection aborted"],
  EPIPE: ["reset", "connection closed"],
  ETIMEDOUT: ["connect-timeout", "connection timed out"],
  EHOSTUNREACH: ["unreachable", "no route to host"],
  ENETUNREACH: ["unreachable", "network unreachable"],
  EHOSTDOWN: ["unreachable", "host is down"],
  ENETDOWN: ["unreachable", "network is down"],
  EADDRNOTAVAIL: ["unreachable", "no address to connect from"],
  EPROTO: ["tls", "TLS handshake failed"],
  DEPTH_ZERO_SELF_SIGNED_CERT: ["tls", "self-signed certificate"],
  SELF_SIGNED_CERT_IN_CHAIN: ["tls", "self-signed certificate in the chain"],
  UNABLE_TO_GET_ISSUER_CERT: ["tls", "issuer of the certificate is unknown"],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ["tls", "issuer of the certificate is unknown"],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ["tls", "certificate cannot be verified"],
  HOSTNAME_MISMATCH: ["tls", "certificate is for another host"],
};

const PREFIXES: [string, FailureKind, string][] = [
  ["HPE_", "not-http", "the answer is not HTTP"],
  ["ERR_TLS_", "tls", "TLS failed"],
  ["ERR_SSL_", "tls", "TLS failed"],
  ["CERT_", "tls", "certificate refused"],
  ["CRL_", "tls", "certificate refused"],
];

export function codeOf(error: unknown): string {
  if (!(error instanceof Error) || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

/** An error of a socket, of TLS or of Node's HTTP parser, as a failure. */
export function networkFailure(error: unknown): TransferError {
  if (error instanceof TransferError) return error;
  const code = codeOf(error);
  const text = error instanceof Error ? error.message : String(error);
  const temporary = code === "EAI_AGAIN";
  const known = CODES[code];
  if (known) return new TransferError(known[0], known[1], { temporary });
  const prefix = PREFIXES.find(([start]) => code.startsWith(start));
  // OpenSSL's message runs over several parts and ends with a line break.
  if (prefix) return new TransferError(prefix[1], `${prefix[2]} (${text.trim().replace(/\s+/g, " ")})`);
  return new TransferError("other", text.trim().replace(/\s+/g, " ") || code || "unknown error");
}

const DISK: Record<string, string> = {
  ENOSPC: "no space left",
  EDQUOT: "quota exceeded",
  EROFS: "read-only file system",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EIO: "input/output error",
  EFBIG: "file too large for this file system",
  ENOTDIR: "a part of the path is no directory",
  EEXIST: "a file stands where a directory should be",
};

/** An error of the file system under `path`, as a failure after which nothing else is tried. */
export function diskFailure(error: unknown, path: string): TransferError {
  if (error instanceof TransferError) return error;
  const code = codeOf(error);
  return new TransferError(
    "disk",
    `cannot write ${path}: ${DISK[code] ?? (error instanceof Error ? error.message : String(error))}${code ? ` (${code})` : ""}`,
  );
}

/** What the user can do about it, said at the end of the line. */
const ADVICE: Partial<Record<FailureKind, string>> = {
  refused: "is a proxy needed (https_proxy)?",
  unreachable: "is the network up?",
  "connect-timeout": "is a proxy needed (https_proxy)?",
  "unknown-host": "check the name, the network and the proxy settings",
  tls: "a proxy that opens TLS? Put its certificate into SSL_CERT_FILE or NODE_EXTRA_CA_CERTS",
  truncated: "run again, or fetch it with a browser and add the file",
  stalled: "run again to resume",
  reset: "run again to resume",
  "not-http": "a proxy or a login page in between?",
  empty: "a proxy or a login page in between?",
  html: "a login page, or a link that moved? Open the URL in a browser",
  "wrong-digest": "the file changed upstream or on the way: compare with another mirror before you trust it",
  disk: "make room or choose another directory, then run again",
};

const STATUS_ADVICE: Record<number, string> = {
  401: "put credentials into ~/.netrc",
  403: "credentials missing, or too many requests",
  404: "the file is not there (any more): is there a mirror?",
  407: "put user:password@ into the proxy's URL",
  410: "the file is not there (any more): is there a mirror?",
  429: "too many requests: run again later",
};

function adviceFor({ kind, message, details }: TransferError): string | undefined {
  const advice = (details.status === undefined ? undefined : STATUS_ADVICE[details.status]) ?? ADVICE[kind];
  // Nobody behind a proxy needs to be asked for one.
  return message.includes("through the proxy") && advice?.startsWith("is a proxy") ? "is the proxy right, and up?" : advice;
}

/** A URL fit for messages: neither user nor password. What is no URL is given as it stands, up to its first 200 characters. */
export function withoutSecrets(url: string): string {
  if (!URL.canParse(url)) return url.slice(0, 200).replace(/\/\/[^/@\s]*@/, "//");
  const parsed = new URL(url);
  parsed.username = "";
  parsed.password = "";
  return parsed.href;
}

/** The report of a failure: one line with the URL, what happened, how often it was tried and what to do. */
export function report(url: string, failure: TransferError, tries: number): TransferFailure {
  const { status, received, expected, actual, kept } = failure.details;
  const shown = withoutSecrets(url);
  const advice = adviceFor(failure);
  const parts = [`${shown}: ${failure.message}`, tries > 1 ? `, ${tries} tries` : "", kept ? `, kept as ${kept}` : "", advice ? `; ${advice}` : ""];
  return {
    url: shown,
    kind: failure.kind,
    message: parts.join("").replace(/[\r\n]+/g, " "),
    ...(status === undefined ? {} : { status }),
    ...(received === undefined ? {} : { received }),
    ...(expected === undefined ? {} : { expected }),
    ...(actual === undefined ? {} : { actual }),
    ...(kept === undefined ? {} : { kept }),
  };
}
