// Shadow-stack slots that nobody looks at. AssemblyScript writes every managed value a function holds, and every one it passes on, to the shadow stack, for the
// garbage collector. The collector only runs where something is allocated (or where a coroutine is suspended): a function that can reach neither needs no frame
// at all, and what is passed to such a function needs no slot.
import {
  binaryen,
  callGraph,
  callTarget,
  childAt,
  definedFunctions,
  type Expression,
  globalName,
  kindOf,
  type Module,
  operandAt,
  read,
  recursive,
  setBody,
  setChildAt,
  walk,
} from "../ir.js";

const STACK = "~lib/memory/__stack_pointer";

/** Imports during which the host never calls `malloc`: they return nothing but a status. */
const QUIET =
  /\/abi\/(log|getLogLevel|addValue|replaceValue|removeValue|setBuffer|getBufferStatus|sendLocalResponse|continueStream|closeStream|setEffectiveContext|httpCall|getTime)$/;

/** These move the stack pointer themselves. */
const MANUAL = /\/runtime\/coroutine\//;

/** Shadow stack that functions which do not recurse need all together, at most: the checks of the others leave it free. */
const MARGIN = 8 * 1024;

/**
 * The shadow stack is checked where it could run out: in functions that recurse and in the author's own. The check of all others, in every call, is left out.
 */
export function checkStackOnce(m: Module): void {
  const loops = recursive(callGraph(m));
  for (const f of definedFunctions(m)) {
    if (f.name === "~stack_check") {
      const body = walk(f.body, {
        leave: (e) =>
          binaryen.getExpressionId(e) === binaryen.GlobalGetId && globalName(e) === "~lib/memory/__data_end" ? m.i32.add(e, m.i32.const(MARGIN)) : e,
      });
      if (body !== f.body) setBody(f, body);
    } else if (f.name.startsWith("~lib/") && !loops.has(f.name) && !loops.has(f.name.replace(/\|body$/, ""))) {
      const body = walk(f.body, { leave: (e) => (kindOf(e) === "Call" && callTarget(e) === "~stack_check" ? m.nop() : e) });
      if (body !== f.body) setBody(f, body);
    }
  }
}

export function removeUnneededFrames(m: Module): void {
  const graph = callGraph(m);
  const defined = new Map(definedFunctions(m).map((f) => [f.name, f]));
  const collects = new Set<string>();
  const callers = new Map<string, string[]>();
  for (const [name, callees] of graph.callees) {
    for (const callee of callees) callers.set(callee, [...(callers.get(callee) ?? []), name]);
    if (/\/runtime\/heap\/collect$/.test(name) || /\/coroutine\/suspend$/.test(name)) collects.add(name);
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
    if (MANUAL.test(f.name) || f.name.startsWith("~stack")) continue;
    const quiet = !collects.has(f.name) && !hasIndirectCall(f.body);
    const body = walk(f.body, {
      leave(e) {
        if (quiet) return withoutFrame(m, e);
        if (kindOf(e) === "Call" && !collects.has(callTarget(e))) dropArgumentSlots(m, e, collects);
        return e;
      },
    });
    if (body !== f.body) setBody(f, body);
  }
}

function withoutFrame(m: Module, e: Expression): Expression {
  switch (kindOf(e)) {
    case "GlobalSet":
      return globalName(e) === STACK ? m.nop() : e;
    case "Call":
      return callTarget(e) === "~stack_check" ? m.nop() : e;
    case "Store":
      return isStackPointer(read(e, "getPtr")) ? m.drop(read(e, "getValue")) : e;
    case "MemoryFill":
      return isStackPointer(read(e, "getDest")) ? m.nop() : e;
    default:
      return e;
  }
}

/**
 * An argument is stored as `(block (local.set $t …) (store slot $t) (local.get $t))`. The callee collects nothing; if no argument evaluated after this one does
 * either, the slot is never looked at.
 */
function dropArgumentSlots(m: Module, call: Expression, collects: Set<string>): void {
  for (let i = read(call, "getNumOperands") - 1; i >= 0; i--) {
    const operand = operandAt(call, i);
    if (kindOf(operand) === "Block" && read(operand, "getNumChildren") === 3) {
      const store = childAt(operand, 1);
      if (kindOf(store) === "Store" && isStackPointer(read(store, "getPtr")) && binaryen.getExpressionId(read(store, "getValue")) === binaryen.LocalGetId)
        setChildAt(operand, 1, m.nop());
    }
    if (collectsIn(operand, collects)) return;
  }
}

function collectsIn(e: Expression, collects: Set<string>): boolean {
  let found = false;
  walk(e, {
    leave(inner) {
      const kind = kindOf(inner);
      if (kind === "CallIndirect" || (kind === "Call" && collects.has(callTarget(inner)))) found = true;
      return inner;
    },
  });
  return found;
}

function isStackPointer(e: Expression): boolean {
  return binaryen.getExpressionId(e) === binaryen.GlobalGetId && globalName(e) === STACK;
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
