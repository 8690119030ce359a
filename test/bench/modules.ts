// Sizes of typical modules, and how long they take to build: in a process where the compiler is loaded, and on the command line.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { build } from "../../host/compiler/index.js";
import { median } from "./statistics.js";
import { temporary } from "./workspace.js";

export interface ModuleFigures {
  name: string;
  bytes: number;
  /** Most bytes it should have. */
  limit: number;
  /** Seconds the compiler took once it was loaded: the median of three. */
  seconds: number;
  /** Seconds of `envoyscript build`, start-up included: the median of three. */
  commandSeconds: number;
}

const ROOT = path.resolve(import.meta.dirname, "../..");

const REQUEST_ONLY = `
import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
@filter("request")
export class RequestOnly extends Filter<NoConfig> {
  handle(stream: Stream): void {
    if (stream.request.headers.get("x-user") === null) stream.request.headers.set("x-user", "anonymous");
  }
}`;
const WITH_NEXT = REQUEST_ONLY.replace("  }\n}", '    stream.next();\n    stream.response.headers.set("x-served", "yes");\n  }\n}');

export function moduleFigures(): ModuleFigures[] {
  const list: [string, number, string][] = [
    ["request headers only", 8000, temporary("request.ts", REQUEST_ONLY)],
    ["next() and response headers", 13_000, temporary("next.ts", WITH_NEXT)],
    ["auth example", 20_000, path.join(ROOT, "guest", "examples", "auth.ts")],
  ];
  return list.map(([name, limit, file]) => {
    let bytes = 0;
    const seconds = three(() => {
      bytes = build([file], { cwd: ROOT }).wasm.length;
    });
    return { name, bytes, limit, seconds, commandSeconds: three(() => runCommand(file)) };
  });
}

function three(work: () => void): number {
  return median(
    Array.from({ length: 3 }, () => {
      const started = performance.now();
      work();
      return (performance.now() - started) / 1000;
    }),
  );
}

function runCommand(file: string): void {
  const out = temporary("built.wasm", "");
  const { status, stderr } = spawnSync(process.execPath, [path.join(ROOT, "host", "dist", "envoyscript.mjs"), "build", file, "-o", out], {
    cwd: ROOT,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`envoyscript build ${path.basename(file)} failed: ${stderr.trim().split("\n")[0]}`);
}
