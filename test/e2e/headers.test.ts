// Headers of request and response: every way to read and write them, and what is refused because Envoy would break or be misled by it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { send, send2 } from "../harness/client.js";
import { startTestEnvoy, type TestEnvoy } from "../harness/envoy.js";

const FILTER = `
import { Filter, HeaderMap, NoConfig, Stream, filter } from "envoyscript-sdk";

function list(map: HeaderMap): string {
  const entries = map.entries();
  const lines: string[] = [];
  for (let i = 0; i < entries.length; i++) lines.push(entries[i].name + "=" + entries[i].value);
  return lines.join("\\n");
}
function word(value: string | null): string {
  return value === null ? "null" : "[" + value + "]";
}
/** Characters that no client can put into a header. */
function real(text: string): string {
  if (text == "EMPTY") return "";
  return text.replaceAll("CR", "\\r").replaceAll("LF", "\\n").replaceAll("NUL", String.fromCharCode(0)).replaceAll("BEL", "\\x07").replaceAll("DEL", "\\x7f").replaceAll("TAB", "\\t");
}

@filter("headers")
export class Headers1 extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const h = stream.request.headers;
    const path = stream.request.path;
    if (path == "/read") return this.read(stream);
    if (path == "/edit") return this.edit(stream);
    if (path == "/inline") return this.inline(stream);
    if (path == "/pseudo") return this.pseudo(stream);
    if (path.startsWith("/change?")) return this.change(stream);
    if (path == "/late") return this.late(stream);
    if (path == "/response") return this.response(stream);
    if (path == "/many") return this.many(stream);
    h.set("x-path", path);
    h.set("x-seen", h.getAll("x-multi").join("|"));
    stream.next();
    stream.response.headers.set("x-late", stream.request.method + " " + stream.request.host);
    stream.response.headers.set("x-status", stream.response.status.toString());
  }

  read(stream: Stream): void {
    const h = stream.request.headers;
    const bytes = h.getBytes("x-raw")!;
    const parts: string[] = [];
    for (let i = 0; i < bytes.length; i++) parts.push(bytes[i].toString());
    const r = stream.request;
    const lines = [
      "get " + word(h.get("X-One")), "none " + word(h.get("x-none")), "empty " + word(h.get("x-empty")), "first " + word(h.get("x-multi")),
      "all " + h.getAll("x-multi").join("|"), "allNone " + h.getAll("x-none").length.toString(),
      "has " + h.has("X-ONE").toString() + h.has("x-none").toString() + h.has("x-empty").toString(),
      "raw " + parts.join(","), "utf8 " + word(h.get("x-utf8")), "bytesNone " + (h.getBytes("x-none") === null).toString(),
      "length " + (h.length == h.entries().length).toString(),
      "pseudo " + r.method + " " + r.path + " " + r.host + " " + r.scheme + " [" + r.query + "]",
    ];
    stream.reply(200, lines.join("\\n") + "\\n" + list(h), h.pick(["X-Multi", "x-none", "x-one"]));
  }

  edit(stream: Stream): void {
    const h = stream.request.headers;
    const before = h.length;
    const seen: string[] = [];
    h.set("X-New", "1");
    seen.push(word(h.get("x-new")) + (h.length - before).toString());
    h.append("x-new", "2");
    seen.push(h.getAll("x-new").join("|") + (h.length - before).toString());
    h.set("x-new", "3");
    seen.push(h.getAll("x-NEW").join("|") + (h.length - before).toString());
    h.set("x-one", "changed");
    h.delete("x-multi");
    seen.push(word(h.get("x-one")) + h.has("x-multi").toString() + (h.length - before).toString());
    h.delete("x-new");
    h.delete("x-never-there");
    seen.push(word(h.get("x-new")) + (h.length - before).toString());
    h.set("x-empty", "");
    h.append("x-dup", "a");
    h.append("x-dup", "a");
    h.set("x-unicode", "ä€😀");
    h.set("x-mine", list(h).includes("x-dup=a\\nx-dup=a\\n").toString());
    h.set("x-trace", seen.join(";"));
    stream.next();
  }

  inline(stream: Stream): void {
    const h = stream.request.headers;
    const before = h.length;
    h.append("accept", "b");
    h.append("x-forwarded-for", "9.9.9.9");
    h.append("authorization", "two");
    h.append("cookie", "c=3");
    h.append("x-own", "1");
    h.append("x-own", "2");
    stream.reply(200, [
      h.getAll("accept").join("|"), h.getAll("x-forwarded-for").join("|"), h.getAll("authorization").join("|"), h.getAll("cookie").join("|"), h.getAll("x-own").join("|"),
      (h.length - before).toString(),
    ].join("\\n"));
  }

  pseudo(stream: Stream): void {
    const r = stream.request;
    r.method = "PUT";
    r.path = "/other?x=1";
    r.host = "other.example:81";
    r.headers.set("x-now", r.method + " " + r.path + " " + r.host + " " + r.scheme + " " + r.query);
    r.headers.set("host", "third.example");
    stream.next();
    stream.response.headers.set("x-after", r.method + " " + r.path + " " + r.host);
    stream.response.status = 201;
    stream.response.headers.set("x-status", stream.response.status.toString());
  }

  /** Makes the change that the request describes, on the side that the query names, and says whether it was taken. */
  change(stream: Stream): void {
    const h = stream.request.headers;
    const op = h.get("x-op")!;
    const name = real(h.get("x-name")!);
    const value = real(h.get("x-value")!);
    const response = stream.request.query == "response";
    if (response) stream.next();
    const map = response ? stream.response.headers : h;
    const done = op == "set" ? map.set(name, value) : op == "append" ? map.append(name, value) : map.delete(name);
    map.set("x-done", done.toString());
    if (!response) stream.next();
  }

  late(stream: Stream): void {
    const h = stream.request.headers;
    stream.next();
    const did = h.set("x-too-late", "1").toString() + h.append("x-too-late", "1").toString() + h.delete("x-one").toString();
    stream.request.path = "/too-late";
    stream.response.headers.set("x-did", did + word(h.get("x-one")) + word(h.get("x-too-late")) + stream.request.path);
  }

  response(stream: Stream): void {
    const early = stream.response.headers.set("x-early", "1").toString() + stream.response.status.toString() + stream.response.headers.length.toString();
    stream.next();
    const h = stream.response.headers;
    const before = h.length;
    h.set("x-early", early);
    h.append("set-cookie", "c=3");
    h.delete("x-secret");
    h.append("cache-control", "no-store");
    h.append("vary", "x-b");
    h.set("x-cookies", h.getAll("set-cookie").join("|"));
    h.set("x-cache", h.getAll("cache-control").join("|") + ";" + h.getAll("vary").join("|"));
    h.set("x-left", word(h.get("x-secret")) + (h.length - before).toString());
  }

  many(stream: Stream): void {
    const h = stream.request.headers;
    const before = h.length;
    for (let i = 0; i < 60; i++) {
      const name = "x-n" + (i % 20).toString();
      h.set(name, i.toString());
      if (h.get(name)! != i.toString()) return stream.reply(500, "lost at " + i.toString());
    }
    for (let i = 0; i < 10; i++) h.delete("x-n" + i.toString());
    stream.reply(200, (h.length - before).toString() + " " + h.get("x-n19")!);
  }
}`;

