// Extended (pax) headers: records "length key=value\n" that say more of the next entry than its own header can hold.
import { decode, Refusal } from "./tar-header.js";

/** What they say that matters here. */
export interface Extended {
  path?: string;
  /** Bytes. */
  size?: number;
}

/** Throws a Refusal for what is malformed, and for what would make another file of the next entry. `global`: meant for all that follow, so that nothing may be said of one. */
export function parsePax(body: Buffer, global: boolean): Extended {
  const extended: Extended = {};
  for (let rest = body; rest.length > 0; ) {
    const [, digits] = /^([1-9]\d{0,8}) /.exec(rest.toString("latin1", 0, 10)) ?? [];
    const length = Number(digits);
    if (digits === undefined || length > rest.length || rest[length - 1] !== 0x0a) throw malformed();
    const record = rest.subarray(digits.length + 1, length - 1);
    const equals = record.indexOf("=");
    if (equals < 1) throw malformed();
    take(extended, decode(record.subarray(0, equals)), record.subarray(equals + 1), global);
    rest = rest.subarray(length);
  }
  return extended;
}

function take(extended: Extended, key: string, value: Buffer, global: boolean): void {
  if (key.startsWith("GNU.sparse.")) throw new Refusal(extended.path, "is a sparse file; make the tar without --sparse");
  if (key !== "path" && key !== "size") return;
  if (global) throw new Refusal(undefined, `has a global header that sets the ${key} of every entry`);
  if (extended[key] !== undefined) throw new Refusal(extended.path, `has an extended header with two values for ${key}`);
  if (key === "path") extended.path = decode(value);
  else {
    const digits = value.toString("latin1");
    if (!/^\d{1,16}$/.test(digits) || !Number.isSafeInteger(Number(digits))) throw new Refusal(extended.path, "has an impossible size");
    extended.size = Number(digits);
  }
}

function malformed(): Refusal {
  return new Refusal(undefined, "has a malformed extended header");
}
