// Netrc files, and whom their passwords are sent to.
import { describe, expect, test } from "vitest";
import { authorizationFor } from "./credentials.js";
import { lookup, parseNetrc } from "./netrc.js";

describe("a netrc file", () => {
  test.each([
    ["on one line", "machine a login l password p", [{ machine: "a", login: "l", password: "p" }]],
    ["on many", "machine A\r\n\tlogin l\r\n\tpassword p\r\n", [{ machine: "a", login: "l", password: "p" }]],
    ["with comments", "# machine x\nmachine a # login y\nlogin l password p#1", [{ machine: "a", login: "l", password: "p#1" }]],
    ["with quotes", 'machine a login "l l" password "p\\"\\\\\\n"', [{ machine: "a", login: "l l", password: 'p"\\\n' }]],
    ["with an account", "machine a login l account machine password p", [{ machine: "a", login: "l", password: "p" }]],
    ["with words as values", "machine machine login login password default", [{ machine: "machine", login: "login", password: "default" }]],
    [
      "with a default",
      "machine a login l password p\ndefault login d password q",
      [
        { machine: "a", login: "l", password: "p" },
        { login: "d", password: "q" },
      ],
    ],
    [
      "with a macro",
      "machine a login l password p\nmacdef init\ncd /pub\nmachine x login y password z\n\nmachine b login m password q",
      [
        { machine: "a", login: "l", password: "p" },
        { machine: "b", login: "m", password: "q" },
      ],
    ],
    ["with a macro to its end", "macdef init\nmachine x login y\n", []],
    ["that stops short", "machine a login", [{ machine: "a", login: "", password: "" }]],
    ["of nothing", "", []],
    ["of anything else", "\u0000 password login 5", []],
  ])("%s", (_name, text, expected) => expect(parseNetrc(text)).toEqual(expected));

  test("the first entry of a host counts, then the default, which no stranger gets", () => {
    const entries = parseNetrc("machine a login 1 password x default login 2 password x machine a login 3 password x");
    expect(lookup(entries, "A")?.login).toBe("1");
    expect(lookup(entries, "b")?.login).toBe("2");
    expect(lookup(entries, "b", true)).toBeUndefined();
  });
});

describe("the Authorization of a hop", () => {
  const netrc = parseNetrc("machine a.org login na password x\nmachine b.org login nb password x\ndefault login nd password x");
  test.each([
    ["netrc", ["https://a.org/"], "na:x"],
    ["the default", ["https://c.org/"], "nd:x"],
    ["the URL's own before netrc", ["https://us%40er:pw@a.org/"], "us@er:pw"],
    ["the first URL's on the same host", ["https://u:p@a.org/1", "https://a.org/2"], "u:p"],
    ["also from http up to https", ["http://u:p@a.org/1", "https://a.org/2"], "u:p"],
    ["not another port", ["https://u:p@c.org/", "https://c.org:444/"], undefined],
    ["not another host", ["https://u:p@c.org/", "https://d.org/"], undefined],
    ["another host's own of netrc", ["https://u:p@c.org/", "https://b.org/"], "nb:x"],
    ["back on the first host", ["https://u:p@c.org/1", "https://d.org/", "https://c.org/2"], "u:p"],
    ["the default not behind a redirect", ["https://a.org/", "https://d.org/"], undefined],
    ["nothing in the clear behind https", ["https://u:p@a.org/", "http://a.org/"], undefined],
    ["nothing of netrc in the clear behind https", ["https://a.org/", "http://b.org/"], undefined],
  ])("%s", (_name, trail, expected) => {
    const header = authorizationFor(
      trail.map((url) => new URL(url)),
      netrc,
    );
    expect(header && Buffer.from(header.replace("Basic ", ""), "base64").toString()).toBe(expected);
  });
});
