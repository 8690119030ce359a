// Shadow-stack frames that nobody looks at. AssemblyScript writes every managed value a function holds to the shadow stack, for the garbage collector. The
// collector only runs where something is allocated (or where a coroutine is suspended), so a function that can reach neither needs no frame at all.
import { type Expression, type Module, binaryen, callGraph, definedFunctions, kindOf, read, setBody, walk } from "../ir.js";

const STACK = "~lib/memory/__stack_pointer";

/** Imports during which the host never calls `malloc`: they return nothing but a status. */
const QUIET = /\/abi\/(log|getLogLevel|addValue|replaceValue|removeValue|setBuffer|getBufferStatus|sendLocalResponse|continueStream|closeStream|setEffectiveContext|httpCall|getTime)$/;

/** These move the stack pointer themselves. */
const MANUAL = /\/runtime\/coroutine\//;

export function removeUnneededFrames(m: Module): void {
  const graph = callGraph(m);
  const defined = new Map(definedFunctions(m).map((f) => [f.name, f]));
  const collects = new Set<string>();
  const callers = new Map<string, string[]>();
  for (const [name, callees] of graph.callees) {
    for (const callee of callees) callers.set(callee, [...(callers.get(callee) ?? []), name]);
    if (/\/rt\/itcms\/(__new|__renew|__collect|step|interrupt)$/.test(name) || /\/coroutine\/suspend$/.test(name)) collects.add(name);
  }
  for (const callee of callers.keys()) if (!defined.has(callee) && !QUIET.test(callee)) collects.add(callee);
  const queue = [...collects];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    for (const caller of callers.get(name) ?? []) {
      if (collects.has(caller)) continue;
      collects.add(caller);
      queue.push(caller);
    }
  }
  for (const f of defined.values()) {
    if (collects.has(f.name) || MANUAL.test(f.name) || f.name.startsWith("~stack") || hasIndirectCall(f.body)) continue;
    const body = walk(f.body, { leave: (e) => withoutFrame(m, e) });
    if (body !== f.body) setBody(f, body);
  }
}

function withoutFrame(m: Module, e: Expression): Expression {
  switch (kindOf(e)) {
    case "GlobalSet":
      return globalName(e) === STACK ? m.nop() : e;
    case "Call":
      return callName(e) === "~stack_check" ? m.nop() : e;
    case "Store":
      return isStackPointer(read(e, "getPtr")) ? m.drop(read(e, "getValue")) : e;
    case "MemoryFill":
      return isStackPointer(read(e, "getDest")) ? m.nop() : e;
    default:
      return e;
  }
}

function isStackPointer(e: Expression): boolean {
  return binaryen.getExpressionId(e) === binaryen.GlobalGetId && (binaryen.getExpressionInfo(e as never) as unknown as { name: string }).name === STACK;
}

function globalName(e: Expression): string {
  return (binaryen.getExpressionInfo(e as never) as unknown as { name: string }).name;
}

function callName(e: Expression): string {
  return (binaryen.getExpressionInfo(e as never) as unknown as { target: string }).target;
}

function hasIndirectCall(body: Expression): boolean {
  let found = false;
  walk(body, {
    leave(e) {
      if (kindOf(e) === "CallIndirect") found = true;
      return e;
    },
  });
  return found;
}
