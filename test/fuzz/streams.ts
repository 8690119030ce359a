// Random streams: what the filter returns from each callback, how the bodies come in pieces, and when callouts are made and answered.
import fc from "fast-check";
import type { Scenario, Step } from "../conformance/scenario.js";

/** Pieces come at multiples of this, answers of callouts half of it later: nothing happens at the same moment, and the order is the same every time. */
const BEAT = 60;

interface Body {
  pieces: number[];
  framing: "length" | "chunked" | "trailers";
}

interface Call {
  callback: string;
  beats: number;
  actions: string[];
}

const body: fc.Arbitrary<Body | undefined> = fc.option(
  fc.record({
    pieces: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
    framing: fc.constantFrom("length", "chunked", "trailers"),
  }),
  { nil: undefined, freq: 4 },
);

const direction = (side: "request" | "response") =>
  fc.record({
    headers: fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
    first: fc.constantFrom(0, 0, 1, 2, 3),
    others: fc.constantFrom(0, 0, 1, 2, 3),
    last: fc.constantFrom(0, 0, 0, 1, 2, 3),
    trailers: fc.constantFrom(0, 0, 0, 1),
    changes: fc.subarray([
      `on_${side}_headers: add ${side === "request" ? 0 : 2} x-added 1`,
      `on_${side}_headers: remove ${side === "request" ? 0 : 2} x-gone`,
      `on_${side}_body: buf ${side === "request" ? 0 : 1} 0 100`,
      `on_${side}_body#1: setbuf ${side === "request" ? 0 : 1} 0 2 XY`,
      `on_${side}_body?eos: setbuf ${side === "request" ? 0 : 1} 1000 0 END`,
      `on_${side}_trailers: add ${side === "request" ? 1 : 3} x-more 1`,
    ]),
  });

const call = (side: "request" | "response"): fc.Arbitrary<Call | undefined> =>
  fc.option(
    fc.record({
      callback: fc.constantFrom(`on_${side}_headers`, `on_${side}_body#1`, `on_${side}_trailers`),
      beats: fc.integer({ min: 0, max: 3 }),
      actions: fc.constantFrom<string[]>([`continue ${side === "request" ? 0 : 1}`], ["reply 403 denied no -1"], []),
    }),
    { nil: undefined, freq: 2 },
  );

/** A message as steps: its head and its body in pieces, a beat apart. */
function message(head: string, letter: string, sent: Body | undefined): Step[] {
  if (!sent) return [`${head}content-length: 0\r\n\r\n`];
  const texts = sent.pieces.map((size, i) => String.fromCharCode(letter.charCodeAt(0) + i).repeat(size));
  if (sent.framing === "length") return [`${head}content-length: ${texts.join("").length}\r\n\r\n`, ...texts.flatMap((text) => [BEAT, text])];
  const end = sent.framing === "trailers" ? "0\r\nx-trailer: t\r\n\r\n" : "0\r\n\r\n";
  const chunks = texts.flatMap((text): Step[] => [BEAT, `${text.length.toString(16)}\r\n${text}\r\n`]);
  return [`${head}transfer-encoding: chunked\r\n\r\n`, ...chunks, BEAT, end];
}

/** The lines of a recorder's script for one direction. */
function lines(
  side: "request" | "response",
  spec: { headers: number; first: number; others: number; last: number; trailers: number; changes: string[] },
): string[] {
  return [
    ...spec.changes,
    `on_${side}_headers: ret ${spec.headers}`,
    `on_${side}_body: ret ${spec.others}`,
    `on_${side}_body#1: ret ${spec.first}`,
    `on_${side}_body?eos: ret ${spec.last}`,
    `on_${side}_trailers: ret ${spec.trailers}`,
  ];
}

export const scenarios: fc.Arbitrary<Scenario> = fc
  .record({
    request: direction("request"),
    response: direction("response"),
    requestBody: body,
    responseBody: body,
    allowStop: fc.boolean(),
    two: fc.boolean(),
    calls: fc.oneof(
      call("request").map((one) => [one]),
      call("response").map((one) => [one]),
    ),
  })
  .map(({ request, response, requestBody, responseBody, allowStop, two, calls }): Scenario => {
    const made = calls.filter((one) => one !== undefined);
    const script = [
      ...made.map(({ callback }) => `${callback}: http alt 2000 '' :method GET :path /c :authority a`),
      ...lines("request", request),
      ...lines("response", response),
      ...made.flatMap(({ actions }) => ["on_http_call_response: eff $last", ...actions.map((action) => `on_http_call_response: ${action}`)]),
    ];
    return {
      id: "random",
      plugins: [
        { name: "p1", root_id: "r1", vm_id: "v1", script: script.join("\n"), allow_stop: allowStop },
        ...(two ? [{ name: "p2", root_id: "r2", vm_id: "v2", script: "" }] : []),
      ],
      clients: [{ send: message("POST /p HTTP/1.1\r\nhost: h\r\nx-gone: 1\r\n", "a", requestBody), wait: BEAT * 9 }],
      upstream: {
        up: message("HTTP/1.1 200 OK\r\nx-gone: 1\r\n", "p", responseBody),
        alt: [BEAT / 2 + (made[0]?.beats ?? 0) * BEAT, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"],
      },
    };
  });
