// Envoy's foreign functions (facts/envoy-wasm.md A11): what `proxy_call_foreign_function` offers beyond the ABI.
import { createPrivateKey, createPublicKey, type KeyObject, sign as signBytes, verify } from "node:crypto";
import { deflateSync, inflateSync } from "node:zlib";
import { Expressions } from "./cel.js";
import type { Context } from "./context.js";
import { bytesField, readFields, varintField } from "./protobuf.js";

/** The result's bytes, or a status. */
type Foreign = (context: Context, argument: Uint8Array) => Uint8Array | number;

const NotFound = 1;
const BadArgument = 2;
const SerializationFailure = 3;

const NOTHING = new Uint8Array(0);

/** Filter state objects that a wasm filter can make: those whose factory Envoy knows by this name, and what their values must look like. */
const FACTORIES: Record<string, (value: string) => boolean> = {
  "envoy.string": () => true,
  "envoy.network.upstream_server_name": () => true,
  "envoy.network.application_protocols": () => true,
  "envoy.network.upstream_subject_alt_names": () => true,
  "envoy.network.transport_socket.original_dst_address": isAddress,
  "envoy.filters.listener.original_dst.local_ip": isAddress,
  "envoy.filters.listener.original_dst.remote_ip": isAddress,
  "envoy.upstream.dynamic_host": () => true,
  "envoy.upstream.dynamic_port": (value) => /^\d{1,5}$/.test(value),
  "envoy.tcp_proxy.cluster": () => true,
  "envoy.tcp_proxy.disable_tunneling": () => true,
};

function isAddress(value: string): boolean {
  return /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):\d{1,5}$/.test(value);
}

const HASHES = new Set(["sha1", "sha224", "sha256", "sha384", "sha512"]);

const TYPES = ["bytes", "string", "flatbuffers", "protobuf"] as const;

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const FUNCTIONS: Record<string, Foreign> = {
  compress: (_context, argument) => deflateSync(argument),

  uncompress(_context, argument) {
    try {
      return inflateSync(argument);
    } catch {
      return SerializationFailure;
    }
  },

  clear_route_cache(context) {
    context.clearRouteCache();
    return NOTHING;
  },

  set_envoy_filter_state(context, argument) {
    const fields = readFields(argument);
    if (!fields) return BadArgument;
    const text = (number: number) => latin1(fields.findLast((field) => field.number === number)?.bytes ?? NOTHING);
    const info = context.stream;
    if (!info) return NotFound;
    const accepts = FACTORIES[text(1)];
    if (!accepts) return NotFound;
    if (!accepts(text(2))) return BadArgument;
    info.filterState.set(text(1), { value: text(2), fromWasm: false, readOnly: false });
    return NOTHING;
  },

  declare_property(context, argument) {
    const fields = readFields(argument);
    if (!fields) return BadArgument;
    const name = latin1(fields.findLast((field) => field.number === 1)?.bytes ?? NOTHING);
    const number = (field: number) => Number(fields.findLast((f) => f.number === field)?.value ?? 0n);
    context.declared ??= new Map();
    if (context.declared.has(name)) return BadArgument;
    context.declared.set(name, { readOnly: number(2) !== 0, type: TYPES[number(3)] ?? "bytes" });
    return NOTHING;
  },

  expr_create(context, argument) {
    const { root } = context;
    root.expressions ??= new Expressions();
    const token = root.expressions.create(Buffer.from(argument).toString("utf8"));
    if (typeof token !== "number") {
      context.vm.log("info", `expr_create parse error: ${token.message}`);
      return BadArgument;
    }
    return u32(token);
  },

  expr_evaluate(context, argument) {
    if (argument.length !== 4) return BadArgument;
    // envoy 1.40: the context whose callback runs, whatever was made effective.
    const current = context.vm.current ?? context;
    return context.root.expressions?.evaluate(new DataView(argument.buffer, argument.byteOffset).getUint32(0, true), current) ?? NotFound;
  },

  expr_delete(context, argument) {
    if (argument.length !== 4) return BadArgument;
    context.root.expressions?.delete(new DataView(argument.buffer, argument.byteOffset).getUint32(0, true));
    return NOTHING;
  },

  verify_signature(_context, argument) {
    const fields = readFields(argument);
    if (!fields) return BadArgument;
    const bytes = (number: number) => fields.findLast((field) => field.number === number)?.bytes ?? NOTHING;
    const key = oneKey(
      bytes(2),
      bytes(5),
      (der) => createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" }),
      (pem) => createPublicKey(pem),
    );
    if (key === undefined) return BadArgument;
    const answer = (result: boolean, error: string) =>
      Buffer.concat([result ? varintField(1, 1n) : NOTHING, error ? bytesField(2, Buffer.from(error)) : NOTHING]);
    if (key instanceof Error) return answer(false, "Failed to import public key");
    const hash = latin1(bytes(1)).toLowerCase();
    if (!HASHES.has(hash)) return answer(false, `${latin1(bytes(1))} is not supported.`);
    const good = verify(hash, bytes(4), key, bytes(3));
    return answer(good, good ? "" : "Failed to verify digital signature. Error code: 0");
  },

  sign(_context, argument) {
    const fields = readFields(argument);
    if (!fields) return BadArgument;
    const bytes = (number: number) => fields.findLast((field) => field.number === number)?.bytes ?? NOTHING;
    const key = oneKey(
      bytes(2),
      bytes(4),
      (der) => createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" }),
      (pem) => createPrivateKey(pem),
    );
    if (key === undefined) return BadArgument;
    const fail = (error: string) => Buffer.from(bytesField(3, Buffer.from(error)));
    if (key instanceof Error) return fail("Failed to import private key");
    const hash = latin1(bytes(1)).toLowerCase();
    if (!HASHES.has(hash)) return fail(`${latin1(bytes(1))} is not supported.`);
    return Buffer.concat([varintField(1, 1n), bytesField(2, signBytes(hash, bytes(3), key))]);
  },
};

/** Exactly one of a DER and a PEM key must be given. */
function oneKey(der: Uint8Array, pem: Uint8Array, fromDer: (der: Uint8Array) => KeyObject, fromPem: (pem: string) => KeyObject): KeyObject | Error | undefined {
  if (der.length > 0 === pem.length > 0) return undefined;
  try {
    return der.length > 0 ? fromDer(der) : fromPem(latin1(pem));
  } catch (error) {
    return error as Error;
  }
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** A foreign function by name; undefined where Envoy has none. */
export function foreignFunction(name: string): Foreign | undefined {
  return Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
}
