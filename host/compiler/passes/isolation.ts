// One stream's bug stays one stream's bug (guest/runtime/isolation.ts is the other half). Traps of the author's code become a wasm exception that the
// guards catch: `unreachable`, division by zero and overflow, too many loop turns or calls, recursion that would exhaust the native stack.
import {
  addLocal,
  binaryen,
  callGraph,
  callTarget,
  type DefinedFunction,
  definedFunctions,
  type Expression,
  kindOf,
  type Module,
  read,
  recursive,
  setBody,
  setOperandAt,
  walk,
} from "../ir.js";
import { type FunctionSites, findSites, type Place } from "../sites.js";

const SDK = "~lib/envoyscript-sdk/";
const ISOLATION = `${SDK}runtime/isolation/`;
/** The global in which the place of a call is noted before it is made. */
export const SITE = `${ISOLATION}site`;
/** The tag of the exception that ends guarded code. */
export const PANIC = "panic";

/** As in guest/runtime/isolation.ts. */
const FaultKind = { DivisionByZero: 1, DivisionOverflow: 2, Budget: 3, Recursion: 4, Memory: 5, Unreachable: 6 } as const;

/** Bytes of native stack that recursion may use, estimated from each function's locals. V8 gives a thread about 1 MB. */
export const RECURSION_LIMIT = 200 * 1024;
const FRAME = 160;

/** A loop's turns are counted in a local and taken from the budget in groups of this size (a power of two): a global per turn would cost more than most loops do. */
const TURNS = 32;

/** Loop turns of code that is neither the author's nor called on the author's data only are not counted: the garbage collector must never be cut short. */
const isRuntime = (name: string) => name.startsWith("~lib/rt/") || name.startsWith(SDK) || name.startsWith("~");
const isAuthor = (name: string) => !name.startsWith("~") && !name.startsWith("start:") && !name.startsWith("envoyscript-entry/");
const isGuard = (name: string) => name.startsWith(SDK) && /\/guard\w*$/.test(name);

export interface IsolationOptions {
  /** Count loop turns and calls. */
  budget: boolean;
  /** Files that a fault can name, in the order of the registry's list. */
  files: string[];
}

export function isolate(m: Module, options: IsolationOptions): void {
  m.setFeatures(m.getFeatures() | binaryen.Features.ExceptionHandling);
  m.addTag(PANIC, binaryen.none, binaryen.none);
  const sites = findSites(m);
  const functions = definedFunctions(m);
  const files = new FileTable(options.files);
  addFault(m);
  const divisions = new Divisions(m);
  const loops = recursive(callGraph(m));

  for (const [i, f] of functions.entries()) {
    if (f.name === `${ISOLATION}raise`) {
      setBody(f, m.throw(PANIC, []));
      continue;
    }
    instrument(m, f, sites[i]!, files, divisions, options.budget);
  }
  for (const [i, f] of functions.entries()) {
    const start = isAuthor(f.name) ? files.site(sites[i]!.first) : 0;
    if (options.budget && isAuthor(f.name) && !f.name.includes("@override")) setBody(f, sequence(m, [countTurn(m, start), f.body], f.results));
    if (loops.has(f.name) && !f.name.startsWith("~lib/rt/") && !f.name.startsWith("~start")) limitDepth(m, f, options.budget && !isAuthor(f.name), start);
  }
  for (const f of functions) if (isGuard(f.name)) guard(m, f);
}

/** Asyncify adds checks of its own that end in `unreachable`: they must be catchable too. */
export function replaceUnreachable(m: Module): void {
  for (const f of definedFunctions(m)) {
    if (f.name.startsWith("asyncify_")) continue;
    const body = walk(f.body, { leave: (e) => (binaryen.getExpressionId(e) === binaryen.UnreachableId ? m.throw(PANIC, []) : e) });
    if (body !== f.body) setBody(f, body);
  }
}

