// A failed build's output, read for the downloads that it died of: the messages of bazel 0.2x to 9, each recorded from a real one (test/recorded/logs).
import { type Digest, parseDigest } from "../cache/digest.js";

export type Cause =
  | "checksum"
  | "truncated"
  | "refused"
  | "unknown-host"
  | "status"
  | "timeout"
  | "reset"
  | "interrupted"
  | "tls"
  | "redirect"
  | "disabled"
  | "not-in-registry"
  | "no-url"
  | "bad-checksum-declared"
  | "other";

export interface FailedDownload {
  /** The repository's name as Bazel has it, where the message tells. */
  repository?: string;
  /** In Bazel's order: what the marker is made of, unless a downloader configuration rewrites URLs. Empty where the message has none. */
  urls: string[];
  wanted?: Digest;
  actual?: Digest;
  cause: Cause;
  /** Bazel's own words. */
  reason: string;
}

/** First match decides. */
const CAUSES: [RegExp, Cause][] = [
  [/Checksum was /, "checksum"],
  [/Premature EOF|Bytes read \d+ but wanted|Tried to reconnect at offset|Unexpected end of (file|ZLIB)/i, "truncated"],
  [/Unknown host|UnknownHostException|unresolved address/i, "unknown-host"],
  [/Connection refused|No route to host|Network is unreachable/i, "refused"],
  [/(GET|HEAD) returned \d{3}/, "status"],
  [/timed out|timeout/i, "timeout"],
  [/Connection reset|Broken pipe|Connection closed|Unexpected end of stream|SocketException/i, "reset"],
  [/thread interrupted/, "interrupted"],
  [/SSL|TLS|PKIX|certificate|handshake/i, "tls"],
  [/Redirect loop|Too many redirects|Missing Location/i, "redirect"],
  [/download(ing)? is disabled|downloads? (are|is) disabled/i, "disabled"],
  [/not found in regist/, "not-in-registry"],
  [/No URLs left after removing plain http|no url specified/i, "no-url"],
  [/Invalid SRI|Invalid (SHA|sha|checksum|integrity)|not a valid (checksum|integrity|sha)/, "bad-checksum-declared"],
];

/** SHA-256 of nothing: the server sent no byte. */
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins every terminal sequence.
const TERMINAL = /\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(\u0007|\u001b\\)/g;

interface Shape {
  pattern: { exec(line: string): RegExpExecArray | string[] | null };
  /** What the message tells of, or nothing where its reason is no download's. */
  read(found: readonly string[]): Omit<FailedDownload, "cause" | "reason"> & { reason: string };
  /** Only with these causes; others are said by a line of another shape, too. */
  only?: Cause[];
}

/** The messages, each in one line. The first that fits is taken. */
const SHAPES: Shape[] = [
  {
    pattern: { exec: splitDownloading },
    read: ([, list, target, reason]) => ({ urls: splitUrls(list!), ...repositoryOf(target!), reason: reason! }),
  },
  // Where downloads are switched off, the repository's name is all that is said: "repo v8" (bazel 4.2), "repository @@v8" (7.7).
  { pattern: /Failed to download repo(?:sitory)? @*(\S+): (.*)$/, read: ([, repository, reason]) => ({ urls: [], repository: repository!, reason: reason! }) },
  { pattern: /Failed to fetch registry file (\S+): (.*)$/, read: ([, url, reason]) => ({ urls: [url!], reason: reason! }) },
  // The lines below "module x@1 not found in registries:".
  { pattern: /^\* (\S+\/MODULE\.bazel): (not found)\b/, read: ([, url]) => ({ urls: [url!], reason: "not found in registries" }) },
  { pattern: /(Module \S+ source\.json not found in registry \S+)$/, read: ([, reason]) => ({ urls: [], reason: reason! }) },
  {
    pattern: /no such package '@*([^/']+)\/\/[^']*': (?:\S*Exception: )?(.*)$/,
    read: ([, repository, reason]) => ({ urls: [], repository: repository!, reason: reason! }),
    only: ["interrupted", "no-url", "bad-checksum-declared"],
  },
];

/** "Error downloading [URLS] to PATH: REASON". URLs may hold brackets, and a hostile line a thousand beginnings: searched by hand, in one pass. */
function splitDownloading(line: string): string[] | null {
  const begin = line.lastIndexOf(DOWNLOADING);
  if (begin < 0) return null;
  const list = begin + DOWNLOADING.length;
  const end = line.lastIndexOf("] to ");
  const colon = end < list ? -1 : line.indexOf(": ", end);
  return colon < 0 ? null : [line, line.slice(list, end), line.slice(end + "] to ".length, colon), line.slice(colon + 2)];
}

const DOWNLOADING = "Error downloading [";

const WARNING = /Download from (\S+) failed: (?:class \S+ )?(.*)$/;

/** What is behind is no message of Bazel's. */
export const LONGEST_LINE = 1024 * 1024;

/** Bazel 7.7 itself dies of a download that stalls, some lines before it says why. */
const CRASH = /Unrecoverable error while evaluating node 'REPOSITORY_DIRECTORY:@*([^']+)'/;

