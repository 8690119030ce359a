// One VM: an instance of a module with its contexts. Calls into the guest are guarded here: a trap fails the VM for good, and what the guest asked for that may
// call it back (resume, reply, close) waits until the callback is through.
import type { Context } from "./context.js";
import type { Environment, Level, Thread } from "./environment.js";
import { bindImports, StartSectionCall } from "./functions.js";
import { INSTANCE, type LoadedModule } from "./load.js";
import { GuestMemory } from "./memory.js";
import { Metrics } from "./metrics.js";
import type { VmConfig } from "./plugin.js";
import type { RootContext } from "./root-context.js";

/** In which restricted phase the guest is: not every host function may be called while it starts or allocates. */
export type Phase = "instantiate" | "start" | "malloc" | undefined;

type Guest = (...args: number[]) => number;

/** Loop turns and calls of one callback, before it counts as endless: about a second's worth. */
const BUDGET = 0x1fffffff;

/** Host calls after each of which it is seen how long they have taken together: a power of two, less one. */
const CALLS_BETWEEN = 0x3fff;

/** Processor time that the host calls of one callback may take, from the first such look on. */
const CALLS_MICROSECONDS = 1_000_000;

/** envoy 1.40: V8's stack is full after some 2,000; what is between two of them is larger here. */
const MAX_DEPTH = 100;

const ENDLESS_LOOP = "endless loop (a real Envoy would hang in it)";

/** envoy 1.40: two failed gRPC starts in one callback make a worker drain its actions for ever. */
const ENDLESS = 10_000;

export class Vm {
  readonly contexts = new Map<number, Context>();
  memory!: GuestMemory;
  readonly metrics: Metrics;
  readonly callbacks: Record<string, Guest | undefined> = {};
  /** Why it takes no more calls. */
  failed: string | undefined;
  /** The context whose callback runs, and the one that the guest put in its place (0: none). */
  current: Context | undefined;
  effective = 0;
  phase: Phase;
  /** The guest answered in this callback: its status does not count. */
  stopIteration = false;
  private actions: (() => void)[] = [];
  private lastId = 0;
  private readonly malloc: Guest | undefined;
  /** A module that was built with `inspect` says how many streams it keeps. */
  readonly keptStreams: (() => number) | undefined;
  readonly roots = new Map<string, RootContext>();
  private budget: { value: number } | undefined;
  /** Host calls of the present callback; below zero where there were too many. */
  private calls = 0;
  private busySince = 0;
  /** Callbacks that came of what others had asked for, with those. */
  private depth = 0;
  onFail: (() => void)[] = [];
  /** Plugins (and streams) that use it. */
  users = 0;

  private constructor(
    readonly module: LoadedModule,
    readonly config: VmConfig,
    readonly thread: Thread,
    readonly env: Environment,
  ) {
    this.metrics = new Metrics(env.metrics);
    const { exports, memory } = this.instantiate();
    this.memory = new GuestMemory(memory ?? (module.memoryName ? (exports[module.memoryName] as WebAssembly.Memory) : undefined));
    for (const name of module.callbacks) if (allows(config, name)) this.callbacks[name] = exports[name] as Guest;
    const kept = exports.envoyscript_streams;
    if (typeof kept === "function") this.keptStreams = () => kept() as number;
    this.malloc = exports[module.mallocName] as Guest;
  }

  /** The exports; none where the module cannot be instantiated, or its start section traps: the VM has failed then. */
  private instantiate(): { exports: Record<string, unknown>; memory?: WebAssembly.Memory | undefined } {
    const { budgetName, startName } = this.module;
    this.phase = "instantiate";
    try {
      const { objects, memory } = bindImports(this);
      const exports = new WebAssembly.Instance(this.module.module, objects).exports as Record<string, unknown>;
      this.budget = budgetName === undefined ? undefined : (exports[budgetName] as { value: number });
      this.fill();
      if (startName !== undefined) (exports[startName] as Guest)();
      return { exports, memory };
    } catch (error) {
      if (error instanceof StartSectionCall) throw error;
      // What Envoy prints of a trap is no line of its log.
      const text = `${INSTANCE} (${this.looping ? ENDLESS_LOOP : describeTrap(error)})`;
      this.log("error", text);
      this.setFailed(text);
      return { exports: {} };
    } finally {
      this.phase = undefined;
    }
  }

  /** Instantiates and starts a module. The VM may have failed in that. */
  static start(module: LoadedModule, config: VmConfig, thread: Thread, env: Environment): Vm {
    const vm = new Vm(module, config, thread, env);
    for (const name of module.startFunctions) {
      if (vm.failed) break;
      vm.phase = "start";
      vm.enter(name, undefined, vm.callbacks[name], ...(name === "main" ? [0, 0] : []));
      vm.phase = undefined;
    }
    return vm;
  }

  /** Whether the guest was stopped because it did not come to an end by itself. */
  private get looping(): boolean {
    return this.calls < 0 || (this.budget !== undefined && this.budget.value < 0);
  }

  /** A call from outside begins: it may do this much. */
  private fill(): void {
    if (this.budget) this.budget.value = BUDGET;
    this.calls = 0;
  }

  /** A host function is called. Throws when this one callback has kept the processor busy with such calls for too long: nothing in the module counts what they cost. */
  countCall(): void {
    if ((++this.calls & CALLS_BETWEEN) !== 0 && this.calls > 0) return;
    const { user, system } = process.cpuUsage();
    if (this.calls === CALLS_BETWEEN + 1) this.busySince = user + system;
    else if (this.calls < 0 || user + system - this.busySince > CALLS_MICROSECONDS) {
      this.calls = Number.MIN_SAFE_INTEGER;
      // A module may catch what is thrown here, and go on; at its next turn it traps.
      if (this.budget) this.budget.value = -1;
      throw new Error("too many calls");
    }
  }

