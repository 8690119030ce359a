// Texts of HTTP are byte strings here (one character per byte); configuration and people have Unicode.

// biome-ignore lint/suspicious/noControlCharactersInRegex: everything that is one byte in UTF-8 too.
const ASCII = /^[\x00-\x7f]*$/;

/** RFC 9110 5.6.2: what a header's name is made of. */
export const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export const toUnicode = (bytes: string): string => (ASCII.test(bytes) ? bytes : Buffer.from(bytes, "latin1").toString("utf8"));

export const toByteString = (text: string): string => (ASCII.test(text) ? text : Buffer.from(text, "utf8").toString("latin1"));