/** Reads a log line by line; a line may be repeated, coloured and redrawn as often as Bazel likes. */
export class LogReader {
  private readonly failed = new Map<string, FailedDownload>();
  /** What became of single URLs: only the last one's reason is in the message for the whole list. */
  private readonly warned = new Map<string, Omit<FailedDownload, "urls">>();
  private crashed: string | undefined;
  /** `--output_user_root` of the build, from the paths that it prints: <root>/<md5 of the workspace>/external/…. */
  outputUserRoot: string | undefined;

  line(raw: string): void {
    // A line that was redrawn holds several, separated by carriage returns.
    for (const part of raw.slice(0, LONGEST_LINE).replace(TERMINAL, "").split("\r")) this.part(part);
  }

  private part(line: string): void {
    this.outputUserRoot ??= /(?:^|[\s"'(])((?:[A-Za-z]:)?\/[^\s"']*)\/[0-9a-f]{32}\/external\//.exec(line)?.[1];
    const warning = WARNING.exec(line);
    if (warning) {
      this.warned.set(warning[1]!, explain(warning[2]!));
      return;
    }
    for (const { pattern, read, only } of SHAPES) {
      const found = pattern.exec(line);
      if (!found) continue;
      const { reason, ...rest } = read(found);
      const explained = explain(reason);
      if (!only || only.includes(explained.cause)) this.add({ ...rest, ...explained });
      return;
    }
    this.crashed = CRASH.exec(line)?.[1] ?? this.crashed;
    if (this.crashed !== undefined && /timed out/.test(line)) {
      this.add({ urls: [], repository: this.crashed, ...explain(line.replace(/^.*Exception: /, "")) });
      this.crashed = undefined;
    }
  }

  private add(download: FailedDownload): void {
    const key = download.urls.join(" ") || `@${download.repository}`;
    const before = this.failed.get(key);
    if (before === undefined) this.failed.set(key, download);
    else if (before.wanted === undefined && download.wanted !== undefined) this.failed.set(key, { ...before, ...download });
    else if (before.repository === undefined && download.repository !== undefined) before.repository = download.repository;
  }

  /** What the build died of, each once, in the log's order. */
  downloads(): FailedDownload[] {
    return [...this.failed.values()].map((download) => {
      if (download.wanted !== undefined) return download;
      const said = download.urls.map((url) => this.warned.get(url)).find((w) => w?.wanted);
      return said?.wanted ? { ...download, wanted: said.wanted, ...(said.actual ? { actual: said.actual } : {}) } : download;
    });
  }

  /** URLs that failed while another one of their list did not: the build went on. */
  get warnings(): number {
    const known = new Set([...this.failed.values()].flatMap((d) => d.urls));
    return [...this.warned.keys()].filter((url) => !known.has(url)).length;
  }
}

export function parseLog(text: string): FailedDownload[] {
  const reader = new LogReader();
  for (const line of text.split("\n")) reader.line(line);
  return reader.downloads();
}

/** IPv6 hosts have brackets and URLs may have commas: a new one begins with its scheme. */
function splitUrls(list: string): string[] {
  return list.split(/, (?=[a-z][a-z0-9+.-]*:)/i);
}

/** "<output_base>/external/<repository>/…" */
function repositoryOf(target: string): { repository?: string } {
  const repository = /[\\/]external[\\/]([^\\/]+)[\\/]/.exec(target)?.[1];
  return repository === undefined ? {} : { repository };
}

function explain(reason: string): Omit<FailedDownload, "urls" | "repository"> {
  const [, was, but] = /Checksum was (\S+) but wanted (\S+)/.exec(reason) ?? [];
  const wanted = but === undefined ? undefined : parseDigest(but.replace(/[.,;]$/, ""));
  const actual = was === undefined ? undefined : parseDigest(was);
  const cause = CAUSES.find(([pattern]) => pattern.test(reason))?.[1] ?? "other";
  return { cause, reason: reason.trim(), ...(wanted ? { wanted } : {}), ...(actual ? { actual } : {}) };
}

const ADVICE: Record<Cause, string> = {
  checksum: "the bytes that came are not those that were declared: truncated on the way, an error page, or changed at their origin",
  truncated: "the transfer was cut short",
  refused: "nobody answers there",
  "unknown-host": "the host's name is not known here: no network, no DNS, or a proxy that Bazel does not know of",
  status: "the server refused",
  timeout: "the server was too slow",
  reset: "the connection was cut",
  interrupted: "the transfer stalled, and Bazel gave up",
  tls: "the encrypted connection was refused: a proxy in between, or certificates that Java does not know",
  redirect: "the server sends in circles",
  disabled: "downloads are switched off, and the cache did not have it",
  "not-in-registry": "no registry has this module",
  "no-url": "plain http is refused where no checksum is declared",
  "bad-checksum-declared": "its declaration has a checksum that is none",
  other: "",
};

/** One sentence on why, for people. */
export function describeCause({ cause, reason, actual }: FailedDownload): string {
  const advice = actual?.hex === EMPTY ? "not one byte came" : ADVICE[cause];
  return advice ? `${advice} (${reason})` : reason;
}
