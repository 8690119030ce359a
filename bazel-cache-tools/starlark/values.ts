// The values of Starlark. Integers are numbers while they are safe and bigints beyond; strings are JavaScript's.
import { Fault, type Site, UnknownMet } from "./errors.js";
import { keyOf } from "./keys.js";
import { spend } from "./session.js";

export type Value = null | boolean | number | bigint | string | Float | List | Tuple | Dict | SetValue | Struct | Callable | Unknown;

/** A value that could not be computed. It is never guessed: every operation on it gives it again. */
export class Unknown {
  constructor(
    readonly reason: string,
    readonly at: Site,
  ) {}
}

/** A floating-point number: apart from the integers, because `1.0` prints otherwise than `1`. */
export class Float {
  constructor(readonly value: number) {}
}

export class List {
  constructor(readonly items: Value[] = []) {}
}

export class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

/** A dict: keys in the order of insertion, equal by value. Keys that cannot be hashed are an error. */
export class Dict {
  readonly #entries = new Map<unknown, [Value, Value]>();

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(keyOf(key))?.[1];
  }

  has(key: Value): boolean {
    return this.#entries.has(keyOf(key));
  }

  set(key: Value, value: Value): void {
    const hashed = keyOf(key);
    const entry = this.#entries.get(hashed);
    if (entry) entry[1] = value;
    else this.#entries.set(hashed, [key, value]);
  }

  delete(key: Value): boolean {
    return this.#entries.delete(keyOf(key));
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Key and value pairs; not to be changed. */
  entries(): Iterable<readonly [Value, Value]> {
    return this.#entries.values();
  }

  keys(): Value[] {
    return Array.from(this.#entries.values(), ([key]) => key);
  }

  values(): Value[] {
    return Array.from(this.#entries.values(), ([, value]) => value);
  }
}

/** `set` (bazel 8.0: on by default): a dict of which only the keys count. */
export class SetValue {
  readonly members = new Dict();

  constructor(items: Iterable<Value> = []) {
    for (const item of items) this.members.set(item, null);
  }
}

/**
 * Named fields. A host derives from it for objects whose attributes it makes up: override `get`.
 * `kind` is what `type()` says and what it prints with.
 */
export class Struct {
  constructor(
    readonly fields: ReadonlyMap<string, Value> = new Map(),
    readonly kind: string = "struct",
  ) {}

  get(name: string): Value | undefined {
    return this.fields.get(name);
  }
}

/** One call, as the callee sees it. */
export interface Call {
  positional: Value[];
  named: Map<string, Value>;
  at: Site;
  /** Call sites from the outermost (in a top-level statement) to this one. */
  stack: Site[];
}

/** What can be called: a `Builtin`, or a function that a file defines. */
export abstract class Callable {
  abstract readonly name: string;
  abstract invoke(call: Call): Value;
}

/** A function of the host's. It may throw `StarlarkError` with the call's site. */
export class Builtin extends Callable {
  constructor(
    readonly name: string,
    private readonly run: (call: Call) => Value,
  ) {
    super();
  }

  override invoke(call: Call): Value {
    return this.run(call);
  }
}

const TYPE_NAMES: ReadonlyMap<string, string> = new Map([
  ["boolean", "bool"],
  ["number", "int"],
  ["bigint", "int"],
  ["string", "string"],
]);

/** What `type(value)` says, as Bazel's Starlark names it. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (value instanceof Float) return "float";
  if (value instanceof List) return "list";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof SetValue) return "set";
  if (value instanceof Struct) return value.kind;
  if (value instanceof Builtin) return "builtin_function_or_method";
  if (value instanceof Callable) return "function";
  if (value instanceof Unknown) return "unknown";
  return TYPE_NAMES.get(typeof value)!;
}

/** Whether a value counts as true; that of an `Unknown` is not to be told. */
export function truth(value: Value): boolean {
  if (value === null || typeof value !== "object") return Boolean(value);
  if (value instanceof Unknown) throw new UnknownMet(value);
  if (value instanceof List || value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Dict) return value.size > 0;
  if (value instanceof SetValue) return value.members.size > 0;
  if (value instanceof Float) return value.value !== 0;
  return true;
}

/** The elements of a list, tuple or set; undefined for everything else. */
export function listOf(value: Value): Value[] | undefined {
  if (value instanceof List || value instanceof Tuple) return [...value.items];
  if (value instanceof SetValue) return value.members.keys();
  return undefined;
}

/** The elements that a loop over `value` sees: a copy, so that the loop may change what it runs over. */
export function iterate(value: Value): Value[] {
  const items = value instanceof Dict ? value.keys() : listOf(value);
  if (items) {
    spend(items.length);
    return items;
  }
  if (value instanceof Unknown) throw new UnknownMet(value);
  throw new Fault(`'${typeName(value)}' value is not iterable`);
}
