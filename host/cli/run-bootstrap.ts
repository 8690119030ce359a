// `envoyscript run --bootstrap FILE`: serves a complete Envoy bootstrap, as `envoy -c FILE` would, until Ctrl-C.
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { envoyLogLine } from "../proxy/log-format.js";
import { type EngineName, NODE_BANNER, serve } from "./engine.js";
import { Failure } from "./failure.js";
import { interruption } from "./interruption.js";
import { explained } from "./serving.js";
import { color, paint } from "./terminal.js";

/** YAML or JSON. Throws a Failure of one line. */
function readBootstrapFile(file: string): object {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Failure(`${file}: ${(error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (error as Error).message}`);
  }
  let value: unknown;
  try {
    value = parse(text, { logLevel: "error" });
  } catch (error) {
    throw new Failure(`${file}: ${(error as Error).message.split("\n", 1)[0]!.replace(/:$/, "")}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Failure(`${file}: holds no Envoy bootstrap`);
  return value;
}

export async function runBootstrap(file: string, engine: EngineName, logLevel: string | undefined): Promise<void> {
  const bootstrap = readBootstrapFile(file);
  const interrupted = interruption();
  try {
    const serving = await serve(
      engine,
      {
        bootstrap,
        file,
        wasmLogLevel: logLevel ?? "info",
        onLog: ({ thread, logger, level, text }) => console.error(envoyLogLine({ thread: thread ?? "main", logger, level: level as "info", text })),
        onOutput: (line) => console.log(line),
        signal: interrupted.signal,
      },
      (line) => console.error(line),
    );
    try {
      if (engine === "node") console.error(paint("yellow", NODE_BANNER, color.err));
      console.error(
        `${paint("green", "serving", color.err)}  ${serving.url ?? "no listener"}${serving.adminUrl ? `   admin ${serving.adminUrl}` : ""}   ${paint("dim", "Ctrl-C ends", color.err)}`,
      );
      const end = await Promise.race([interrupted.promise, serving.exited]);
      if (end !== "interrupted" && !interrupted.came() && end.code !== 0) throw new Failure(end.reason);
    } finally {
      await serving.stop();
    }
  } catch (error) {
    if (!interrupted.came()) throw explained(error);
  }
}
