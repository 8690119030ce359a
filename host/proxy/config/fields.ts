// Reads protobuf JSON (or YAML) message by message. What a reader does not ask for is refused by name: nothing in a configuration is ignored silently.

/** A configuration that is wrong, or that this engine does not support. `envoyReason` is set where a real Envoy refuses it too, in its words. */
export class ConfigError extends Error {
  constructor(
    message: string,
    readonly envoyReason?: string,
  ) {
    super(message);
  }
}

const camel = (name: string): string => (name.includes("_") ? name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()) : name);

export type Obj = Record<string, unknown>;

function isObject(value: unknown): value is Obj {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** How many letters make one word of the other (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/** One message. Fields may be written in snake_case or lowerCamelCase. */
export class Fields {
  private readonly asked = new Set<string>(["@type"]);

  constructor(
    private readonly json: Obj,
    readonly path: string,
  ) {}

  static of(json: unknown, path: string): Fields {
    if (!isObject(json)) throw new ConfigError(`${path}: must be an object`);
    return new Fields(json, path);
  }

  private raw(name: string): unknown {
    this.asked.add(name);
    const other = camel(name);
    this.asked.add(other);
    const value = this.json[name];
    return value === undefined || value === null ? (this.json[other] ?? undefined) : value;
  }

  /** The whole message is wrong. */
  refuse(what: string): never {
    throw new ConfigError(`${this.path}: ${what}`);
  }

  fail(name: string, what: string): never {
    throw new ConfigError(`${this.path}.${name}: ${what}`);
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  /** The value as it is written. */
  json_(name: string): unknown {
    return this.raw(name);
  }

  string(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value === "string") return value;
    return this.fail(name, "must be a string");
  }

  required(name: string): string {
    return this.string(name) || this.fail(name, `is missing${this.hint(name)}`);
  }

  /** A field that was perhaps meant. */
  private hint(name: string): string {
    const near = Object.keys(this.json).find((key) => !this.asked.has(key) && (distance(key, name) <= 2 || distance(key, camel(name)) <= 2));
    return near === undefined ? "" : ` (there is ${near})`;
  }

  number(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const number = typeof value === "string" ? Number(value) : value;
    return typeof number === "number" && Number.isFinite(number) ? number : this.fail(name, "must be a number");
  }

  /** A port; 0 where it is not given. */
  port(name: string): number {
    const value = this.number(name) ?? 0;
    return Number.isInteger(value) && value >= 0 && value <= 65535 ? value : this.fail(name, "must be a whole number from 0 to 65535");
  }

  bool(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    return typeof value === "boolean" ? value : this.fail(name, "must be true or false");
  }

  /** "1.5s" in milliseconds. */
  duration(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const match = typeof value === "string" ? /^(-?\d+(?:\.\d{1,9})?)s$/.exec(value) : null;
    return match ? Number(match[1]) * 1000 : this.fail(name, 'must be a duration, as "1.5s"');
  }

  /** A name of the list, or its place in it. */
  choice<T extends string>(name: string, names: readonly T[], fallback: T): T {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    const found = typeof value === "number" ? names[value] : names.find((candidate) => candidate === value);
    return found ?? this.fail(name, `the node engine supports ${names.join(", ")}`);
  }

  message(name: string): Fields | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : Fields.of(value, `${this.path}.${name}`);
  }

  list(name: string): Fields[] {
    return this.array(name).map((item, i) => Fields.of(item, `${this.path}.${name}[${i}]`));
  }

  numbers(name: string): number[] {
    return this.array(name).map((item, i) => (typeof item === "number" ? item : this.fail(`${name}[${i}]`, "must be a number")));
  }

  strings(name: string): string[] {
    return this.array(name).map((item, i) => (typeof item === "string" ? item : this.fail(`${name}[${i}]`, "must be a string")));
  }

  private array(name: string): unknown[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    return Array.isArray(value) ? value : this.fail(name, "must be a list");
  }

  map(name: string): [string, unknown][] {
    const value = this.raw(name);
    if (value === undefined) return [];
    return isObject(value) ? Object.entries(value) : this.fail(name, "must be an object");
  }

  /** The type that an Any says it is, without its host. */
  get type(): string {
    const type = this.json["@type"];
    return typeof type === "string" ? type.slice(type.lastIndexOf("/") + 1) : "";
  }

  /** Fields that change nothing here. */
  accept(...names: string[]): this {
    for (const name of names) this.raw(name);
    return this;
  }

  /** Refuses what nobody asked for. */
  done(): void {
    for (const name of Object.keys(this.json)) {
      if (!this.asked.has(name)) throw new ConfigError(`${this.path}.${name}: the node engine does not support this field`);
    }
  }
}
