// Loops over typed arrays. AssemblyScript reads an array's start and length from memory for every element, and V8 cannot know that they never change (a typed
// array is a view that is set once; Array<T> is not and stays as it is). Here they are read once, before the outermost loop that leaves the variable alone.
import {
  addLocal,
  binaryen,
  callTarget,
  childAt,
  type DefinedFunction,
  definedFunctions,
  type Expression,
  globalName,
  kindOf,
  localIndex,
  type Module,
  operandAt,
  read,
  setBody,
  walk,
} from "../ir.js";
import { PANIC, SITE } from "./isolation.js";

interface Element {
  shift: number;
  type: number;
  load(m: Module, pointer: Expression): Expression;
  /** Absent where a value is changed on its way in. */
  store?(m: Module, pointer: Expression, value: Expression): Expression;
}

const { i32, i64, f32, f64 } = binaryen;
const narrow = (shift: 0 | 1, load: "load8_s" | "load8_u" | "load16_s" | "load16_u", store: "store8" | "store16"): Element => ({
  shift,
  type: i32,
  load: (m, p) => m.i32[load](0, 1 << shift, p),
  store: (m, p, v) => m.i32[store](0, 1 << shift, p, v),
});
const word = (name: "i32" | "i64" | "f32" | "f64", type: number, shift: number): Element => ({
  shift,
  type,
  load: (m, p) => m[name].load(0, 1 << shift, p),
  store: (m, p, v) => m[name].store(0, 1 << shift, p, v),
});
const bytes = narrow(0, "load8_u", "store8");
const { store: _, ...clamped } = bytes;
const ELEMENTS: Record<string, Element> = {
  Int8Array: narrow(0, "load8_s", "store8"),
  Uint8Array: bytes,
  Uint8ClampedArray: clamped,
  Int16Array: narrow(1, "load16_s", "store16"),
  Uint16Array: narrow(1, "load16_u", "store16"),
  Int32Array: word("i32", i32, 2),
  Uint32Array: word("i32", i32, 2),
  Int64Array: word("i64", i64, 3),
  Uint64Array: word("i64", i64, 3),
  Float32Array: word("f32", f32, 2),
  Float64Array: word("f64", f64, 3),
};

/** Fields of ArrayBufferView, which typed arrays extend. */
const DATA_START = 4;
const BYTE_LENGTH = 8;

/** Runs after the isolation pass (the slow way out is the call that faults) and before anything is inlined. */
export function hoistViews(m: Module): void {
  for (const f of definedFunctions(m)) if (!f.name.startsWith("~")) new Hoisting(m, f).run();
}

interface View {
  start: number;
  length: number;
}

interface LoopScope {
  assigned: Set<number>;
  /** By variable and width: the locals that hold what was read. */
  views: Map<string, { view: View; array: number; shift: number }>;
}

class Hoisting {
  private readonly scopes: LoopScope[] = [];
  /** What took a call's place, and how to make it again with the call's place in the source. */
  private readonly made = new Map<Expression, (site?: Expression) => Expression>();
  private readonly spare = new Map<string, number>();

  constructor(
    private readonly m: Module,
    private readonly f: DefinedFunction,
  ) {}

  run(): void {
    const body = walk(this.f.body, {
      enter: (e) => {
        if (kindOf(e) === "Loop") this.scopes.push({ assigned: assignedIn(e), views: new Map() });
      },
      leave: (e) => {
        switch (kindOf(e)) {
          case "Loop":
            return this.leaveLoop(e);
          case "Call":
            return this.scopes.length > 0 ? this.replace(e) : e;
          case "Block":
            return this.withSite(e);
          default:
            return e;
        }
      },
    });
    if (body !== this.f.body) setBody(this.f, body);
  }

  private leaveLoop(loop: Expression): Expression {
    const { m } = this;
    const { views } = this.scopes.pop()!;
    if (views.size === 0) return loop;
    const reads: Expression[] = [];
    for (const { view, array, shift } of views.values()) {
      const length = m.i32.load(BYTE_LENGTH, 4, m.local.get(array, i32));
      reads.push(
        m.local.set(view.start, m.i32.load(DATA_START, 4, m.local.get(array, i32))),
        m.local.set(view.length, shift > 0 ? m.i32.shr_u(length, m.i32.const(shift)) : length),
      );
    }
    return m.block(null, [...reads, loop], binaryen.getExpressionType(loop));
  }

