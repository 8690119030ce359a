// bazel-cache serve: the cache as a mirror for the Bazels of a team.
import { hostname } from "node:os";
import { usage } from "../../host/cli/failure.js";
import { interruption } from "../../host/cli/interruption.js";
import { color, paint } from "../../host/cli/terminal.js";
import { openCatalogue } from "../serve/catalogue.js";
import { bazelrcLines, CONFIG_FILE, downloaderConfig } from "../serve/downloader-config.js";
import { baseUrl, serve } from "../serve/server.js";
import { verifiedFiles } from "../serve/verified-files.js";
import { openContext, type PlaceFlags } from "./context.js";
import type { DeclaredFlags } from "./declared.js";
import { declaredOfAll } from "./workspaces.js";

export interface ServeFlags extends PlaceFlags, DeclaredFlags {
  host?: string;
  port?: number;
  printConfig?: boolean;
}

const HOST = "127.0.0.1";
const PORT = 8099;

/** How long open transfers are waited for at the end, ms. */
const PATIENCE = 2000;

/** Addresses that mean all of a machine's own: others reach it by its name. */
const ANY = new Set(["0.0.0.0", "::", "*", ""]);

export async function runServe(workspaces: string[], flags: ServeFlags): Promise<void> {
  const { host = HOST, port = PORT } = flags;
  if (port > 65535) throw usage(`--port ${port}: ports end at 65535`);
  const reached = ANY.has(host) ? hostname() : host;
  if (flags.printConfig) {
    if (port === 0) throw usage("--print-config with --port 0: no port is known before the server has started; name one");
    process.stdout.write(downloaderConfig(baseUrl(reached, port)));
    return;
  }
  const context = openContext(flags, workspaces[0]);
  const { downloads, problems } = await declaredOfAll(context, workspaces, flags);
  for (const { at, message } of problems) console.error(`${paint("yellow", "not read", color.err)} ${at}: ${message}`);
  const { promise } = interruption();
  const catalogue = openCatalogue(context.cache, downloads);
  const files = verifiedFiles(context.cache, (file, reason) => console.error(`${file}: ${reason}; not served`));
  const serving = await serve({ host, port, catalogue, files, log: (line) => console.error(line) });
  const base = baseUrl(reached, serving.port);
  const count = catalogue.list().length;
  console.log(`serving ${context.cache} (${count} ${count === 1 ? "entry" : "entries"}) on ${base}

Save this as ${CONFIG_FILE} in the workspace (bazel-cache serve --print-config prints it alone):

${downloaderConfig(base)}
and add the line of your Bazel to its .bazelrc:

${bazelrcLines(CONFIG_FILE)
  .map((line) => `  ${line}`)
  .join("\n")}

Ctrl-C ends it. Requests:`);
  await promise;
  await serving.close(PATIENCE);
}
