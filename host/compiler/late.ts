// Whether a filter looks at the request after its headers went on: then they have to be copied first. Decided from the source, and in doubt: yes.
import ts from "typescript";

/**
 * Whether a filter may read the request after it let it go. Only what is plainly harmless counts as no: `next()` called in the body of `handle` itself, and behind it
 * neither `request`, nor a variable that was made from it before, nor the stream as a whole.
 */
export function looksBack(node: ts.ClassDeclaration, linear: boolean): boolean {
  const methods = node.members.filter(ts.isMethodDeclaration);
  if (!linear) return methods.some((m) => m.name.getText() !== "onRequestHeaders" && mentions(m, (n) => ts.isIdentifier(n) && n.text === "request"));
  const handle = methods.find((m) => m.name.getText() === "handle");
  const stream = handle?.parameters[0]?.name.getText();
  const last = handle?.body?.statements.findIndex((s) => isNext(s, stream)) ?? -1;
  if (!handle?.body || stream === undefined || last < 0) return true;
  // Another next() may be anywhere: in another method, in a loop, in a function the stream was given to.
  const calls = (n: ts.Node) => ts.isPropertyAccessExpression(n) && n.name.text === "next" && n.expression.getText() === stream;
  let count = 0;
  mentions(node, (n) => {
    if (calls(n)) count++;
    return false;
  });
  if (count !== 1) return true;
  const before = handle.body.statements.slice(0, last);
  const after = handle.body.statements.slice(last + 1);
  const suspicious = new Set<string>();
  for (const statement of before) {
    mentions(statement, (n) => {
      if (
        ts.isVariableDeclaration(n) &&
        n.initializer &&
        mentions(n.initializer, (i) => ts.isIdentifier(i) && (i.text === "request" || (!isMemberName(i) && (i.text === stream || suspicious.has(i.text))))) &&
        !copies(n.initializer)
      )
        suspicious.add(n.name.getText());
      return false;
    });
    // Put away where it can be found again: a field, a global, an argument.
    if (mentions(statement, (n) => givesAway(n, stream) || [...suspicious].some((name) => givesAway(n, name)) || escapes(n))) return true;
  }
  return after.some((s) =>
    mentions(s, (n) => (ts.isIdentifier(n) && (n.text === "request" || (suspicious.has(n.text) && !isMemberName(n)))) || givesAway(n, stream)),
  );
}

/** `b` in `a.b`: not a variable. */
function isMemberName(n: ts.Identifier): boolean {
  return ts.isPropertyAccessExpression(n.parent) && n.parent.name === n;
}

function isNext(s: ts.Statement, stream: string | undefined): boolean {
  return ts.isExpressionStatement(s) && ts.isCallExpression(s.expression) && s.expression.expression.getText() === `${stream}.next`;
}

/** The variable itself, not something of it: passed on, returned or assigned. */
function givesAway(n: ts.Node, name: string): boolean {
  if (!ts.isIdentifier(n) || n.text !== name) return false;
  if (ts.isVariableDeclaration(n.parent) && n.parent.name === n) return false;
  return !(ts.isPropertyAccessExpression(n.parent) && (n.parent.expression === n || n.parent.name === n));
}

/** `stream.request` or `….headers` as a value that is neither looked into nor kept in a variable. */
function escapes(n: ts.Node): boolean {
  if (!ts.isPropertyAccessExpression(n) || !["request", "headers", "body", "trailers"].includes(n.name.text)) return false;
  return !ts.isPropertyAccessExpression(n.parent) && !ts.isVariableDeclaration(n.parent);
}

/** Calls whose results are copies: text, lists, answers. What they were made from can be forgotten. */
const COPIES = new Set(["get", "getAll", "getBytes", "has", "pick", "entries", "text", "bytes", "json", "fetch", "send", "fetchAll"]);

function copies(e: ts.Expression): boolean {
  if (ts.isParenthesizedExpression(e)) return copies(e.expression);
  if (ts.isCallExpression(e) && ts.isPropertyAccessExpression(e.expression)) return COPIES.has(e.expression.name.text);
  return ts.isPropertyAccessExpression(e) && ["method", "path", "host", "scheme", "query", "length", "status"].includes(e.name.text);
}

function mentions(node: ts.Node, test: (n: ts.Node) => boolean): boolean {
  let found = false;
  const visit = (n: ts.Node): void => {
    if (test(n)) found = true;
    ts.forEachChild(n, visit);
  };
  visit(node);
  return found;
}
