// Behind a syntax error: where the next top-level statement starts.
import { stringEnd } from "./literals.js";

/** Of a statement that does not parse, only this matters. */
const LANDMARK = /"""|'''|["'#\n([{)\]}]/g;
/** A line that starts a statement even where a bracket seems open: then the bracket is what is wrong. */
const STATEMENT = /(?:def|load|for|if)\b|[A-Za-z_][\w.]*(?:\(|\s*[-+|]?=(?!=))/y;
/** A line that goes on with the statement before it. */
const CONTINUED = /(?:else|elif)\b|[\s#)\]}]/y;

/**
 * The offset of the top-level statement behind the broken one that begins at `began`. It looks there and not behind the token that was not
 * expected: an open bracket is noticed late, when what follows has been read as a part of it.
 */
export function nextStatement(source: string, began: number): number {
  let brackets = 0;
  LANDMARK.lastIndex = began;
  for (let found = LANDMARK.exec(source); found !== null; found = LANDMARK.exec(source)) {
    const [mark] = found;
    const behind = LANDMARK.lastIndex;
    if (mark === "\n") {
      if (startsStatement(source, behind, brackets)) return behind;
    } else if (mark === "#") {
      const end = source.indexOf("\n", behind);
      LANDMARK.lastIndex = end === -1 ? source.length : end;
    } else if (mark.startsWith('"') || mark.startsWith("'")) {
      const end = stringEnd(source, behind, mark[0]!, mark.length === 3);
      if (end !== undefined) LANDMARK.lastIndex = end + mark.length;
    } else brackets = "([{".includes(mark) ? brackets + 1 : Math.max(0, brackets - 1);
  }
  return source.length;
}

function startsStatement(source: string, at: number, brackets: number): boolean {
  if (at >= source.length || (at > 0 && source[at - 1] !== "\n") || matches(CONTINUED, source, at)) return false;
  return brackets === 0 || matches(STATEMENT, source, at);
}

function matches(pattern: RegExp, source: string, at: number): boolean {
  pattern.lastIndex = at;
  return pattern.test(source);
}

const ASSIGNED = /def\s+([A-Za-z_]\w*)|([A-Za-z_]\w*)\s*=(?!=)/y;

/** The name that the statement at `at` would have bound, as far as one can tell without parsing it. */
export function nameBound(source: string, at: number): string | undefined {
  ASSIGNED.lastIndex = at;
  const found = ASSIGNED.exec(source);
  return found?.[1] ?? found?.[2];
}
