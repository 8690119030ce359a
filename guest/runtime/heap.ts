// The heap and its garbage collector, in place of AssemblyScript's own. Requests make a handful of small objects that die together, so the design
// is mark-region (Immix): objects are laid one behind the other into free lines, and what is dead is never touched. A collection marks what lives and
// the lines it lies on, between two allocations and in one go; there is no write barrier. Its cost follows the living, and it waits until as much was
// allocated as lives. Roots are the globals and the shadow stack.
//
// Memory is cut into blocks, and a block of small objects into lines; the first line is the block's own. An object has three words before it.
/// <reference path="./builtins.d.ts" />

/** An object's words: mark, class id, size. Static objects have two more before these. */
const HEADER: usize = 12;
/** Where an object starts after a line's border, so that what follows its header is aligned to 8 bytes. */
const SKEW: usize = 4;
const LINE: usize = 128;
const BLOCK: usize = 4 * 1024;
const LINES: usize = BLOCK / LINE;
/** Objects (with their header) above this have blocks of their own. */
const LARGE: usize = 2 * 1024;
/** Objects above this are not sought a hole but put into a block that was free. */
const MEDIUM: usize = LINE - SKEW;
/** AssemblyScript's limit of one object. */
const GREATEST: usize = 1 << 30;
/** A collection is not worth it before this much was allocated; small enough that it all stays in a core's cache. */
const LEAST_CYCLE: usize = 64 * 1024;

/** First byte of a block. */
namespace Kind {
  export const Free: u8 = 0;
  /** Small objects; the block's other bytes up to LINES say which line is in use since the last collection. */
  export const Lines: u8 = 1;
  /** Small objects put here since the last collection, whose lines are not marked. */
  export const Fresh: u8 = 2;
  /** One object; a second byte marks it, and the second word says how many blocks it has. */
  export const Large: u8 = 3;
  /** Taken by `take`, freed by `give`. */
  export const Manual: u8 = 4;
}

/** The mark of a new object; marks of collections are the odd numbers after it. A static object begins with 0. */
const UNMARKED: u32 = 1;
/** End of the list of objects whose members are still to be visited; the list runs through their marks. All addresses in it are even. */
const LAST: u32 = 2;

let mark: u32 = UNMARKED;
let pending: usize = LAST;

/** Where the next object goes, and where the hole ends. */
let cursor: usize = 0;
let limit: usize = 0;
/** Block and line at which the search for the next hole goes on. */
let block: usize = 0;
let line: usize = 0;
/** The same for objects above MEDIUM. */
let freshCursor: usize = 0;
let freshLimit: usize = 0;
/** Where the search for free blocks goes on: single ones, and runs. */
let freshBlock: usize = 0;
let freshRun: usize = 0;

let first: usize = 0;
let end: usize = 0;
/** Bytes handed out since the last collection, and how many may be before the next. */
let taken: usize = 0;
let cycle: usize = LEAST_CYCLE;
/** Bytes that lived at the last collection. */
let living: usize = 0;

/** A new object, its memory zero. Faults where memory has run out. */
export function allocate(size: usize, id: u32): usize {
  if (size > GREATEST) unreachable();
  const whole = (size + HEADER + 7) & ~7;
  let start = cursor;
  if (start + whole <= limit) cursor = start + whole;
  else start = allocateElsewhere(whole);
  store<u32>(start, UNMARKED);
  store<u32>(start, id, 4);
  store<u32>(start, <u32>size, 8);
  const object = start + HEADER;
  if (size > 256) memory.fill(object, 0, size);
  // Up to four bytes of the next object's header, or of the hole's end, are zeroed with it.
  else for (let at = object, behind = object + size; at < behind; at += 8) store<u64>(at, 0);
  return object;
}

