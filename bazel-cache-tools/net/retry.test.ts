// Pauses and numbers of tries.
import { describe, expect, test } from "vitest";
import { networkFailure, report, TransferError, withoutSecrets } from "./failure.js";
import { isPassing, pause, retryAfter, triesFor, wait } from "./retry.js";

const now = Date.parse("Wed, 01 Jan 2020 00:00:00 GMT");

describe("Retry-After", () => {
  test.each([
    ["3", 3000],
    ["0", 0],
    ["99999", 120_000],
    ["Wed, 01 Jan 2020 00:00:05 GMT", 5000],
    ["Wed, 01 Jan 2020 12:00:00 GMT", 120_000],
    ["Tue, 31 Dec 2019 00:00:00 GMT", 0],
    ["soon", undefined],
    [undefined, undefined],
  ])("%s is %s ms", (text, expected) => expect(retryAfter(text, now)).toBe(expected));
});

test("pauses double up to the most, anywhere from nothing on", () => {
  for (const [tries, most] of [
    [1, 100],
    [2, 200],
    [3, 400],
    [4, 500],
    [99, 500],
  ] as const) {
    const pauses = Array.from({ length: 300 }, () => pause(tries, { first: 100, most: 500 }));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(most);
    expect(Math.max(...pauses)).toBeGreaterThan(most * 0.8);
    expect(Math.min(...pauses)).toBeLessThan(most * 0.2);
  }
});

test("a wait ends with the signal", async () => {
  await expect(wait(1e6, AbortSignal.abort())).rejects.toMatchObject({ kind: "aborted" });
});

test("statuses that pass", () => expect([400, 401, 403, 404, 408, 410, 429, 500, 503, 599, 600].filter(isPassing)).toEqual([403, 408, 429, 500, 503, 599]));

test.each([
  [new TransferError("refused", ""), 7],
  [new TransferError("tls", ""), 2],
  [new TransferError("unknown-host", ""), 2],
  [networkFailure(Object.assign(new Error("getaddrinfo EAI_AGAIN"), { code: "EAI_AGAIN" })), 7],
  [new TransferError("html", ""), 2],
  [new TransferError("status", "", { status: 404 }), 1],
  [new TransferError("status", "", { status: 500 }), 7],
  [new TransferError("proxy", "", { status: 407 }), 1],
  [new TransferError("proxy", "", { status: 503 }), 7],
  [new TransferError("disk", ""), 1],
])("%o is worth its number of tries", (failure, expected) => {
  expect(triesFor(failure, 7)).toBe(expected);
  expect(triesFor(failure, 1)).toBe(1);
});

test.each([
  ["ECONNREFUSED", "refused"],
  ["ECONNRESET", "reset"],
  ["EHOSTUNREACH", "unreachable"],
  ["ETIMEDOUT", "connect-timeout"],
  ["CERT_HAS_EXPIRED", "tls"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "tls"],
  ["HPE_INVALID_CONSTANT", "not-http"],
  ["EMFILE", "other"],
])("%s is %s", (code, kind) => expect(networkFailure(Object.assign(new Error("some\nlines"), { code })).kind).toBe(kind));

describe("a report", () => {
  test("is one line, without secrets", () => {
    const failure = report("https://user:secret@a.org/x?y", new TransferError("status", "the server\nanswers 401", { status: 401 }), 3);
    expect(failure).toEqual({
      url: "https://a.org/x?y",
      kind: "status",
      status: 401,
      message: "https://a.org/x?y: the server answers 401, 3 tries; put credentials into ~/.netrc",
    });
  });

  test("of what is no URL", () => expect(withoutSecrets("ht tp://user:secret@a.org")).toBe("ht tp://a.org"));
});
