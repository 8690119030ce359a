// Binaryen IR: the children of every kind of expression the compiler emits, in the order in which their code is written, and a rewriting walk over them.
import binaryen from "assemblyscript/binaryen";

export type Module = binaryen.Module;
export type Expression = number;
export { binaryen };

/** Accessors of an expression class: binaryen.js has them as statics (`If.getCondition`, `Block.getChildAt` …). */
type Accessors = Record<string, (...args: number[]) => number>;
const classes = binaryen as unknown as Record<string, Accessors>;

interface Shape {
  /** Single children by accessor name. */
  one?: string[];
  /** A list: [count accessor, element accessor], before (`first`) or after the single children. */
  many?: [string, string];
  first?: boolean;
}

const SHAPES: Record<string, Shape> = {
  Block: { many: ["NumChildren", "ChildAt"] },
  If: { one: ["Condition", "IfTrue", "IfFalse"] },
  Loop: { one: ["Body"] },
  Break: { one: ["Value", "Condition"] },
  Switch: { one: ["Value", "Condition"] },
  Call: { many: ["NumOperands", "OperandAt"] },
  CallIndirect: { many: ["NumOperands", "OperandAt"], first: true, one: ["Target"] },
  LocalSet: { one: ["Value"] },
  GlobalSet: { one: ["Value"] },
  Load: { one: ["Ptr"] },
  Store: { one: ["Ptr", "Value"] },
  Unary: { one: ["Value"] },
  Binary: { one: ["Left", "Right"] },
  Select: { one: ["IfTrue", "IfFalse", "Condition"] },
  Drop: { one: ["Value"] },
  Return: { one: ["Value"] },
  MemoryGrow: { one: ["Delta"] },
  MemoryCopy: { one: ["Dest", "Source", "Size"] },
  MemoryFill: { one: ["Dest", "Value", "Size"] },
  MemoryInit: { one: ["Dest", "Offset", "Size"] },
  Throw: { many: ["NumOperands", "OperandAt"] },
  Try: { one: ["Body"], many: ["NumCatchBodies", "CatchBodyAt"] },
  SIMDExtract: { one: ["Vec"] },
  SIMDReplace: { one: ["Vec", "Value"] },
  SIMDShuffle: { one: ["Left", "Right"] },
  SIMDTernary: { one: ["A", "B", "C"] },
  SIMDShift: { one: ["Vec", "Shift"] },
  SIMDLoad: { one: ["Ptr"] },
  SIMDLoadStoreLane: { one: ["Ptr", "Vec"] },
  AtomicRMW: { one: ["Ptr", "Value"] },
  AtomicCmpxchg: { one: ["Ptr", "Expected", "Replacement"] },
};

interface Kind {
  name: string;
  accessors: Accessors;
  slots: { get(e: number): number; set(e: number, child: number): void }[];
  count?: (e: number) => number;
  getAt?: (e: number, i: number) => number;
  setAt?: (e: number, i: number, child: number) => void;
  first: boolean;
}

const kinds = new Map<number, Kind>();
for (const [name, shape] of Object.entries(SHAPES)) {
  const accessors = classes[name]!;
  const id = (binaryen as unknown as Record<string, number>)[`${name}Id`];
  if (id === undefined) continue;
  const call = (method: string) => {
    const found = accessors[method];
    if (!found) throw new Error(`binaryen has no ${name}.${method}`);
    return found;
  };
  const kind: Kind = {
    name,
    accessors,
    slots: (shape.one ?? []).map((slot) => ({ get: call(`get${slot}`), set: call(`set${slot}`) })),
    first: shape.first ?? false,
  };
  if (shape.many) {
    kind.count = call(`get${shape.many[0]}`);
    kind.getAt = call(`get${shape.many[1]}`);
    kind.setAt = call(`set${shape.many[1]}`);
  }
  kinds.set(id, kind);
}

/** Name of an expression's class: "Call", "Loop" … or "" for those without children. */
export function kindOf(e: Expression): string {
  return kinds.get(binaryen.getExpressionId(e))?.name ?? "";
}

/** An accessor of an expression's class, by name. */
export function read(e: Expression, accessor: string): number {
  return kinds.get(binaryen.getExpressionId(e))!.accessors[accessor]!(e);
}

export function callTarget(e: Expression): string {
  return (classes.Call as unknown as { getTarget(e: number): string }).getTarget(e);
}

const lists = binaryen as unknown as {
  Call: { getOperandAt(e: number, i: number): number; setOperandAt(e: number, i: number, operand: number): void };
  Block: { getChildAt(e: number, i: number): number; setChildAt(e: number, i: number, child: number): void };
};

/** The i-th argument of a call. */
export const operandAt = (call: Expression, i: number): Expression => lists.Call.getOperandAt(call, i);
export const setOperandAt = (call: Expression, i: number, operand: Expression): void => lists.Call.setOperandAt(call, i, operand);
/** The i-th expression of a block. */
export const childAt = (block: Expression, i: number): Expression => lists.Block.getChildAt(block, i);
export const setChildAt = (block: Expression, i: number, child: Expression): void => lists.Block.setChildAt(block, i, child);

/** The global that a global.get or global.set is about. */
export function globalName(e: Expression): string {
  return (binaryen.getExpressionInfo(e as never) as unknown as { name: string }).name;
}

/** The local that a local.get or local.set is about. */
export function localIndex(e: Expression): number {
  return (binaryen.getExpressionInfo(e as never) as unknown as { index: number }).index;
}