/** The object with room for `size` bytes, moved where it lies too tight; what is new is zero. */
export function resize(object: usize, size: usize): usize {
  const before = <usize>load<u32>(object - 4);
  const room = ((before + HEADER + 7) & ~7) - HEADER;
  if (size > room) {
    const moved = allocate(size, load<u32>(object - 8));
    memory.copy(moved, object, before);
    return moved;
  }
  if (size > before) memory.fill(object + before, 0, size - before);
  store<u32>(object - 4, <u32>size);
  return object;
}

function allocateElsewhere(whole: usize): usize {
  if (taken >= cycle) collect();
  if (whole > LARGE) {
    const blocks = (whole + SKEW + LINE + BLOCK - 1) / BLOCK;
    taken += blocks * BLOCK;
    return findBlocks(blocks, Kind.Large) + LINE + SKEW;
  }
  if (whole > MEDIUM) {
    if (freshCursor + whole > freshLimit) {
      const fresh = findBlocks(1, Kind.Fresh);
      taken += BLOCK;
      freshCursor = fresh + LINE + SKEW;
      freshLimit = fresh + BLOCK;
    }
    const start = freshCursor;
    freshCursor = start + whole;
    return start;
  }
  findHole();
  const start = cursor;
  cursor = start + whole;
  return start;
}

/** Sets the cursor to the next run of lines in which nothing lives. */
function findHole(): void {
  for (;;) {
    while (block < end) {
      const kind = load<u8>(block);
      if (kind == Kind.Free) {
        store<u8>(block, Kind.Lines);
        line = 1;
      }
      if (kind <= Kind.Lines) {
        while (line < LINES && load<u8>(block + line) != 0) line++;
        if (line < LINES) {
          cursor = block + line * LINE + SKEW;
          while (line < LINES && load<u8>(block + line) == 0) line++;
          limit = block + line * LINE;
          taken += limit - cursor;
          return;
        }
      }
      block += extent(block);
      line = 1;
    }
    grow(1);
  }
}

/** A run of free blocks, which it makes one of the kind. */
function findBlocks(count: usize, kind: u8): usize {
  let start = findRun(count);
  while (start == 0) {
    grow(count);
    start = findRun(count);
  }
  store<u8>(start, kind);
  if (kind >= Kind.Large) store<u32>(start, <u32>count, 4);
  return start;
}

function findRun(count: usize): usize {
  let run: usize = 0;
  for (let at = count == 1 ? freshBlock : freshRun; at < end; at += extent(at)) {
    run = load<u8>(at) == Kind.Free ? run + 1 : 0;
    if (run == count) {
      const start = at - (count - 1) * BLOCK;
      if (count == 1) freshBlock = at;
      else freshRun = start;
      return start;
    }
  }
  return 0;
}

/** Bytes from this block to the next thing. */
function extent(at: usize): usize {
  return load<u8>(at) >= Kind.Large ? load<u32>(at, 4) * BLOCK : BLOCK;
}

/** Gets more memory from the host, or else by a collection. */
function grow(blocks: usize): void {
  if (first == 0) {
    // What the module has at its start.
    first = (__heap_base + BLOCK - 1) & ~(BLOCK - 1);
    end = max(first, (<usize>memory.size()) << 16);
    rewind();
    if (end - first >= blocks * BLOCK) return;
  }
  const needed = <i32>((blocks * BLOCK + 0xffff) >>> 16);
  if (memory.grow(max(needed, memory.size() >> 4)) >= 0 || memory.grow(needed) >= 0) {
    end = (<usize>memory.size()) << 16;
    return;
  }
  // Where hardly anything is to be had, each few bytes would cost a collection.
  if (taken == 0) unreachable();
  collect();
  const room = end - first;
  if (living > room - (room >> 5)) unreachable();
}

// ---- Collecting

