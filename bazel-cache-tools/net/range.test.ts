// What is asked for and what an answer is, header by header; transfer.test.ts does it with bytes.
import { describe, expect, test } from "vitest";
import { askForRest, isResumable, judge, metaOf } from "./range.js";

const date = "Wed, 01 Jan 2020 00:00:10 GMT";

describe("validators", () => {
  test.each([
    [{ etag: '"a"' }, { etag: '"a"' }],
    [{ etag: 'W/"a"' }, {}],
    [{ etag: "a" }, {}],
    [{ etag: '"a"x"' }, {}],
    [{ "last-modified": "Wed, 01 Jan 2020 00:00:09 GMT", date }, { lastModified: "Wed, 01 Jan 2020 00:00:09 GMT" }],
    [{ "last-modified": date, date }, {}],
    [{ "last-modified": "Wed, 01 Jan 2020 00:00:00 GMT" }, {}],
    [{ "last-modified": "long ago", date }, {}],
    [{ "accept-ranges": "none" }, { noRanges: true }],
    [{ "accept-ranges": "bytes" }, {}],
  ])("of %j", (headers, expected) => expect(metaOf("u", headers, undefined)).toEqual({ url: "u", ...expected }));
});

describe("the request for the rest", () => {
  test.each([
    ["nothing is there", 0, { url: "u", etag: '"a"' }, true, undefined],
    ["ETag before date", 5, { url: "u", etag: '"a"', lastModified: date }, false, { range: "bytes=5-", "if-range": '"a"' }],
    ["date", 5, { url: "u", lastModified: date }, false, { range: "bytes=5-", "if-range": date }],
    ["no validator, no digest", 5, { url: "u" }, false, undefined],
    ["no validator, digest", 5, { url: "u" }, true, { range: "bytes=5-" }],
    ["no ranges", 5, { url: "u", noRanges: true }, true, undefined],
    ["another mirror, digest: its validator says nothing here", 5, { url: "v", etag: '"a"', noRanges: true }, true, { range: "bytes=5-" }],
    ["another mirror, no digest", 5, { url: "v", etag: '"a"' }, false, undefined],
  ])("%s", (_name, offset, meta, verified, expected) => expect(askForRest({ offset, meta }, "u", verified)).toEqual(expected));

  test("a partial file is worth keeping where one could be made", () => {
    expect(isResumable({ offset: 0, meta: { etag: '"a"' } }, true)).toBe(false);
    expect(isResumable({ offset: 1, meta: {} }, true)).toBe(true);
    expect(isResumable({ offset: 1, meta: {} }, false)).toBe(false);
    expect(isResumable({ offset: 1, meta: { lastModified: date } }, false)).toBe(true);
  });
});

describe("an answer", () => {
  const held = { offset: 5, meta: { url: "u", etag: '"a"', total: 9 } };
  test.each([
    [200, { "content-length": "9" }, "whole"],
    [203, {}, "whole"],
    [206, { "content-range": "bytes 5-8/9" }, "rest"],
    [206, { "content-range": "bytes 5-6/9" }, "rest"],
    [206, { "content-range": "bytes 5-8/*" }, "rest"],
    [206, { "content-range": "Bytes 5-8/9", etag: '"a"' }, "rest"],
    [206, { "content-range": "bytes 4-8/9" }, "again"],
    [206, { "content-range": "bytes 5-9/10" }, "again"],
    [206, { "content-range": "bytes 5-4/9" }, "again"],
    [206, { "content-range": "bytes 5-8/9", etag: '"b"' }, "again"],
    [206, { "content-range": "lines 5-8/9" }, "again"],
    [206, { "content-type": "multipart/byteranges; boundary=x" }, "again"],
    [416, { "content-range": "bytes */5" }, "again"],
  ])("%i %j: %s", (status, headers, kind) => expect(judge({ status, headers }, true, held, "u").kind).toBe(kind));

  test("of another mirror may have another tag, but no other size", () => {
    const answer = (total: number) => ({ status: 206, headers: { etag: '"b"', "content-range": `bytes 5-8/${total}` } });
    expect(judge(answer(9), true, held, "v")).toEqual({ kind: "rest", meta: { url: "v", etag: '"b"', total: 9 } });
    expect(judge(answer(10), true, held, "v").kind).toBe("again");
  });

  test("keeps the validators that a 206 leaves out", () => {
    expect(judge({ status: 206, headers: { "content-range": "bytes 5-8/*" } }, true, held, "u")).toEqual({ kind: "rest", meta: held.meta });
  });

  test.each([[206], [416], [404], [100], [304]])("%i to a question for the whole carries no file", (status) => {
    expect(() => judge({ status, headers: {} }, false, held, "u")).toThrow();
  });

  test("its Retry-After counts where the status passes", () => {
    const failure = (status: number) => {
      try {
        judge({ status, headers: { "retry-after": "7" } }, false, held, "u");
      } catch (error) {
        return error;
      }
    };
    expect(failure(503)).toMatchObject({ details: { retryAfter: 7000 } });
    expect(failure(404)).not.toMatchObject({ details: { retryAfter: 7000 } });
  });
});