function instrument(m: Module, f: DefinedFunction, sites: FunctionSites, files: FileTable, divisions: Divisions, budget: boolean): void {
  const author = isAuthor(f.name);
  const counts = { call: 0, division: 0, loop: 0 };
  const loopSites = new Map<Expression, number>();
  const memory = f.name.startsWith(`${SDK}runtime/heap/`);
  const siteOf = (place: Place | undefined) => (author ? files.site(place) : 0);
  let turns: number | undefined;
  const body = walk(f.body, {
    enter(e) {
      if (kindOf(e) === "Loop") loopSites.set(e, siteOf(sites.loop[counts.loop++]));
    },
    leave(e) {
      if (binaryen.getExpressionId(e) === binaryen.UnreachableId) {
        return memory ? raise(m, FaultKind.Memory, m.i32.const(0)) : raise(m, FaultKind.Unreachable, m.i32.const(siteOf(sites.first)));
      }
      switch (kindOf(e)) {
        case "Call": {
          const site = siteOf(sites.call[counts.call++]);
          if (callTarget(e) === `${ISOLATION}abort`) for (const i of [1, 2, 3]) setOperandAt(e, i, m.i32.const(0));
          // The author's own functions name their places themselves.
          if (!site || isAuthor(callTarget(e))) return e;
          return m.block(null, [m.global.set(SITE, m.i32.const(site)), e], binaryen.getExpressionType(e));
        }
        case "Binary": {
          if (!divisions.covers(e)) return e;
          return divisions.checked(e, siteOf(sites.division[counts.division++]));
        }
        case "Loop": {
          if (!budget || isRuntime(f.name)) return e;
          const inner = read(e, "getBody");
          const type = binaryen.getExpressionType(inner);
          turns ??= addLocal(f, binaryen.i32);
          setLoopBody(e, sequence(m, [countLoopTurn(m, turns, loopSites.get(e) ?? 0), inner], type));
          return e;
        }
        default:
          return e;
      }
    },
  });
  if (body !== f.body) setBody(f, body);
}

function setLoopBody(loop: Expression, body: Expression): void {
  (binaryen as unknown as { Loop: { setBody(e: number, body: number): void } }).Loop.setBody(loop, body);
}

function sequence(m: Module, expressions: Expression[], type: number): Expression {
  return m.block(null, expressions, type);
}

/** `fault(kind, site)`: notes why and throws. */
function addFault(m: Module): void {
  const body = m.block(null, [
    m.global.set(`${ISOLATION}faultKind`, m.local.get(0, binaryen.i32)),
    m.if(m.local.get(1, binaryen.i32), m.global.set(SITE, m.local.get(1, binaryen.i32))),
    m.throw(PANIC, []),
  ]);
  m.addFunction("~fault", binaryen.createType([binaryen.i32, binaryen.i32]), binaryen.none, [], body);
}

/** Says by its type that nothing comes after it: V8 takes it out of the loop then, where a call that may return costs 2 ns a turn. */
function raise(m: Module, kind: number, site: Expression): Expression {
  return sequence(m, [m.call("~fault", [m.i32.const(kind), site], binaryen.none), m.throw(PANIC, [])], binaryen.unreachable);
}

/** One counter serves all loops of a function, so that nothing is lost between an inner loop's runs; at most 31 turns are when the function ends. */
function countLoopTurn(m: Module, turns: number, site: number): Expression {
  const counted = m.local.tee(turns, m.i32.add(m.local.get(turns, binaryen.i32), m.i32.const(1)), binaryen.i32);
  return m.if(m.i32.eqz(m.i32.and(counted, m.i32.const(TURNS - 1))), countTurn(m, site, TURNS));
}

function countTurn(m: Module, site: number, turns = 1): Expression {
  const budget = `${ISOLATION}budget`;
  return m.block(null, [
    m.global.set(budget, m.i32.sub(m.global.get(budget, binaryen.i32), m.i32.const(turns))),
    m.if(m.i32.lt_s(m.global.get(budget, binaryen.i32), m.i32.const(0)), raise(m, FaultKind.Budget, m.i32.const(site))),
  ]);
}

/** Recursion pays for its frames: in before the body, out after it. The body becomes a function of its own so that every way out passes here. */
function limitDepth(m: Module, f: DefinedFunction, count: boolean, site: number): void {
  const params = binaryen.expandType(f.params);
  const cost = FRAME + 8 * (params.length + f.vars.length);
  const inner = `${f.name}|body`;
  m.addFunction(inner, f.params, f.results, f.vars, m.copyExpression(f.body));
  const depth = `${ISOLATION}depth`;
  const add = (sign: number) => m.global.set(depth, m.i32.add(m.global.get(depth, binaryen.i32), m.i32.const(sign * cost)));
  const call = m.call(
    inner,
    params.map((type, i) => m.local.get(i, type)),
    f.results,
  );
  const enter = [add(1), m.if(m.i32.gt_s(m.global.get(depth, binaryen.i32), m.i32.const(RECURSION_LIMIT)), raise(m, FaultKind.Recursion, m.i32.const(site)))];
  if (count) enter.push(countTurn(m, 0));
  m.removeFunction(f.name);
  if (f.results === binaryen.none) {
    m.addFunction(f.name, f.params, f.results, [], m.block(null, [...enter, call, add(-1)]));
    return;
  }
  const result = params.length;
  const body = m.block(null, [...enter, m.local.set(result, call), add(-1), m.local.get(result, f.results)], f.results);
  m.addFunction(f.name, f.params, f.results, [f.results], body);
}