export interface Visitor {
  /** Before the children; for what is written before them (loops). */
  enter?(e: Expression): void;
  /** After the children; the result takes the expression's place. */
  leave(e: Expression): Expression;
}

/** Visits what will be written: code behind an expression that never returns is dropped by the binary writer, so it is not visited either. */
export function walk(e: Expression, visitor: Visitor): Expression {
  if (!e) return e;
  visitor.enter?.(e);
  const kind = kinds.get(binaryen.getExpressionId(e));
  if (kind) {
    const dead =
      kind.first || !kind.slots.length ? walkList(e, kind, visitor) || walkSlots(e, kind, visitor) : walkSlots(e, kind, visitor) || walkList(e, kind, visitor);
    if (dead && kind.name !== "Block") return e;
  }
  return visitor.leave(e);
}

function walkSlots(e: Expression, kind: Kind, visitor: Visitor): boolean {
  const structured = kind.name === "If" || kind.name === "Loop" || kind.name === "Try";
  for (const [i, slot] of kind.slots.entries()) {
    const child = slot.get(e);
    if (!child) continue;
    const never = binaryen.getExpressionType(child) === binaryen.unreachable;
    const replaced = walk(child, visitor);
    if (replaced !== child) slot.set(e, replaced);
    // An arm of an if may never return; a condition or operand that never returns makes the rest dead.
    if (never && !(structured && (kind.name !== "If" || i > 0))) return true;
  }
  return false;
}

function walkList(e: Expression, kind: Kind, visitor: Visitor): boolean {
  if (!kind.count) return false;
  for (let i = 0, n = kind.count(e); i < n; i++) {
    const child = kind.getAt!(e, i);
    const never = binaryen.getExpressionType(child) === binaryen.unreachable;
    const replaced = walk(child, visitor);
    if (replaced !== child) kind.setAt!(e, i, replaced);
    if (never && kind.name !== "Try") return true;
  }
  return false;
}

export interface DefinedFunction {
  name: string;
  ref: number;
  params: number;
  results: number;
  vars: number[];
  body: Expression;
}

/** Every function with a body, in the module's (and the binary's) order. */
export function definedFunctions(m: Module): DefinedFunction[] {
  const list: DefinedFunction[] = [];
  for (let i = 0; i < m.getNumFunctions(); i++) {
    const ref = m.getFunctionByIndex(i);
    const info = binaryen.getFunctionInfo(ref);
    if (info.module) continue;
    list.push({ name: info.name, ref, params: info.params, results: info.results, vars: info.vars as number[], body: info.body });
  }
  return list;
}

export function setBody(f: DefinedFunction, body: Expression): void {
  (binaryen as unknown as { Function: { setBody(f: number, body: number): void } }).Function.setBody(f.ref, body);
  f.body = body;
}

/** Adds a local variable, zero at first; returns its index. */
export function addLocal(f: DefinedFunction, type: number): number {
  f.vars.push(type);
  return (binaryen as unknown as { _BinaryenFunctionAddVar(f: number, type: number): number })._BinaryenFunctionAddVar(f.ref, type);
}

export interface CallGraph {
  /** Callees by caller. A call through the table may reach every function in it. */
  callees: Map<string, Set<string>>;
}

export function callGraph(m: Module): CallGraph {
  const table = tableFunctions(m);
  const callees = new Map<string, Set<string>>();
  for (const f of definedFunctions(m)) {
    const set = new Set<string>();
    walk(f.body, {
      leave(e) {
        const kind = kindOf(e);
        if (kind === "Call") set.add(callTarget(e));
        else if (kind === "CallIndirect") for (const name of table) set.add(name);
        return e;
      },
    });
    callees.set(f.name, set);
  }
  return { callees };
}

function tableFunctions(m: Module): string[] {
  const names: string[] = [];
  for (let i = 0; i < m.getNumElementSegments(); i++) {
    const info = binaryen.getElementSegmentInfo(m.getElementSegmentByIndex(i));
    names.push(...info.data);
  }
  return names;
}

/** Everything the roots can call, themselves included. */
export function reachable(graph: CallGraph, roots: Iterable<string>): Set<string> {
  const seen = new Set<string>(roots);
  const queue = [...seen];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    for (const callee of graph.callees.get(name) ?? []) {
      if (seen.has(callee)) continue;
      seen.add(callee);
      queue.push(callee);
    }
  }
  return seen;
}

/** Functions that can come back to themselves (Tarjan's strongly connected components). */
export function recursive(graph: CallGraph): Set<string> {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const onStack = new Set<string>();
  const stack: string[] = [];
  const found = new Set<string>();
  const visit = (name: string): void => {
    index.set(name, index.size);
    low.set(name, index.get(name)!);
    stack.push(name);
    onStack.add(name);
    for (const callee of graph.callees.get(name) ?? []) {
      if (!graph.callees.has(callee)) continue;
      if (!index.has(callee)) {
        visit(callee);
        low.set(name, Math.min(low.get(name)!, low.get(callee)!));
      } else if (onStack.has(callee)) {
        low.set(name, Math.min(low.get(name)!, index.get(callee)!));
      }
    }
    if (low.get(name) !== index.get(name)) return;
    const component: string[] = [];
    for (let member = ""; member !== name; ) {
      member = stack.pop()!;
      onStack.delete(member);
      component.push(member);
    }
    if (component.length > 1 || graph.callees.get(name)!.has(name)) for (const member of component) found.add(member);
  };
  for (const name of graph.callees.keys()) if (!index.has(name)) visit(name);
  return found;
}