  nextContextId(): number {
    return ++this.lastId;
  }

  /** The context that host functions act on. */
  get context(): Context | undefined {
    if (this.effective !== 0) {
      const context = this.contexts.get(this.effective);
      if (context) return context;
    }
    return this.current;
  }

  /** Calls into the guest. A trap fails the VM; the result is 0 then. */
  enter(name: string, context: Context | undefined, guest: Guest | undefined, ...args: number[]): number {
    if (!guest) return 0;
    const { current, effective } = this;
    this.current = context;
    this.effective = 0;
    const trace = this.env.wasmLogLevel === 0;
    if (trace) this.log("trace", `[host->vm] ${name}(${args.join(", ")})`);
    if (current === undefined) this.fill();
    try {
      const result = args.length === 3 ? guest(args[0]!, args[1]!, args[2]!) : args.length === 2 ? guest(args[0]!, args[1]!) : guest(...args);
      if (trace) this.log("trace", `[host<-vm] ${name} return: ${result === undefined ? "void" : result >>> 0}`);
      return result === undefined ? 0 : result >>> 0;
    } catch (error) {
      this.fail(name, error);
      return 0;
    } finally {
      this.current = current;
      this.effective = effective;
    }
  }

  /** A callback of a root or stream context, with what it asked for done afterwards. */
  notify(name: string, context: Context, ...args: number[]): number {
    const guest = this.callbacks[name];
    if (!guest || this.failed) return 0;
    if (this.depth >= MAX_DEPTH) {
      this.fail(name, new RangeError("Maximum call stack size exceeded"));
      return 0;
    }
    this.depth++;
    try {
      const result = this.enter(name, context, guest, ...args);
      this.runActions();
      return result;
    } finally {
      this.depth--;
    }
  }

  /** What must not call back into the guest while it runs. */
  defer(action: () => void): void {
    this.actions.push(action);
  }

  /** envoy 1.40: after every callback, the first one first; callbacks that come of it drain the same list. */
  runActions(): void {
    this.stopIteration = false;
    for (let left = this.actions.length + ENDLESS; this.actions.length > 0; left--) {
      if (left === 0) {
        this.actions = [];
        this.env.crash("hang", "two gRPC calls that fail at once in one callback: the worker never gets out of it");
        return;
      }
      this.actions.shift()!();
    }
  }

  /** Memory of the guest's for what the host returns; 0 where it has none. */
  allocate(size: number): number {
    const { phase, current, effective } = this;
    this.phase = "malloc";
    this.current = undefined;
    this.effective = 0;
    const trace = this.env.wasmLogLevel === 0;
    if (trace) this.log("trace", `[host->vm] ${this.module.mallocName}(${size})`);
    try {
      const pointer = this.malloc!(size) >>> 0;
      if (trace) this.log("trace", `[host<-vm] ${this.module.mallocName} return: ${pointer}`);
      return this.memory.has(pointer, size) ? pointer : 0;
    } catch (error) {
      this.fail("malloc", error);
      return 0;
    } finally {
      this.phase = phase;
      this.current = current;
      this.effective = effective;
    }
  }

  fail(name: string, error: unknown): void {
    const reason = this.looping ? ENDLESS_LOOP : describeTrap(error);
    if (!this.failed) this.log("error", `Function: ${name} failed: Uncaught ${reason}${backtrace(error, this.module)}`);
    this.setFailed(`Function: ${name} failed: Uncaught ${reason}`);
  }

  setFailed(reason: string): void {
    if (this.failed) return;
    this.failed = reason;
    for (const heard of this.onFail) heard();
  }

  log(level: Level, text: string): void {
    this.env.log(this.thread, level, text);
  }

  /** Adds a context under its id. */
  add(context: Context): void {
    this.contexts.set(context.id, context);
  }
}

/** Whether a capability restriction leaves a function or callback. */
export function allows(config: VmConfig, name: string): boolean {
  return !config.allowedCapabilities || config.allowedCapabilities.has(name) || ALWAYS.has(name);
}

/** envoy 1.40: never restricted. */
const ALWAYS = new Set(["pthread_equal", "emscripten_notify_memory_growth", "envoy_resolve_dns", "_initialize", "_start", "main", "__main_void"]);

function describeTrap(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // envoy's V8 says it a little differently than Node's.
  const name = error.name === "CompileError" || error.name === "LinkError" ? "Error" : error.name;
  return `${name}: ${error.message}`;
}

/** Frames of the guest's functions, as Envoy shows them where the module has a name section. */
function backtrace(error: unknown, module: LoadedModule): string {
  if (!module.functionNames || !(error instanceof Error) || !error.stack) return "";
  const frames = [...error.stack.matchAll(/wasm:\/\/wasm\/[^\s]*:wasm-function\[(\d+)\]:0x([0-9a-f]+)/g)].map(([, index, offset]) => ({
    index: Number(index),
    offset: module.originalOffset(Number.parseInt(offset!, 16)),
  }));
  if (frames.length === 0) return "";
  const lines = frames.map(({ index, offset }, i) => {
    const name = module.functionNames!.get(index) ?? `unknown(function index:${index})`;
    return `${String(i).padStart(3)}:  0x${offset.toString(16)} - ${name}`;
  });
  return `\nProxy-Wasm plugin in-VM backtrace:\n${lines.join("\n")}`;
}
