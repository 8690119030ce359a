// What lives how long: a Root per configuration (Envoy adds roots to the living VM when a configuration is pushed), a Stream per request, a Cell per
// filter and stream. Everything of a configuration hangs on its Root and goes with it.

import { FetchResponse } from "../fetch";
import { AnyFilter, OnError } from "../filter";
import { Json } from "../json";
import { Message } from "../message";
import { Stream } from "../stream";
import { Coroutine } from "./coroutine";

/** What a filter can do to a message; computed by the compiler from what the filter's code can reach. Same bits in host/compiler/passes/features.ts. */
export namespace Feature {
  export const Request: i32 = 1;
  export const Next: i32 = 2;
  export const RequestBody: i32 = 4;
  export const ResponseBody: i32 = 8;
  export const RequestWhole: i32 = 16;
  export const ResponseWhole: i32 = 32;
  export const RequestEdits: i32 = 64;
  export const ResponseEdits: i32 = 128;
}

/** What the compiler knows about the module's filters. It generates the one subclass and hands it over at start. */
export class Registry {
  get count(): i32 {
    return 0;
  }
  name(index: i32): string {
    return "";
  }
  onError(index: i32): OnError {
    return OnError.Closed;
  }
  /** The style: a new instance for every stream, callbacks instead of `handle`. */
  lowLevel(index: i32): bool {
    return false;
  }
  features(index: i32): i32 {
    return 0;
  }
  /** Whether the filter's own configuration has a field of this name. */
  hasField(index: i32, name: string): bool {
    return false;
  }
  /** Parses a configuration; what is wrong with it is added to `problems`. */
  parse(index: i32, json: Json, path: string, problems: string[]): Object {
    return problems;
  }
  create(index: i32, config: Object): AnyFilter {
    return new AnyFilter();
  }
  /** The author's files, for the places named in faults. */
  get files(): StaticArray<string> {
    return [];
  }
}

export let registry: Registry = new Registry();
export function useRegistry(given: Registry): void {
  registry = given;
}

/** A filter as one configuration has it. */
export class Link {
  /** The linear filter itself; for a low-level one a new instance is made per stream. */
  filter: AnyFilter | null = null;
  constructor(
    public index: i32,
    public name: string,
    public onError: OnError,
    public config: Object,
  ) {}
}

export class Root {
  links: Link[] = [];
  following: Root | null = null;
  /** A low-level filter stands alone. */
  lowLevel: bool = false;
  features: i32 = 0;
  /** Filters of this chain that deal with the request's (response's) body; with more than one, a streamed body is buffered. */
  requestReaders: i32 = 0;
  responseReaders: i32 = 0;
  constructor(public id: u32) {}
}

// What the module's filters need of the runtime; the compiler sets these and the optimiser removes the rest.
/** Some filter is linear. */
export let usesLinear: i32 = 1;
/** Some filter is low-level. */
export let usesLowLevel: i32 = 1;
/** Something can suspend. */
export let usesCoroutines: i32 = 1;
/** A configuration can say something: a filter has fields, or there are several filters. */
export let usesConfig: i32 = 1;

let roots: Root | null = null;

export function findRoot(id: u32): Root | null {
  let root: Root | null = roots;
  while (root !== null) {
    if (root.id == id) return root;
    root = root.following;
  }
  return null;
}

export function addRoot(root: Root): void {
  root.following = roots;
  roots = root;
}

export function removeRoot(id: u32): void {
  let before: Root | null = null;
  let root: Root | null = roots;
  while (root !== null) {
    if (root.id == id) {
      if (before === null) roots = root.following;
      else before.following = root.following;
      return;
    }
    before = root;
    root = root.following;
  }
}

/** How far a filter has come in a stream. */
export namespace State {
  export const Ready: i32 = 0;
  /** Running, or stopped for good. */
  export const Done: i32 = 1;
  export const WaitCall: i32 = 2;
  export const WaitEnd: i32 = 3;
  export const WaitChunk: i32 = 4;
  export const WaitNext: i32 = 5;
}

