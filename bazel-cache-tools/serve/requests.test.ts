import { utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { putEntry } from "../archive/test/raw-tar.js";
import { entryFile } from "../cache/layout.js";
import { markerName } from "../cache/markers.js";
import { CONTENT, declared, Mirror } from "./test/mirror.js";

let mirror: Mirror;
let cache: string;
beforeEach(() => {
  mirror = new Mirror();
  cache = mirror.cache;
});
afterEach(() => mirror.close());

describe("what a request asks for", () => {
  test.each([
    ["https, by its marker", "https://host/a/b.tgz", "/host/a/b.tgz"],
    ["http with a port", "http://host:8080/a", "/host:8080/a"],
    ["a query", "https://host/a?x=1&y=/../z", "/host/a?x=1&y=/../z"],
    ["percent signs, as declared", "https://host/a%20b%2Fc", "/host/a%20b%2Fc"],
    ["percent signs that a proxy has put in", "https://host/a~(b)", "/host/a%7E(b)"],
    ["dots in a path", "https://host/a/../b", "/host/a/../b"],
    ["a percent sign that is none", "https://host/100%", "/host/100%"],
  ])("%s", async (_, url, target) => {
    putEntry(cache, CONTENT, [url]);
    await mirror.start();
    expect(await mirror.ask(target)).toMatchObject({ status: 200, body: CONTENT });
  });

  test("letters beyond ASCII are found encoded; as such Node does not take them", async () => {
    putEntry(cache, CONTENT, ["https://host/ü"]);
    await mirror.start();
    expect(await mirror.ask("/host/%C3%BC")).toMatchObject({ status: 200, body: CONTENT });
    expect(await mirror.askRaw("/host/ü")).toMatch(/^HTTP\/1\.1 400 /);
    expect(mirror.log.at(-1)).toMatch(/^bad request: /);
  });

  test.each([
    ["any of several URLs", "/two.invalid/x"],
    ["one of a list without mirrors", "/three.invalid/x"],
    ["one that is declared with a fragment", "/four.invalid/x"],
    ["one that is declared encoded and asked for decoded", "/five.invalid/~x"],
  ])("declared: %s", async (_, target) => {
    const digest = putEntry(cache, CONTENT);
    const urls = ["https://one.invalid/x", "http://two.invalid/x", "https://four.invalid/x#md5=1", "https://five.invalid/%7Ex"];
    await mirror.start([declared(digest, urls, "data", [["https://three.invalid/x"]])]);
    expect(await mirror.ask(target)).toMatchObject({ status: 200, body: CONTENT });
  });

  test("what is declared goes before what a marker says, and of two marked entries the newer one", async () => {
    const [old, newer] = [putEntry(cache, "old", ["https://h/x"]), putEntry(cache, "newer", ["https://h/x"])];
    utimesSync(entryFile(cache, old), 1, 1);
    await mirror.start();
    expect((await mirror.ask("/h/x")).body).toBe("newer");
    await mirror.serving!.close(0);
    utimesSync(entryFile(cache, newer), 1000, 1000);
    await mirror.start([declared(old, ["https://h/x"])]);
    expect((await mirror.ask("/h/x")).body).toBe("old");
  });

  test("by digest: the cache's own path, and a short one", async () => {
    const digests = (["sha1", "sha256", "sha384", "sha512", "blake3"] as const).map((algorithm) => putEntry(cache, CONTENT, [], algorithm));
    await mirror.start();
    for (const { algorithm, hex } of digests) {
      expect(await mirror.ask(`/content_addressable/${algorithm}/${hex}/file`)).toMatchObject({ status: 200, body: CONTENT });
      expect(await mirror.ask(`/${algorithm}/${hex}`)).toMatchObject({ status: 200, body: CONTENT });
      expect(await mirror.ask(`/${algorithm}/${hex.toUpperCase()}`)).toMatchObject({ status: 404 });
    }
  });

  test("nothing else of this machine", async () => {
    const digest = putEntry(cache, CONTENT, ["https://h/x"]);
    writeFileSync(path.join(cache, "secret"), "secret");
    writeFileSync(path.join(mirror.directory, "secret"), "secret");
    await mirror.start();
    const marker = markerName("https://h/x", "sha256");
    const below = `/content_addressable/sha256/${digest.hex}`;
    for (const target of [
      "/secret",
      "/../secret",
      "/%2e%2e/secret",
      "/..%2fsecret",
      "/content_addressable/../secret",
      "/content_addressable",
      "/content_addressable/",
      below,
      `${below}/`,
      `${below}/${marker}`,
      `${below}/../${digest.hex}/file`,
      `${below}/file/../../../../secret`,
      `${below}/file%00`,
      `${below}\\file`,
      "/etc/passwd",
      "//etc/passwd",
      "/file:///etc/passwd",
      "/sha256/..",
      "/h/x/",
      "/h/X",
      "/h/x?",
      "/%",
      "/%ff",
    ])
      expect([target, (await mirror.ask(target)).status]).toEqual([target, 404]);
    expect(await mirror.askRaw("http://h/x")).toMatch(/^HTTP\/1\.1 400 /);
    expect(await mirror.askRaw("*")).toMatch(/^HTTP\/1\.1 400 /);
  });

  test("a 404 says what to do", async () => {
    await mirror.start();
    const { status, body, headers } = await mirror.ask("/host/it's-gone.tgz");
    expect(status).toBe(404);
    expect(headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(body).toContain("bazel-cache seed FILE --url 'https://host/it%27s-gone.tgz'");
  });
});

describe("the page", () => {
  test("as JSON: what is there, with names and URLs where they are known", async () => {
    const [known, unknown] = [putEntry(cache, CONTENT), putEntry(cache, "unknown")];
    utimesSync(entryFile(cache, known), 1_600_000_000, 1_600_000_000);
    await mirror.start([declared(known, ["https://h/x"])]);
    const { headers, body } = await mirror.ask("/", { Accept: "application/json" });
    expect(headers["content-type"]).toBe("application/json");
    const { entries } = JSON.parse(body) as { entries: object[] };
    expect(entries).toEqual([
      {
        ...known,
        size: 10,
        lastUse: "2020-09-13T12:26:40.000Z",
        names: ["data"],
        urls: ["https://h/x"],
        path: `/content_addressable/sha256/${known.hex}/file`,
      },
      expect.objectContaining({ ...unknown, names: [], urls: [] }),
    ]);
  });

  test("as HTML: everything is escaped", async () => {
    const digest = putEntry(cache, CONTENT);
    await mirror.start([declared(digest, [`https://h/<img src="x" onerror='y'>&`], "<script>alert(1)</script>")]);
    const { headers, body } = await mirror.ask("/", { Host: "<b>" });
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
    expect(body).not.toMatch(/<(script|img|b)\b/);
    expect(body).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
    expect(body).toContain("https://h/&lt;img src=&quot;x&quot; onerror=&#39;y&#39;&gt;&amp;");
  });
});
