// Faults in linear filters: every kind in every place, one request in ten, on a real Envoy. Exactly those streams fail.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, type Exchange, send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";
import { FAULTS, KINDS, lineOf } from "./kinds.js";
import { load, until } from "./load.js";

const FILTER = `
import { Filter, NoConfig, Stream, filter, log } from "envoyscript-sdk";
${FAULTS}
@filter("faulty")
export class Faulty extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const request = stream.request;
    const place = request.path.split("/")[1];
    const given = request.headers.get("x-kind");
    const kind = given === null ? -1 : I32.parseInt(given);
    if (place == "before") fail(kind);
    if (place == "after") {
      const answer = stream.fetch("auth", request.path);
      fail(kind);
      request.headers.set("x-auth", answer.text());
    }
    if (place == "request-text") {
      const text = request.text();
      fail(kind);
      request.headers.set("x-length", text.length.toString());
    }
    if (place == "request-chunks") {
      while (request.body.next()) {
        request.body.replace(request.body.chunkText.toUpperCase());
        fail(kind);
      }
    }
    stream.next();
    if (place == "response-headers") fail(kind);
    if (place == "response-text") {
      const text = stream.response.text();
      fail(kind);
      stream.response.headers.set("x-length", text.length.toString());
    }
    if (place == "response-chunks") {
      while (stream.response.body.next()) {
        stream.response.body.replace(stream.response.body.chunkText.toUpperCase());
        fail(kind);
      }
    }
    if (place != "response-chunks") stream.response.headers.set("x-served", request.path);
  }

  onLog(stream: Stream): void {
    const given = stream.request.headers.get("x-kind");
    if (given !== null && stream.request.path.startsWith("/on-log/")) fail(I32.parseInt(given));
  }
}`;

const CREATED = "wasm.envoy.wasm.runtime.v8.created";
const TOTAL = 2000;
const faulty = (i: number) => i % 10 === 7;
const kindOf = (i: number) => Math.floor(i / 10) % KINDS.length;

interface Place {
  name: string;
  body?: (i: number) => string[];
  /** Checks an answer that must be right. */
  right(answer: Answer, path: string, i: number): void;
  /** What the client and the access log see of a fault. */
  outcome: "500" | "reset" | "none";
}

const seen = (answer: Answer) => JSON.parse(answer.text) as { url: string; headers: Record<string, string>; body: string };
const PLACES: Place[] = [
  { name: "before", outcome: "500", right: (answer, path) => expect(seen(answer).url).toBe(path) },
  { name: "after", outcome: "500", right: (answer, path) => expect(seen(answer).headers["x-auth"]).toBe(`auth of ${path}`) },
  {
    name: "request-text",
    outcome: "500",
    body: (i) => ["a".repeat(i), "b"],
    right: (answer, _, i) => {
      expect(seen(answer).headers["x-length"]).toBe(String(i + 1));
      expect(seen(answer).body).toBe(`${"a".repeat(i)}b`);
    },
  },
  { name: "request-chunks", outcome: "500", body: (i) => [`one ${i} `, "two"], right: (answer, _, i) => expect(seen(answer).body).toBe(`ONE ${i} TWO`) },
  { name: "response-headers", outcome: "500", right: (answer, path) => expect(seen(answer).url).toBe(path) },
  {
    name: "response-text",
    outcome: "500",
    right: (answer, path) => expect([seen(answer).url, answer.headers["x-length"]]).toEqual([path, String(answer.text.length)]),
  },
  { name: "response-chunks", outcome: "reset", right: (answer, path) => expect(answer.text).toContain(path.toUpperCase()) },
  { name: "on-log", outcome: "none", right: (answer, path) => expect(seen(answer).url).toBe(path) },
];