  private replace(call: Expression): Expression {
    const [, name, method] = /^~lib\/typedarray\/(\w+)#(__get|__set|get:length)$/.exec(callTarget(call)) ?? [];
    const element = name ? ELEMENTS[name] : undefined;
    if (!element || (method === "__set" && !element.store)) return call;
    const array = variable(operandAt(call, 0));
    if (array === undefined) return call;
    const scope = this.scopes.find(({ assigned }) => !assigned.has(array));
    if (!scope) return call;
    const { m } = this;
    const { start, length } = this.view(scope, array, element.shift);
    const make =
      method === "get:length"
        ? () => m.local.get(length, i32)
        : (site?: Expression) => {
            // The value of an assignment may read an element itself, after this index was computed.
            const index = method === "__get" ? this.local("index", i32) : addLocal(this.f, i32);
            const at = () => m.local.get(index, i32);
            const scaled = element.shift > 0 ? m.i32.shl(at(), m.i32.const(element.shift)) : at();
            const pointer = m.i32.add(m.local.get(start, i32), scaled);
            const again = (operands: Expression[], result: number) => m.call(callTarget(call), [m.local.get(array, i32), at(), ...operands], result);
            const outside = (slow: Expression) =>
              m.if(m.i32.ge_u(at(), m.local.get(length, i32)), m.block(null, [...(site ? [site] : []), slow, m.throw(PANIC, [])], binaryen.unreachable));
            const setIndex = m.local.set(index, operandAt(call, 1));
            if (method === "__get") return m.block(null, [setIndex, outside(m.drop(again([], element.type))), element.load(m, pointer)], element.type);
            const value = this.local(`value${element.type}`, element.type);
            const given = () => m.local.get(value, element.type);
            return m.block(null, [
              setIndex,
              m.local.set(value, operandAt(call, 2)),
              outside(again([given()], binaryen.none)),
              element.store!(m, pointer, given()),
            ]);
          };
    const made = make();
    this.made.set(made, make);
    return made;
  }

  /** The isolation pass notes the place before each call that may fault: here it is noted on the way to the fault only. */
  private withSite(block: Expression): Expression {
    if (read(block, "getNumChildren") !== 2) return block;
    const site = childAt(block, 0);
    const make = this.made.get(childAt(block, 1));
    if (!make || kindOf(site) !== "GlobalSet" || globalName(site) !== SITE) return block;
    return make(site);
  }

  private view(scope: LoopScope, array: number, shift: number): View {
    const key = `${array} ${shift}`;
    let found = scope.views.get(key);
    if (!found) {
      found = { view: { start: addLocal(this.f, i32), length: addLocal(this.f, i32) }, array, shift };
      scope.views.set(key, found);
    }
    return found.view;
  }

  /** A local for the moment: nothing of the author's is evaluated between writing and reading it. */
  private local(use: string, type: number): number {
    let index = this.spare.get(use);
    if (index === undefined) {
      index = addLocal(this.f, type);
      this.spare.set(use, index);
    }
    return index;
  }
}

/** The variable that an argument is: read as it is, or by way of a temporary (for the shadow stack). */
function variable(e: Expression): number | undefined {
  if (binaryen.getExpressionId(e) === binaryen.LocalGetId) return localIndex(e);
  if (kindOf(e) !== "Block" || read(e, "getNumChildren") !== 3) return undefined;
  const [set, between, get] = [0, 1, 2].map((i) => childAt(e, i)) as [number, number, number];
  if (kindOf(set) !== "LocalSet" || binaryen.getExpressionId(between) !== binaryen.NopId || binaryen.getExpressionId(get) !== binaryen.LocalGetId)
    return undefined;
  const value = read(set, "getValue");
  return localIndex(set) === localIndex(get) && binaryen.getExpressionId(value) === binaryen.LocalGetId ? localIndex(value) : undefined;
}

function assignedIn(loop: Expression): Set<number> {
  const assigned = new Set<number>();
  walk(loop, {
    leave(e) {
      if (kindOf(e) === "LocalSet") assigned.add(localIndex(e));
      return e;
    },
  });
  return assigned;
}