/** Finds what lives; everything else is free after it. */
export function collect(): void {
  mark += 2;
  pending = LAST;
  living = 0;
  for (let at = first; at < end; at += extent(at)) {
    const kind = load<u8>(at);
    if (kind == Kind.Large) {
      store<u8>(at, 0, 1);
    } else if (kind == Kind.Lines || kind == Kind.Fresh) {
      clear(at);
      store<u8>(at, Kind.Lines);
    }
  }
  __visit_globals(0);
  for (let at = __stack_pointer; at < __heap_base; at += sizeof<usize>()) visit(load<usize>(at));
  visitPins();
  while (pending != LAST) {
    const object = pending;
    pending = load<u32>(object - HEADER);
    store<u32>(object - HEADER, mark);
    __visit_members(object, 0);
  }
  for (let at = first; at < end; ) {
    const size = extent(at);
    const kind = load<u8>(at);
    if (kind == Kind.Large ? load<u8>(at, 1) == 0 : kind == Kind.Lines && isEmpty(at)) release(at, size);
    at += size;
  }
  rewind();
  taken = 0;
  cycle = max(LEAST_CYCLE, living);
}

/** All searches begin at the first block. */
function rewind(): void {
  cursor = limit = freshCursor = freshLimit = 0;
  block = freshBlock = freshRun = first;
  line = 1;
}

/** Something that lives points to this object (or to nothing). */
export function visit(object: usize): void {
  if (!object) return;
  const word = load<u32>(object - HEADER);
  // Even: in the list of pending objects, except for a static object that was never met.
  if (word & 1 ? word == mark : word != 0) return;
  const id = load<u32>(object - 8);
  // Object, ArrayBuffer and String have no members.
  if (id <= idof<string>()) {
    store<u32>(object - HEADER, mark);
  } else {
    store<u32>(object - HEADER, <u32>pending);
    pending = object;
  }
  if (object < first || first == 0) return;
  const size = <usize>load<u32>(object - 4);
  living += size + HEADER;
  const home = object & ~(BLOCK - 1);
  if (load<u8>(home) != Kind.Lines) {
    store<u8>(home, 1, 1);
    return;
  }
  const last = (object + max<usize>(size, 1) - 1 - home) / LINE;
  for (let at = (object - HEADER - home) / LINE; at <= last; at++) store<u8>(home + at, 1);
}

function isEmpty(at: usize): bool {
  // The first byte is the kind.
  return ((load<u64>(at) & ~0xff) | load<u64>(at, 8) | load<u64>(at, 16) | load<u64>(at, 24)) == 0;
}

function release(start: usize, size: usize): void {
  for (let at = start, behind = start + size; at < behind; at += BLOCK) clear(at);
}

/** A block's marks of lines (there are 32), its kind with them. */
function clear(at: usize): void {
  store<u64>(at, 0);
  store<u64>(at, 0, 8);
  store<u64>(at, 0, 16);
  store<u64>(at, 0, 24);
}

// ---- Memory without objects

/** Memory that stays until it is given back. It is not zero. */
export function take(size: usize): usize {
  if (size > GREATEST) unreachable();
  return findBlocks((size + LINE + BLOCK - 1) / BLOCK, Kind.Manual) + LINE;
}

export function give(memory: usize): void {
  if (!memory) return;
  const at = memory - LINE;
  release(at, extent(at));
}

// ---- Objects held by a host in JavaScript (unit tests of guest code; a module has none)

class Pin {
  constructor(
    public object: usize,
    public next: Pin | null,
  ) {}
}
let pins: Pin | null = null;

export function pin(object: usize): usize {
  if (object) pins = new Pin(object, pins);
  return object;
}

function visitPins(): void {
  let pin: Pin | null = pins;
  while (pin !== null) {
    visit(pin.object);
    pin = pin.next;
  }
}

export function unpin(object: usize): void {
  let before: Pin | null = null;
  let pin: Pin | null = pins;
  while (pin !== null && pin.object != object) {
    before = pin;
    pin = pin.next;
  }
  if (pin === null) return;
  if (before === null) pins = pin.next;
  else before.next = pin.next;
}
