// The server's own page: what is in the cache, for people and (as JSON) for programs.
import { bytes } from "../../host/cli/terminal.js";
import { CONTENT_ADDRESSABLE, FILE } from "../cache/layout.js";
import type { Listed } from "./catalogue.js";

export function jsonPage(entries: readonly Listed[]): string {
  const list = entries.map(({ digest, size, lastUse, names, urls }) => ({
    ...digest,
    size,
    lastUse: new Date(lastUse).toISOString(),
    names,
    urls,
    path: `/${CONTENT_ADDRESSABLE}/${digest.algorithm}/${digest.hex}/${FILE}`,
  }));
  return `${JSON.stringify({ entries: list }, null, 2)}\n`;
}

export function htmlPage(entries: readonly Listed[], config: string): string {
  const total = entries.reduce((sum, e) => sum + e.size, 0);
  const rows = entries.map(({ digest, size, names, urls }) => {
    const { algorithm, hex } = digest;
    return `<tr><td>${escapeHtml(names.join(", "))}<td>${bytes(size)}<td><a href="/${algorithm}/${hex}">${algorithm} ${hex.slice(0, 16)}…</a><td>${urls.map(escapeHtml).join("<br>")}`;
  });
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>bazel-cache</title>
<style>body{font:14px/1.5 system-ui,sans-serif;margin:2em;max-width:110em}table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.2em 1em .2em 0;border-bottom:1px solid #ccc;overflow-wrap:anywhere}pre{background:#8882;padding:1em}</style>
<h1>bazel-cache</h1>
<p>${entries.length} entries, ${bytes(total)}. What a Bazel needs to ask here first:</p>
<pre>${escapeHtml(config)}</pre>
<table><tr><th>Name<th>Size<th>Digest<th>URLs
${rows.join("\n")}
</table></html>
`;
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}