/** A filter's place in a stream, with its coroutine. */
export class Cell extends Coroutine {
  state: i32 = State.Ready;
  /** The message whose end or chunk is awaited. */
  message: Message | null = null;
  /** Calls still unanswered. */
  pending: i32 = 0;
  /** `next()` was called. */
  passed: bool = false;
  inner: Cell | null = null;
  outer: Cell | null = null;
  constructor(
    public stream: Stream,
    public link: Link,
  ) {
    super();
  }

  /** Ends the coroutine wherever it stands. */
  drop(): void {
    this.state = State.Done;
    this.suspended = false;
    this.slots = null;
    this.frames = null;
  }
}

// ---- Streams by context id: a chained table that doubles, so that a look-up costs the same with one stream or ten thousand.

let buckets: StaticArray<Stream | null> = new StaticArray<Stream | null>(64);
let live: i32 = 0;

export function findStream(id: u32): Stream | null {
  let stream: Stream | null = unchecked(buckets[id & (buckets.length - 1)]);
  while (stream !== null) {
    if (stream.id == id) return stream;
    stream = stream.chained;
  }
  return null;
}

export function addStream(stream: Stream): void {
  if (live >= buckets.length) grow();
  const at = stream.id & (buckets.length - 1);
  stream.chained = unchecked(buckets[at]);
  unchecked((buckets[at] = stream));
  live++;
}

function grow(): void {
  const old = buckets;
  const wide = new StaticArray<Stream | null>(old.length << 1);
  for (let i = 0; i < old.length; i++) {
    let stream: Stream | null = unchecked(old[i]);
    while (stream !== null) {
      const chained = stream.chained;
      const at = stream.id & (wide.length - 1);
      stream.chained = unchecked(wide[at]);
      unchecked((wide[at] = stream));
      stream = chained;
    }
  }
  buckets = wide;
}

/** Streams that are kept, each with its coroutine. */
export function keptStreams(): i32 {
  return live;
}

export function removeStream(id: u32): Stream | null {
  const at = id & (buckets.length - 1);
  let before: Stream | null = null;
  let stream: Stream | null = unchecked(buckets[at]);
  while (stream !== null) {
    if (stream.id == id) {
      if (before === null) unchecked((buckets[at] = stream.chained));
      else before.chained = stream.chained;
      stream.chained = null;
      live--;
      return stream;
    }
    before = stream;
    stream = stream.chained;
  }
  return null;
}

// ---- Callouts by token, in the same kind of table; they are few.

export class PendingCall {
  chained: PendingCall | null = null;
  constructor(
    public token: u32,
    public stream: Stream,
    /** The waiting coroutine; null for a low-level filter, which gets a callback. */
    public cell: Cell | null,
    public response: FetchResponse,
  ) {}
}

const calls: StaticArray<PendingCall | null> = new StaticArray<PendingCall | null>(256);

export function addCall(call: PendingCall): void {
  const at = (call.token >> 2) & 255;
  call.chained = unchecked(calls[at]);
  unchecked((calls[at] = call));
}

export function takeCall(token: u32): PendingCall | null {
  const at = (token >> 2) & 255;
  let before: PendingCall | null = null;
  let call: PendingCall | null = unchecked(calls[at]);
  while (call !== null) {
    if (call.token == token) {
      if (before === null) unchecked((calls[at] = call.chained));
      else before.chained = call.chained;
      return call;
    }
    before = call;
    call = call.chained;
  }
  return null;
}

/** Envoy cancels a root's calls with the root and tells nobody. */
export function dropCalls(root: Root): void {
  for (let i = 0; i < calls.length; i++) {
    let before: PendingCall | null = null;
    let call: PendingCall | null = unchecked(calls[i]);
    while (call !== null) {
      if (call.stream.root === root) {
        if (before === null) unchecked((calls[i] = call.chained));
        else before.chained = call.chained;
      } else {
        before = call;
      }
      call = call.chained;
    }
  }
}
