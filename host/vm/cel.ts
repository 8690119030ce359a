// CEL expressions of `expr_create` and `expr_evaluate` over a stream's attributes.
import { type CelResult, celEnv, isCelError, isCelList, isCelMap, isCelUint, parse, plan } from "@bufbuild/cel";
import { isReflectMessage, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { Context } from "./context.js";
import { rootValue } from "./properties.js";
import { encodeValue, type Value } from "./values.js";

type Program = (bindings: Record<string, never>) => CelResult;

const ROOTS = [
  "request",
  "response",
  "connection",
  "upstream",
  "source",
  "destination",
  "metadata",
  "filter_state",
  "xds",
  "plugin_name",
  "plugin_root_id",
  "plugin_vm_id",
];

const environment = celEnv({});

/** The expressions of one root context. Tokens count from 0. */
export class Expressions {
  private readonly programs = new Map<number, Program>();
  private next = 0;

  /** A token, or what is wrong with the text. */
  create(text: string): number | Error {
    try {
      this.programs.set(this.next, plan(environment, parse(text)) as Program);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
    return this.next++;
  }

  /** The result's bytes, or a status. */
  evaluate(token: number, context: Context): Uint8Array | number {
    const program = this.programs.get(token);
    if (!program) return 1;
    if (!context.observed) return 10;
    const bindings: Record<string, unknown> = {};
    const wholes = new Set<unknown>();
    for (const name of ROOTS) {
      const value = rootValue(context, name);
      if (value === undefined) continue;
      const bound = toCel(value);
      if (typeof value === "object" && value !== null && "look" in value) wholes.add(bound);
      bindings[name] = bound;
    }
    let result: CelResult;
    try {
      result = program(bindings as Record<string, never>);
    } catch {
      return 10;
    }
    if (isCelError(result)) return 10;
    // envoy 1.40: "request" and its like can be looked into but not handed over.
    if (isCelMap(result) && wholes.has(nativeOf(result))) return 3;
    return encodeValue(fromCel(result)) ?? 3;
  }

  delete(token: number): void {
    this.programs.delete(token);
  }
}

function nativeOf(map: object): unknown {
  return (map as { _map?: unknown })._map;
}

function toCel(value: Value): unknown {
  if (value === null || typeof value !== "object") return value;
  if ("int" in value) return value.int;
  if ("uint" in value) return value.uint;
  if ("duration" in value) return value.duration;
  if ("timestamp" in value) return value.timestamp;
  if ("list" in value) return value.list.map(toCel);
  if ("map" in value) return new Map(value.map.map(([key, item]) => [key, toCel(item)]));
  if ("look" in value) {
    const map = new Map<string, unknown>();
    for (const name of value.names) {
      const found = value.look(name);
      if (found !== undefined) map.set(name, toCel(found));
    }
    return map;
  }
  const fields = value.field?.("filter_metadata");
  return fields ? new Map([["filter_metadata", toCel(fields)]]) : value.bytes;
}

function fromCel(result: unknown): Value {
  if (result === null || typeof result === "boolean" || typeof result === "number") return result;
  if (typeof result === "string") return Buffer.from(result, "latin1").toString("latin1");
  if (typeof result === "bigint") return { int: result };
  if (result instanceof Uint8Array) return { bytes: result };
  if (isCelUint(result as never)) return { uint: (result as { value: bigint }).value };
  if (isCelList(result as never)) return { list: [...(result as Iterable<unknown>)].map(fromCel) };
  if (isCelMap(result as never)) {
    return { map: [...(result as unknown as Iterable<[unknown, unknown]>)].map(([key, value]) => [keyText(fromCel(key)), fromCel(value)]) };
  }
  if (isReflectMessage(result)) {
    const { message, desc } = result as ReflectMessage;
    const { seconds, nanos } = message as unknown as { seconds: bigint; nanos: number };
    const nanoseconds = seconds * 1_000_000_000n + BigInt(nanos);
    return desc.typeName === "google.protobuf.Timestamp" ? { timestamp: nanoseconds } : { duration: nanoseconds };
  }
  return null;
}

function keyText(value: Value): string {
  return Buffer.from(encodeValue(value) ?? new Uint8Array(0)).toString("latin1");
}
