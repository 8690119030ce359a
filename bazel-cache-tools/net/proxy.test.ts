// Which proxy the environment names for a URL.
import { describe, expect, test } from "vitest";
import { type Env, isExempt, parseProxy, proxyFor } from "./proxy.js";

describe("the proxy of a URL", () => {
  test.each<[string, string, Env, string | undefined]>([
    ["none", "http://a/", {}, undefined],
    ["http_proxy", "http://a/", { http_proxy: "http://p:1" }, "p:1"],
    ["not that of the other scheme", "https://a/", { http_proxy: "http://p:1" }, undefined],
    ["lower case first", "http://a/", { http_proxy: "p:1", HTTP_PROXY: "q:2" }, "p:1"],
    ["upper case", "http://a/", { HTTP_PROXY: "q:2" }, "q:2"],
    ["not upper case inside a CGI", "http://a/", { HTTP_PROXY: "q:2", REQUEST_METHOD: "GET" }, undefined],
    ["HTTPS_PROXY", "https://a/", { HTTPS_PROXY: "q:2", REQUEST_METHOD: "GET" }, "q:2"],
    ["all_proxy for what has none", "https://a/", { http_proxy: "p:1", all_proxy: "r:3" }, "r:3"],
    ["ALL_PROXY", "http://a/", { ALL_PROXY: "socks5h://r" }, "r:1080"],
    ["an empty variable switches off", "http://a/", { http_proxy: "", all_proxy: "r:3" }, undefined],
    ["no_proxy", "http://a/", { http_proxy: "p:1", no_proxy: "a", NO_PROXY: "" }, undefined],
    ["NO_PROXY", "http://a/", { http_proxy: "p:1", NO_PROXY: "a" }, undefined],
  ])("%s", (_name, url, env, expected) => expect(proxyFor(new URL(url), env)?.shown).toBe(expected));

  test.each([
    ["p", { scheme: "http", host: "p", port: 80 }],
    ["https://p", { scheme: "https", port: 443 }],
    ["socks5://[::1]:9", { scheme: "socks", host: "::1", port: 9, shown: "[::1]:9" }],
    ["http://us%40er:p%3Aw@p:8", { user: "us@er", password: "p:w", shown: "p:8" }],
    ["us:pw@p:8", { user: "us", password: "pw", port: 8 }],
  ])("%s", (text, expected) => expect(parseProxy(text)).toMatchObject(expected));

  test.each(["ftp://p", "http://", "user:secret@:80"])("%s is none, and says so without its password", (text) => {
    expect(() => parseProxy(text)).toThrow(/^(?!.*secret).*is no URL of/);
  });
});

describe("NO_PROXY", () => {
  test.each([
    ["*", "http://any/", true],
    ["a.org", "http://a.org/", true],
    ["a.org", "http://A.ORG./", true],
    ["a.org", "http://b.a.org/", true],
    ["a.org", "http://ba.org/", false],
    [".a.org", "http://b.a.org/", true],
    ["*.a.org", "http://b.a.org/", true],
    ["x, a.org", "http://a.org/", true],
    ["x a.org", "http://a.org/", true],
    ["a.org:8080", "http://a.org:8080/", true],
    ["a.org:8080", "http://a.org/", false],
    ["a.org:443", "https://a.org/", true],
    ["127.0.0.1", "http://127.0.0.1:5/", true],
    ["0.0.1", "http://127.0.0.1/", false],
    ["10.0.0.0/8", "http://10.1.2.3/", true],
    ["10.0.0.0/8", "http://11.1.2.3/", false],
    ["10.0.0.0/40", "http://10.1.2.3/", false],
    ["10.0.0.0/8", "http://ten.org/", false],
    ["::1", "http://[::1]/", true],
    ["[::1]:80", "http://[::1]/", true],
    ["[::1]:81", "http://[::1]/", false],
    ["fe80::/10", "http://[fe80::5]/", true],
    ["", "http://a/", false],
    [",.,", "http://a/", false],
  ])("%s for %s: %s", (list, url, expected) => expect(isExempt(new URL(url), list)).toBe(expected));
});