let envoy: TestEnvoy;
beforeAll(async () => {
  envoy = await startTestEnvoy({
    filter: FILTER,
    upstream: (request, response) => {
      response.setHeader("content-type", "application/json");
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.setHeader("x-secret", "1");
      response.setHeader("cache-control", "private");
      response.setHeader("vary", "x-a");
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
    },
  });
});
afterAll(() => envoy?.close());

describe("headers of request and response", () => {
  test("are read and written in both directions, and the request can be read after next()", async () => {
    for (const client of [send, send2]) {
      const answer = await client(`${envoy.url}/a?b=c`, { headers: { "x-multi": ["1", "2"] } });
      expect(answer.status).toBe(200);
      const seen = JSON.parse(answer.text);
      expect(seen.headers["x-path"]).toBe("/a?b=c");
      expect(seen.headers["x-seen"]).toBe("1|2");
      expect(answer.headers["x-late"]).toBe(`GET 127.0.0.1:${envoy.port}`);
      expect(answer.headers["x-status"]).toBe("200");
    }
  });

  test("get, getAll, getBytes, has, pick, entries, length and the request line", async () => {
    const headers = { "x-one": "1", "x-empty": "", "x-multi": ["a", "b"], "x-raw": "\u00ff\u00fe", "x-utf8": Buffer.from("ä€").toString("latin1") };
    const answer = await send(`${envoy.url}/read`, { headers });
    const lines = answer.text.split("\n");
    expect(lines.slice(0, 12)).toEqual([
      "get [1]",
      "none null",
      "empty []",
      "first [a]",
      "all a|b",
      "allNone 0",
      "has truefalsetrue",
      "raw 255,254",
      "utf8 [ä€]",
      "bytesNone true",
      "length true",
      `pseudo GET /read 127.0.0.1:${envoy.port} http []`,
    ]);
    expect(answer.headers).toMatchObject({ "x-multi": "a, b", "x-one": "1" });
    expect(answer.headers).not.toHaveProperty("x-none");
    expect(lines.slice(12, 16).map((line) => line.split("=")[0])).toEqual([":authority", ":path", ":method", ":scheme"]);
    expect(lines).toContain("x-multi=a");
    expect(lines).toContain("x-multi=b");
  });

  test("a read after a write shows the write, and Envoy sends what was read", async () => {
    const answer = await send(`${envoy.url}/edit`, { headers: { "x-one": "1", "x-multi": ["a", "b"] } });
    const seen = JSON.parse(answer.text).headers;
    expect(seen["x-trace"]).toBe("[1]1;1|22;31;[changed]false-1;null-2");
    expect(seen["x-one"]).toBe("changed");
    expect(seen).not.toHaveProperty("x-multi");
    expect(seen).not.toHaveProperty("x-new");
    expect(seen["x-empty"]).toBe("");
    expect(seen["x-dup"]).toBe("a, a");
    expect(seen["x-mine"]).toBe("true");
    expect(Buffer.from(seen["x-unicode"], "latin1").toString("utf8")).toBe("ä€😀");
  });

  test("an append to one of Envoy's inline headers joins the values, to others it adds an entry", async () => {
    const answer = await send(`${envoy.url}/inline`, { headers: { accept: "a", "x-forwarded-for": "1.1.1.1", authorization: "one", cookie: "a=1; b=2" } });
    expect(answer.text.split("\n")).toEqual(["a,b", "1.1.1.1,9.9.9.9", "one,two", "a=1; b=2|c=3", "1|2", "3"]);
  });

  test("sixty writes with a read after each", async () => {
    expect((await send(`${envoy.url}/many`)).text).toBe("10 59");
  });

  test("method, path, host and status can be set; reads follow", async () => {
    const answer = await send(`${envoy.url}/pseudo`);
    const seen = JSON.parse(answer.text);
    expect(seen).toMatchObject({ method: "PUT", url: "/other?x=1", headers: { host: "third.example", "x-now": "PUT /other?x=1 other.example:81 http x=1" } });
    expect(answer.headers["x-after"]).toBe("PUT /other?x=1 third.example");
    expect(answer.status).toBe(201);
    expect(answer.headers["x-status"]).toBe("201");
  });

  test("response headers: nothing before next(), then get, set, append, delete", async () => {
    const answer = await send(`${envoy.url}/response`);
    expect(answer.headers["x-early"]).toBe("false00");
    expect(answer.headers["set-cookie"]).toEqual(["a=1", "b=2", "c=3"]);
    expect(answer.headers["x-cookies"]).toBe("a=1|b=2|c=3");
    // cache-control and vary are inline in Envoy's response map.
    expect(answer.headers["x-cache"]).toBe("private,no-store;x-a,x-b");
    expect(answer.headers).not.toHaveProperty("x-secret");
    // One more cookie, x-early, x-cookies and x-cache; one less: x-secret.
    expect(answer.headers["x-left"]).toBe("null3");
  });

  test("writes after the headers were sent on are refused, with an error in the log, and do not show", async () => {
    const answer = await send(`${envoy.url}/late`, { headers: { "x-one": "1" } });
    expect(answer.headers["x-did"]).toBe("falsefalsefalse[1]null/late");
    expect(JSON.parse(answer.text).url).toBe("/late");
    await envoy.logged(/error .*header "x-too-late" not changed: the headers were sent on already/);
    await envoy.logged(/error .*header ":path" not changed: the headers were sent on already/);
  });
});

