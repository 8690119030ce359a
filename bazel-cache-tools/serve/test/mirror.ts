// A mirror of a test's own: an empty cache, a clock, and requests that no HTTP library tidies up.
import { type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:net";
import path from "node:path";
import { makeScratch } from "../../archive/test/raw-tar.js";
import type { Digest } from "../../cache/digest.js";
import type { Download } from "../../declared/download.js";
import { openCatalogue } from "../catalogue.js";
import { type Serving, serve } from "../server.js";
import { verifiedFiles } from "../verified-files.js";

export const CONTENT = "0123456789";

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

export class Mirror {
  private readonly scratch = makeScratch();
  readonly directory = this.scratch.directory;
  readonly cache = path.join(this.directory, "cache");
  readonly log: string[] = [];
  readonly corrupt: string[] = [];
  /** ms; stands still unless a test sets it. */
  clock = 1_000_000;
  serving: Serving | undefined;

  async start(downloads: Download[] = []): Promise<void> {
    const catalogue = openCatalogue(this.cache, downloads, () => this.clock);
    const files = verifiedFiles(this.cache, (file, reason) => this.corrupt.push(`${file}: ${reason}`));
    this.serving = await serve({ host: "127.0.0.1", port: 0, catalogue, files, log: (line) => this.log.push(line) });
  }

  get port(): number {
    return this.serving!.port;
  }

  ask(target: string, headers: Record<string, string> = {}, method = "GET"): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const asking = request({ host: "127.0.0.1", port: this.port, path: target, method, headers, agent: false }, (response) => {
        const pieces: Buffer[] = [];
        response.on("data", (piece: Buffer) => pieces.push(piece));
        response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(pieces).toString() }));
        response.on("error", reject);
      });
      asking.on("error", reject);
      asking.end();
    });
  }

  /** A request line that no HTTP client would send; gives all that is answered. */
  askRaw(target: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, "127.0.0.1");
      const pieces: Buffer[] = [];
      socket.on("data", (piece) => pieces.push(piece));
      socket.on("close", () => resolve(Buffer.concat(pieces).toString()));
      socket.on("error", reject);
      socket.end(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    });
  }

  async close(): Promise<void> {
    await this.serving?.close(0);
    this.scratch.remove();
  }
}

export function declared(digest: Digest, urls: string[], name = "data", otherUrls: string[][] = []): Download {
  return { name, kind: "file", urls, otherUrls, digest, marker: "urls", at: "WORKSPACE:1" };
}