/** A guard's body in a try: -1 (or 0 for the guards that answer yes or no) when anything inside threw, with the shadow stack as it was. */
function guard(m: Module, f: DefinedFunction): void {
  const params = binaryen.expandType(f.params).length;
  const locals = [...f.vars, binaryen.i32];
  const saved = params + f.vars.length;
  const stack = "~lib/memory/__stack_pointer";
  const statusGuard = /\/entry\/guard(?!Author)/.test(f.name);
  const body = m.block(
    null,
    [
      m.local.set(saved, m.global.get(stack, binaryen.i32)),
      m.try(
        "",
        m.copyExpression(f.body),
        [PANIC],
        [m.block(null, [m.global.set(stack, m.local.get(saved, binaryen.i32)), m.i32.const(statusGuard ? -1 : 0)], binaryen.i32)],
        "",
      ),
    ],
    binaryen.i32,
  );
  const { name, params: type, results } = f;
  m.removeFunction(name);
  m.addFunction(name, type, results, locals, body);
}

/** Integer divisions and remainders whose divisor may be zero, or whose quotient may not fit. */
class Divisions {
  private readonly ops = new Map<number, { name: string; type: number; signedDivision: boolean }>();

  constructor(private readonly m: Module) {
    const table: [number, "i32" | "i64", "div_s" | "div_u" | "rem_s" | "rem_u"][] = [
      [binaryen.DivSInt32, "i32", "div_s"],
      [binaryen.DivUInt32, "i32", "div_u"],
      [binaryen.RemSInt32, "i32", "rem_s"],
      [binaryen.RemUInt32, "i32", "rem_u"],
      [binaryen.DivSInt64, "i64", "div_s"],
      [binaryen.DivUInt64, "i64", "div_u"],
      [binaryen.RemSInt64, "i64", "rem_s"],
      [binaryen.RemUInt64, "i64", "rem_u"],
    ];
    for (const [op, width, operation] of table) {
      const type = binaryen[width];
      const name = `~checked_${width}_${operation}`;
      this.ops.set(op, { name, type, signedDivision: operation === "div_s" });
      const a = m.local.get(0, type);
      const b = () => m.local.get(1, type);
      const site = () => m.local.get(2, binaryen.i32);
      const steps: Expression[] = [m.if(m[width].eqz(b()), raise(m, FaultKind.DivisionByZero, site()))];
      if (operation === "div_s") {
        const least = width === "i32" ? m.i32.const(-0x80000000) : m.i64.const(-(2n ** 63n) as never);
        const minusOne = width === "i32" ? m.i32.const(-1) : m.i64.const(-1n as never);
        const overflows = m.i32.and(m[width].eq(m.local.get(0, type), least), m[width].eq(b(), minusOne));
        steps.push(m.if(overflows, raise(m, FaultKind.DivisionOverflow, site())));
      }
      steps.push(m[width][operation](a, b()));
      m.addFunction(name, binaryen.createType([type, type, binaryen.i32]), type, [], m.block(null, steps, type));
    }
  }

  covers(e: Expression): boolean {
    return this.ops.has(read(e, "getOp"));
  }

  checked(e: Expression, site: number): Expression {
    const op = this.ops.get(read(e, "getOp"))!;
    const right = read(e, "getRight");
    const info = binaryen.getExpressionInfo(right as never) as { id: number; value?: number | bigint };
    if (info.id === binaryen.ConstId) {
      const value = info.value!;
      const zero = Number(value) === 0;
      const minusOne = Number(value) === -1;
      if (!zero && !(op.signedDivision && minusOne)) return e;
    }
    return this.m.call(op.name, [read(e, "getLeft"), right, this.m.i32.const(site)], op.type);
  }
}

class FileTable {
  constructor(private readonly names: string[]) {}

  /** file << 26 | line << 10 | column: 64 files of 65,535 lines. 0 where the place is unknown. */
  site(place: Place | undefined): number {
    const index = place ? this.names.indexOf(place.file) : -1;
    if (!place || index < 0 || index > 63) return 0;
    return (index << 26) | (Math.min(place.line, 65535) << 10) | Math.min(place.column, 1023);
  }
}
