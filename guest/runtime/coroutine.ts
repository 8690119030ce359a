// A coroutine: a filter's `handle` that can stop in the middle of a call and go on later. Binaryen's Asyncify unwinds and rewinds the
// wasm frames; the shadow stack, on which AssemblyScript keeps what the garbage collector must see, is copied out and in beside it.
//
// Frames keep absolute addresses of the shadow stack, so every coroutine runs at one fixed base. What a suspended coroutine owns is exactly as
// large as its frames (usually a few hundred bytes): the big unwind buffer is shared, because only one coroutine can be unwinding.
/// <reference path="./builtins.d.ts" />
import { startRewind, startUnwind, stopRewind, stopUnwind } from "./abi";
import { arm, depth, disarm, setDepth } from "./isolation";

/** Room above a coroutine's base for the runtime's own frames. */
const OUTER: usize = 1024;
/** Bytes for unwound frames; deeper stacks end with a fault. The recursion budget (host/compiler) is smaller than this. */
const BUFFER: usize = 192 * 1024;

/** What runs inside the guard: implemented by chain.ts, which sets it once. */
class Slot {}

export const FINISHED: i32 = 0;
export const SUSPENDED: i32 = 1;
export const FAULTED: i32 = 2;

/** Saved frames of a suspended coroutine. */
export class Coroutine {
  slots: StaticArray<Slot | null> | null = null;
  slotBytes: usize = 0;
  frames: StaticArray<u8> | null = null;
  frameBytes: usize = 0;
  depth: i32 = 0;
  suspended: bool = false;
}

// Asyncify's control block: where it writes next, where it must stop. Behind it, the buffer.
let control: usize = 0;
let rewinding: bool = false;
let unwinding: bool = false;

/** Runs `enter()` from its start, or from where `c` was suspended. */
export function run(c: Coroutine): i32 {
  const outcome = switchTo(changetype<usize>(c), c.suspended);
  if (outcome == SUSPENDED) return SUSPENDED;
  c.suspended = false;
  return outcome;
}

/** Stops the running coroutine here; the call returns when it is resumed. */
export function suspend(): void {
  if (rewinding) {
    rewinding = false;
    stopRewind();
    return;
  }
  if (!control) control = heap.alloc(8 + BUFFER);
  store<usize>(control, control + 8);
  store<usize>(control, control + 8 + BUFFER, sizeof<usize>());
  unwinding = true;
  startUnwind(control);
}

// Nothing managed lives in this frame: between setting the stack pointer and handing over, the shadow stack is not this function's.
function switchTo(c: usize, resumed: bool): i32 {
  const outer = __stack_pointer;
  const base = __heap_base - OUTER;
  if (outer < base) unreachable();
  memory.fill(base, 0, outer - base);
  __stack_pointer = base;
  arm();
  if (resumed) {
    const slotBytes = load<usize>(c, offsetof<Coroutine>("slotBytes"));
    __stack_pointer = base - slotBytes;
    memory.copy(base - slotBytes, load<usize>(c, offsetof<Coroutine>("slots")), slotBytes);
    const frameBytes = load<usize>(c, offsetof<Coroutine>("frameBytes"));
    memory.copy(control + 8, load<usize>(c, offsetof<Coroutine>("frames")), frameBytes);
    store<usize>(control, control + 8 + frameBytes);
    store<usize>(control, control + 8 + BUFFER, sizeof<usize>());
    setDepth(load<i32>(c, offsetof<Coroutine>("depth")));
    rewinding = true;
    startRewind(control);
  } else {
    setDepth(0);
  }
  const ok = guardCoroutine();
  disarm();
  if (!ok) {
    if (unwinding || rewinding) {
      // The frames did not fit: put Asyncify back to its resting state. (Both of its stops do the same; a function that called the other one
      // would count as code that can be suspended.)
      store<usize>(control, control + 8);
      store<usize>(control, control + 8 + BUFFER, sizeof<usize>());
      stopUnwind();
      unwinding = false;
      rewinding = false;
    }
    __stack_pointer = outer;
    return FAULTED;
  }
  if (!unwinding) {
    __stack_pointer = outer;
    return FINISHED;
  }
  unwinding = false;
  const top = __stack_pointer;
  const saved = guardSave(c, top, base - top);
  __stack_pointer = outer;
  return saved ? SUSPENDED : FAULTED;
}

/** The frame that holds the try (isolation pass) and ends the unwinding: Asyncify leaves functions that call its switches alone. */
function guardCoroutine(): i32 {
  enter();
  if (unwinding) stopUnwind();
  return 1;
}

// Copies the unwound frames out. The slots are roots for the collector, so they are copied while the stack pointer still covers them.
function guardSave(c: usize, top: usize, slotBytes: usize): i32 {
  save(changetype<Coroutine>(c), top, slotBytes);
  return 1;
}

function save(c: Coroutine, top: usize, slotBytes: usize): void {
  const count = <i32>(slotBytes / sizeof<usize>());
  let slots = c.slots;
  if (slots === null || slots.length < count) {
    slots = new StaticArray<Slot | null>(count);
    c.slots = slots;
  }
  const to = changetype<usize>(slots);
  memory.copy(to, top, slotBytes);
  memory.fill(to + slotBytes, 0, <usize>slots.length * sizeof<usize>() - slotBytes);
  const frameBytes = load<usize>(control) - (control + 8);
  let frames = c.frames;
  if (frames === null || <usize>frames.length < frameBytes) {
    frames = new StaticArray<u8>(<i32>frameBytes);
    c.frames = frames;
  }
  memory.copy(changetype<usize>(frames), control + 8, frameBytes);
  c.slotBytes = slotBytes;
  c.frameBytes = frameBytes;
  c.depth = depth;
  c.suspended = true;
}

// Set by chain.ts: which filter of which stream runs.
import { enter } from "./chain";