describe.each([
  { title: "a small memory and budget", options: { memory: 8 * 1024 * 1024, budget: 200_000 }, total: TOTAL, only: undefined },
  { title: "default memory and budget", options: {}, total: 600, only: ["after", "response-text"] },
])("with $title, a fault stays in its stream", ({ options, total, only }) => {
  const places = PLACES.filter((place) => !only || only.includes(place.name));
  let envoy: TestEnvoy;
  let created: number;
  beforeAll(async () => {
    envoy = await startTestEnvoy({ filter: FILTER, ...options, clusters: { auth: (request, response) => void response.end(`auth of ${request.url}`) } });
    created = await envoy.stat(CREATED);
  });
  afterAll(() => envoy.close());

  test.each(places)("$name", async ({ name, body, right, outcome }) => {
    const path = (i: number) => `/${name}/${options.memory ?? 0}-${i}`;
    const before = envoy.logs.length;
    const answers = await load(envoy.url, total, (i): Exchange & { path: string } => ({
      path: path(i),
      headers: faulty(i) ? { "x-kind": String(kindOf(i)) } : {},
      ...(body ? { body: body(i) } : {}),
    }));
    for (const [i, answer] of answers.entries()) {
      if (faulty(i) && outcome !== "none") {
        expect({ i, kind: KINDS[kindOf(i)]!.name, status: answer.status, body: outcome === "500" ? answer.text : "" }).toEqual({
          i,
          kind: KINDS[kindOf(i)]!.name,
          status: outcome === "500" ? 500 : 0,
          body: "",
        });
        continue;
      }
      expect({ i, status: answer.status, text: answer.status === 200 ? "" : answer.text }).toEqual({ i, status: 200, text: "" });
      right(answer, path(i), i);
      if (name !== "response-chunks") expect(answer.headers["x-served"]).toBe(path(i));
    }
    expect(await envoy.stat(CREATED)).toBe(created);
    // One line per fault, each with its kind's message and, where a single line is at fault, that line.
    const faults = answers.map((_, i) => i).filter(faulty);
    await until(() => envoy.logs.length - before >= faults.length);
    const lines = envoy.logs.slice(before);
    expect(lines.length).toBe(faults.length);
    for (const [k, kind] of KINDS.entries()) {
      const expected = faults.filter((i) => kindOf(i) === k).length;
      const line = lineOf(FILTER, k);
      const place = line === undefined ? /\(filter\.ts:\d+:\d+\)/ : new RegExp(`\\(filter\\.ts:${line}:\\d+\\)`);
      const matching = lines.filter(
        (text) => text.startsWith("error ") && text.includes('filter "faulty" failed: ') && kind.message.test(text) && place.test(text),
      );
      expect(matching.length, `${kind.name}: ${place} ${kind.message}`).toBeGreaterThanOrEqual(expected);
    }
  });

  test("and a filter whose memory ran out serves on", async () => {
    const greedy = KINDS.findIndex((kind) => kind.name.includes("piece by piece"));
    for (let i = 0; i < 5; i++) {
      expect((await send(`${envoy.url}/before/oom`, { headers: { "x-kind": String(greedy) } })).status).toBe(500);
      const answer = await send(`${envoy.url}/request-text/large`, { body: ["x".repeat(500_000)] });
      expect([answer.status, seen(answer).headers["x-length"]]).toEqual([200, "500000"]);
    }
  });

  test("and the access log shows exactly the faulty streams", async () => {
    await envoy.stop();
    for (const { name, outcome } of places) {
      const lines = envoy.access.filter((line) => line.startsWith(`/${name}/${options.memory ?? 0}-`));
      expect(lines.length).toBe(total);
      const marked = lines.filter((line) => line.endsWith(" envoyscript_fault")).map((line) => Number(/-(\d+) /.exec(line)![1]));
      const wanted = outcome === "none" ? [] : Array.from({ length: total }, (_, i) => i).filter(faulty);
      expect(marked.sort((a, b) => a - b)).toEqual(wanted);
      const codes = new Set(lines.filter((line) => line.endsWith(" envoyscript_fault")).map((line) => line.split(" ")[1]));
      expect([...codes]).toEqual(outcome === "none" ? [] : [outcome === "500" ? "500" : "200"]);
    }
  });
});
