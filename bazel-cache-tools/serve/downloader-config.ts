// The file that makes a Bazel ask this server first, and how a .bazelrc names it.

/** Its name in what is printed. Bazel looks for it in the workspace (bazel 4.2.3). */
export const CONFIG_FILE = "bazel-downloader.cfg";

/** `base`: "http://host:port/". Two lines that match the same URL make two of it, asked in this order (bazel 4.2.3); the patterns see URLs without their scheme. */
export function downloaderConfig(base: string): string {
  return `# Bazel asks the mirror first, and the original server for what the mirror does not have.
rewrite (.*) ${base}$1
rewrite (.*) $1
`;
}

/** Lines for a .bazelrc. */
export function bazelrcLines(file: string): string[] {
  return [`Bazel 8.2 and later  common --downloader_config=${file}`, `Bazel 4 to 8.1       common --experimental_downloader_config=${file}`];
}