describe("a write that HTTP or Envoy cannot take is refused and said", () => {
  type Case = [op: string, name: string, value: string, why: RegExp];
  const request: Case[] = [
    ["set", "x-a", "aCRLFx-evil: 1", /not allowed in HTTP/],
    ["set", "x-a", "aLFx-evil: 1", /not allowed in HTTP/],
    ["append", "x-a", "aNULb", /not allowed in HTTP/],
    ["set", "x-a", "aBELb", /not allowed in HTTP/],
    ["set", "x-a", "aDELb", /not allowed in HTTP/],
    ["set", "x a", "v", /not allowed in HTTP/],
    ["set", "x-aCRLFx-evil", "v", /not allowed in HTTP/],
    ["set", "x:a", "v", /not allowed in HTTP/],
    ["set", "EMPTY", "v", /not allowed in HTTP/],
    ["set", "ä", "v", /not allowed in HTTP/],
    ["delete", "x a", "v", /not allowed in HTTP/],
    ["set", ":path", "no-slash", /a path/],
    ["set", ":path", "/a HTTP/1.1", /a path/],
    ["set", ":path", "/aCRLFx-evil: 1", /not allowed in HTTP|a path/],
    ["append", ":path", "/b", /one value/],
    ["delete", ":path", "v", /cannot be deleted/],
    ["delete", ":method", "v", /cannot be deleted/],
    ["delete", ":authority", "v", /cannot be deleted/],
    ["delete", "Host", "v", /cannot be deleted/],
    ["set", ":authority", "EMPTY", /host/],
    ["set", ":authority", "a b", /host/],
    ["set", ":method", "GE T", /not a method/],
    ["set", ":method", "EMPTY", /not a method/],
    ["set", ":scheme", "ftp", /http or https/],
    ["set", ":status", "200", /no such pseudo header/],
    ["set", ":protocol", "websocket", /no such pseudo header/],
    ["set", "content-length", "3", /frame the message/],
    ["append", "Transfer-Encoding", "chunked", /frame the message/],
    ["delete", "x-forwarded-proto", "v", /404/],
  ];
  const response: Case[] = [
    ["set", "x-a", "aCRLFx-evil: 1", /not allowed in HTTP/],
    ["append", "x-a", "aLFx-evil: 1", /not allowed in HTTP/],
    ["set", "x-aLFx-evil", "1", /not allowed in HTTP/],
    ["set", "x-a", "aBELb", /not allowed in HTTP/],
    ["set", ":status", "100", /200 to 599/],
    ["set", ":status", "600", /200 to 599/],
    ["set", ":status", "0200", /200 to 599/],
    ["set", ":status", "abc", /200 to 599/],
    ["append", ":status", "200", /one value/],
    ["delete", ":status", "v", /cannot be deleted/],
    ["set", ":path", "/", /no such pseudo header/],
    ["set", "Content-Length", "3", /frame the message/],
  ];
  const cases = [...request.map((row) => ["request", ...row] as const), ...response.map((row) => ["response", ...row] as const)];
  test.each(cases)("in a %s: %s %j %j", async (side, op, name, value, why) => {
    const logged = envoy.logs.length;
    const answer = await send(`${envoy.url}/change?${side}`, { headers: { "x-name": Buffer.from(name).toString("latin1"), "x-value": value, "x-op": op } });
    expect(answer.status).toBe(200);
    const seen = JSON.parse(answer.text);
    expect((side === "response" ? answer : seen).headers["x-done"]).toBe("false");
    expect(seen).toMatchObject({ method: "GET", url: `/change?${side}` });
    for (const trace of ["x-evil", "x-a"]) {
      expect(seen.headers).not.toHaveProperty(trace);
      expect(answer.headers).not.toHaveProperty(trace);
    }
    expect(envoy.logs.slice(logged).find((text) => text.startsWith("error"))).toMatch(why);
  });

  const taken: [op: string, name: string, value: string, header: string, wanted: string | undefined][] = [
    ["set", "X-A", "aTABb", "x-a", "a\tb"],
    ["set", "x!#$%&'*+.^_`|~1", "v", "x!#$%&'*+.^_`|~1", "v"],
    ["append", "content-type", "text/plain", "content-type", "text/plain"],
    ["set", "x-forwarded-proto", "https", "x-forwarded-proto", "https"],
    ["delete", "X-Op", "v", "x-op", undefined],
  ];
  test.each(taken)("but %s %j %j is taken", async (op, name, value, header, wanted) => {
    const answer = await send(`${envoy.url}/change?request`, { headers: { "x-name": name, "x-value": value, "x-op": op } });
    const seen = JSON.parse(answer.text).headers;
    expect(seen["x-done"]).toBe("true");
    expect(seen[header]).toBe(wanted);
  });
});
