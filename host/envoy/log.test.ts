// What Envoy logged, and which of it is the reason of its end.
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { type LogLine, Reasons, readLog } from "./log.js";

function reasons(...lines: [level: string, text: string][]): Reasons {
  const found = new Reasons();
  for (const [level, text] of lines) found.add(level, text);
  return found;
}

describe("the reason of an end", () => {
  test("is the last critical line, without the name of the file", () => {
    expect(
      reasons(
        ["error", "listener 'x' failed"],
        ["critical", "error `cannot bind '127.0.0.1:1': Address already in use` initializing config '/tmp/e.json' cannot bind"],
      ).best(1, null),
    ).toBe("cannot bind '127.0.0.1:1': Address already in use");
    expect(reasons(["critical", "error initializing configuration '/tmp/e.json': Invalid path: /x.wasm"]).best(1, null)).toBe("Invalid path: /x.wasm");
  });

  test("is the filter's own word where a filter failed", () => {
    expect(reasons(["error", "wasm log a: configuration refused: a.b: is required"], ["critical", "Unable to create Wasm plugin a"]).best(1, null)).toBe(
      "configuration refused: a.b: is required (Unable to create Wasm plugin a)",
    );
  });

  test("is not what went wrong with a request", () => {
    const found = reasons();
    found.start();
    found.add("error", 'wasm log a: filter "a" failed');
    found.add("error", "upstream went away");
    expect(found.best(null, "SIGKILL")).toBe("killed by SIGKILL");
    found.add("critical", "out of memory");
    expect(found.best(null, "SIGABRT")).toBe("out of memory (killed by SIGABRT)");
  });

  test("is the exit code where Envoy said nothing", () => expect(reasons().best(3, null)).toBe("exit code 3"));
});

test("lines come whole, however the pipe cuts them, and a message may have several", async () => {
  const seen: LogLine[] = [];
  const found = new Reasons();
  const text = "\u0001critical\u0001main\u0001Grüße\n  at the end\n\u0001info\u0001wasm\u0001wasm log a: b\u0001c\n";
  const bytes = Buffer.from(text);
  const stream = Readable.from([...bytes].map((byte) => Buffer.from([byte])));
  readLog(stream, found, (line) => seen.push(line));
  await new Promise((resolve) => stream.on("end", resolve));
  expect(seen[0]).toEqual({ level: "critical", logger: "main", text: "Grüße" });
  expect(seen).toHaveLength(2);
  expect(found.best(1, null)).toBe("Grüße at the end");
});
