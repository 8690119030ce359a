// Downloads from a plain list (--from-json), and the reading of JSON of unknown origin.
import { readFileSync, statSync } from "node:fs";
import { Failure, usage } from "../../host/cli/failure.js";
import { parseHex, parseIntegrity } from "../cache/digest.js";
import { reasonOf } from "../cache/hashing.js";
import type { Download } from "./download.js";

/** Larger files of declarations are somebody's mistake or malice. */
export const LARGEST_FILE = 64 * 1024 * 1024;

/** Reads a text file, and refuses one that cannot be read or is too large, in one line. */
export function readText(file: string): string {
  try {
    const stat = statSync(file);
    if (!stat.isFile() && !stat.isFIFO() && !stat.isCharacterDevice()) throw new Failure(`${file}: is no file`);
    if (stat.size > LARGEST_FILE) throw new Failure(`${file}: ${stat.size} bytes are too many; the most that is read is ${LARGEST_FILE}`);
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Failure) throw error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw new Failure(`${file}: ${reasonOf(code, message)}`);
  }
}

/** JSON.parse with an error of one line that says where. V8's parser takes any depth; its own message may quote the text, which is left out. */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof RangeError) throw new Failure(`${file}: nested too deeply`);
    const position = /position (\d+)/.exec((error as Error).message)?.[1];
    const line = position === undefined ? "" : `:${text.slice(0, Number(position)).split("\n").length}`;
    throw new Failure(`${file}${line}: is no JSON${text.trim() === "" ? " (it is empty)" : ""}`);
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const FIELDS = new Set(["name", "url", "urls", "sha256", "integrity", "canonical_id"]);

/** `[{"name": "v8", "urls": ["https://…"], "sha256": "…"}]`, or `integrity` in place of sha256, `url` of urls; `canonical_id` where the rule has one. */
export function readDownloadList(file: string): Download[] {
  const list = parseJson(readText(file), file);
  if (!Array.isArray(list)) throw usage(`${file}: write a list: [{"name": "…", "urls": ["https://…"], "sha256": "…"}]`);
  return list.map((item, i) => readDownload(item, `${file}: [${i}]`, file));
}

function readDownload(item: unknown, where: string, file: string): Download {
  if (!isObject(item)) throw usage(`${where}: is no object like {"name": "…", "urls": ["https://…"], "sha256": "…"}`);
  for (const field of Object.keys(item)) if (!FIELDS.has(field)) throw usage(`${where}: ${field}: no such field; there are ${[...FIELDS].join(", ")}`);
  const { name, url, urls = [], sha256, integrity, canonical_id: id } = item;
  if (!Array.isArray(urls) || !urls.every((u) => typeof u === "string")) throw usage(`${where}: urls: is no list of strings`);
  if (url !== undefined && typeof url !== "string") throw usage(`${where}: url: is no string`);
  if (id !== undefined && typeof id !== "string") throw usage(`${where}: canonical_id: is no string`);
  const all = url === undefined ? urls : [url, ...urls];
  const digest = typeof integrity === "string" ? parseIntegrity(integrity) : typeof sha256 === "string" ? parseHex(sha256) : undefined;
  if (!digest) throw usage(`${where}: needs "sha256" (64 hexadecimal digits) or "integrity" (sha256-…)`);
  const download: Download = { name: typeof name === "string" ? name : (all[0] ?? digest.hex), kind: "file", urls: all, digest, marker: "urls", at: file };
  if (id) download.canonicalId = id;
  return download;
}
