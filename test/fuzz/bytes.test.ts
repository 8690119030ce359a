// Random bytes as modules, as maps, as paths of properties and as answers: a clear error or a result, never a crash or a hang.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { type MessageHandler, MessageParser, ParseError } from "../../host/proxy/http1-parser.js";
import { mount } from "../../host/testing/index.js";
import { inspectModule } from "../../host/vm/load.js";
import { decodePairs, encodePairs } from "../../host/vm/wire.js";
import { PROBES } from "../conformance/probes.js";
import { fuzzing } from "./settings.js";

const recorder = path.join(PROBES, "recorder.wasm");
const RECORDER = readFileSync(recorder);
const directory = mkdtempSync(path.join(tmpdir(), "envoyscript-fuzz-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Bytes as an operation of the recorder takes them: no blanks, no line ends. */
const escaped = (bytes: Uint8Array): string => (bytes.length === 0 ? "''" : [...bytes].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));

/** A valid module with bytes changed, cut off or doubled. */
const damaged = fc
  .record({
    changes: fc.array(fc.tuple(fc.nat(RECORDER.length - 1), fc.nat(255)), { maxLength: 6 }),
    cut: fc.option(fc.nat(RECORDER.length), { freq: 4, nil: undefined }),
  })
  .map(({ changes, cut }) => {
    const bytes = Buffer.from(RECORDER);
    for (const [at, value] of changes) bytes[at] = value;
    return cut === undefined ? bytes : bytes.subarray(0, cut);
  });

const headed = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.concat([RECORDER.subarray(0, 8), bytes]));

describe("modules", () => {
  test("any bytes are inspected: a module, or a reason in one line", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), headed, damaged), (bytes) => {
        const found = inspectModule(bytes);
        if ("problem" in found) expect(found.lines.every(({ text }) => text.length > 0)).toBe(true);
      }),
      fuzzing(400),
    );
  });

  test("a damaged module is refused or serves: each request ends", { timeout: 120_000 }, async () => {
    const file = path.join(directory, "damaged.wasm");
    await fc.assert(
      fc.asyncProperty(damaged, async (bytes) => {
        writeFileSync(file, bytes);
        let envoy: Awaited<ReturnType<typeof mount>>;
        try {
          envoy = await mount(file, { engine: "node", config: "on_request_headers: add 0 x-a 1", leaks: false });
        } catch (error) {
          expect((error as Error).message).not.toBe("");
          return;
        }
        await envoy.fetch("/").catch((error: Error) => expect(error.message).not.toBe(""));
        await envoy.close().catch(() => {});
      }),
      fuzzing(300),
    );
  });
});

describe("pairs", () => {
  const text = fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString("latin1"));

  test("what is written is read", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 40 }), (pairs) => {
        expect(decodePairs(encodePairs(pairs))).toEqual(pairs);
      }),
      fuzzing(500),
    );
  });

  test("any bytes are pairs that give the same bytes, or none", () => {
    const sizes = fc.tuple(fc.nat(4), fc.array(fc.nat(6), { maxLength: 8 }), fc.uint8Array({ maxLength: 30 })).map(([count, lengths, rest]) => {
      const head = new Uint32Array([count, ...lengths]);
      return Buffer.concat([Buffer.from(head.buffer), rest]);
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), sizes), (bytes) => {
        const pairs = decodePairs(bytes);
        if (pairs.length > 0) expect(Buffer.from(encodePairs(pairs))).toEqual(Buffer.from(bytes));
      }),
      fuzzing(2000),
    );
  });
});

test("any bytes as the path of a property", { timeout: 60_000 }, async () => {
  const words = ["request", "headers", "response", "connection", "source", "xds", "node", "metadata", "filter_state", "upstream", "plugin_name", ""];
  const path_ = fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.array(fc.constantFrom(...words), { maxLength: 4 }).map((parts) => Buffer.from(parts.join("\0"))),
  );
  const paths = fc.sample(path_, fuzzing(300));
  const config = paths.map((bytes) => `on_request_headers: propx ${escaped(bytes)}`).join("\n");
  const envoy = await mount(recorder, { engine: "node", config });
  expect((await envoy.fetch("/")).status).toBe(200);
  await envoy.settled();
  expect(envoy.logs.filter(({ text }) => text.includes("propx("))).toHaveLength(paths.length);
  await envoy.close();
});

test("any bytes as HTTP/1: messages or one error, however they are cut", () => {
  const line = fc.constantFrom(
    "GET / HTTP/1.1\r\n",
    "host: h\r\n",
    "content-length: 3\r\n",
    "transfer-encoding: chunked\r\n",
    "\r\n",
    "3\r\nabc\r\n",
    "0\r\n",
    "abc",
  );
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
    fc.array(line, { maxLength: 10 }).map((lines) => Buffer.from(lines.join(""))),
  );
  const parse = (pieces: Buffer[]): string => {
    let seen = "";
    // How much of a body is given out before an error in it depends on the pieces.
    let body = "";
    const handler: MessageHandler = {
      onHead(start, names, values) {
        seen += `[${start}|${names.map((name, i) => `${name}=${values[i]}`).join("|")}]`;
        if (names.includes("transfer-encoding")) return { kind: "chunked" };
        return names.includes("content-length") ? { kind: "length", size: 3 } : { kind: "none" };
      },
      onData(data) {
        body += Buffer.from(data.all()).toString("latin1");
      },
      onComplete: () => {
        seen += `${body};`;
        body = "";
      },
    };
    const parser = new MessageParser(handler, 1000);
    try {
      for (const piece of pieces) parser.push(piece);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      return `${seen}!${error.details}`;
    }
    return seen + body;
  };
  fc.assert(
    fc.property(input, fc.array(fc.nat(80), { maxLength: 5 }), (bytes, cuts) => {
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      expect(parse(at.slice(1).map((end, i) => bytes.subarray(at[i]!, end)))).toBe(parse([bytes]));
    }),
    fuzzing(2000),
  );
});
