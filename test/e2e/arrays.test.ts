// Loops over typed arrays, which the compiler rewrites (host/compiler/passes/views.ts): the same functions run in Node and in a filter and must agree.
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { send } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

/** Each takes a number and returns text; in the part of the language that TypeScript and AssemblyScript share. */
const FUNCTIONS: Record<string, string> = {
  everyType: `
    const a = new Int8Array(5), b = new Uint8Array(5), c = new Int16Array(5), d = new Uint16Array(5), e = new Int32Array(5);
    const f = new Uint32Array(5), g = new Float32Array(5), h = new Float64Array(5), k = new Uint8ClampedArray(5);
    let text = "";
    for (let i = 0; i < 5; i++) {
      a[i] = -i - 1; b[i] = 250 + i; c[i] = -300 * i; d[i] = 65531 + i; e[i] = -100000 * i; f[i] = 100000 * i; g[i] = 0.5 + <f32>i; h[i] = 0.25 + <f64>i; k[i] = 253 + i;
    }
    for (let i = 0; i < a.length; i++) {
      text += a[i].toString() + " " + b[i].toString() + " " + c[i].toString() + " " + d[i].toString() + " " + e[i].toString() + " " + f[i].toString();
      text += " " + g[i].toString() + " " + h[i].toString() + " " + k[i].toString() + ";";
    }
    return text + n.toString();`,
  copiesAndNests: `
    const from = new Uint8Array(16), to = new Uint8Array(16), order = new Uint8Array(16);
    for (let i = 0; i < 16; i++) { from[i] = i * 7; order[i] = 15 - i; }
    for (let i = 0; i < 16; i++) to[order[i]] = from[order[(i + n) % 16]];
    let sum = 0;
    for (let i = 0; i < 16; i++) for (let j = 0; j <= i; j++) sum += <i32>to[i] * <i32>from[j] + order[to[j] % 16];
    return sum.toString();`,
  growing: `
    let list = new Uint8Array(1);
    let text = "";
    for (let i = 0; i < n + 5; i++) {
      // The variable is another array in each turn: nothing may be remembered.
      const wider = new Uint8Array(list.length + 1);
      for (let j = 0; j < list.length; j++) wider[j] = list[j] + 1;
      list = wider;
      text += list.length.toString() + ":" + list[0].toString() + " ";
    }
    return text;`,
  chosen: `
    const one = new Uint16Array(4), two = new Uint16Array(4);
    let now = one;
    for (let i = 0; i < 4; i++) { now[i] = i + n; now = now === one ? two : one; }
    let text = "";
    for (let i = 0; i < 4; i++) text += one[i].toString() + "," + two[i].toString() + " ";
    return text;`,
  part: `
    const all = new Uint8Array(10);
    for (let i = 0; i < all.length; i++) all[i] = i;
    const part = all.subarray(3, 7);
    let text = "";
    for (let i = 0; i < part.length; i++) { part[i] += 100; text += part[i].toString() + " "; }
    for (let i = 0; i < all.length; i++) text += all[i].toString() + " ";
    return text + part.length.toString() + n.toString();`,
  compound: `
    const a = new Uint32Array(3);
    let i = 0;
    while (i < 3) { a[i] += i + n; i++; }
    let text = "";
    for (let k = 2; k >= 0; k--) text += a[k].toString() + (a[k] > 2 ? "+" : "-");
    return text;`,
};

const names = Object.keys(FUNCTIONS);
const FILTER = `
import { Filter, NoConfig, Stream, filter } from "envoyscript-sdk";
${names.map((name) => `function ${name}(n: i32): string {${FUNCTIONS[name]}}`).join("\n")}
function outside(n: i32): i32 {
  const bytes = new Uint8Array(4);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += bytes[i];
  return sum;
}
function outsideSet(n: i32): void {
  const floats = new Float64Array(4);
  for (let i = -1; i < n; i++) floats[i] = 1;
}
@filter("arrays")
export class Arrays extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const path = stream.request.path;
    const n = <i32>parseInt(path.substring(path.indexOf("?") + 1));
    ${names.map((name) => `if (path.startsWith("/${name}?")) return stream.reply(200, ${name}(n));`).join("\n    ")}
    if (path.startsWith("/outside?")) return stream.reply(200, outside(n).toString());
    if (path.startsWith("/outsideSet?")) outsideSet(n);
    if (path.startsWith("/waits?")) return this.waits(stream, n);
  }
  waits(stream: Stream, n: i32): void {
    const bytes = new Uint8Array(n);
    for (let i = 0; i < bytes.length; i++) {
      const answer = stream.fetch("numbers", "/" + i.toString());
      bytes[i] = <u8>parseInt(answer.text());
      // Garbage between the calls, enough for several collections.
      for (let j = 0; j < 40; j++) new Uint8Array(4096);
    }
    let text = "";
    for (let i = 0; i < bytes.length; i++) text += bytes[i].toString() + " ";
    stream.reply(200, text);
  }
}`;

let envoy: TestEnvoy;
beforeAll(async () => {
  envoy = await startTestEnvoy({
    filter: FILTER,
    clusters: { numbers: (request, response) => void response.end(String(Number(request.url.slice(1)) * 3)) },
  });
});
afterAll(() => envoy.close());

describe("loops over typed arrays", () => {
  test.each(names.flatMap((name) => [0, 1, 4].map((n) => ({ name, n }))))("$name($n) is what it is in Node", async ({ name, n }) => {
    const inNode = new Function("n", ts.transpile(FUNCTIONS[name]!, { target: ts.ScriptTarget.ES2022 }));
    const { status, text } = await send(`${envoy.url}/${name}?${n}`);
    expect({ status, text }).toEqual({ status: 200, text: inNode(n) });
  });

  test("the first element outside is a fault with its place, reading or writing", async () => {
    expect((await send(`${envoy.url}/outside?4`)).text).toBe("0");
    for (const path of ["/outside?5", "/outsideSet?0"]) expect((await send(envoy.url + path)).status).toBe(500);
    const line = (text: string) => FILTER.slice(0, FILTER.indexOf(text)).split("\n").length;
    const faults = () => envoy.logs.filter((entry) => entry.includes("failed")).map((entry) => /failed: (.*) \([^:]*:(\d+):/.exec(entry)?.slice(1));
    await expect.poll(faults).toEqual([
      ["Index out of range", String(line("sum += bytes[i]"))],
      ["Index out of range", String(line("floats[i] = 1"))],
    ]);
  });

  test("an array outlives suspensions and collections inside the loop", async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(`${envoy.url}/waits?20`)));
    const expected = Array.from({ length: 20 }, (_, i) => `${i * 3} `).join("");
    expect(answers.map(({ text }) => text)).toEqual(answers.map(() => expected));
  });
});
