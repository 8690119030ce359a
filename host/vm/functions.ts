// The host functions of proxy-wasm, as Envoy answers them (facts/envoy-wasm.md A4, corrected by envoy-verified.md), and their binding to a module's imports.
import { MAX_PAGES } from "../wasm/binary.js";
import { allowedWhile, HOST_FUNCTIONS, WASI_MODULES } from "../wasm/proxy-wasm.js";
import { Bytes } from "./bytes.js";
import type { Context, GuestBuffer } from "./context.js";
import { LEVELS } from "./environment.js";
import { foreignFunction } from "./foreign.js";
import { HeaderMap } from "./headermap.js";
import { getProperty, setProperty } from "./properties.js";
import { allows, type Vm } from "./vm.js";
import { wasiFunctions } from "./wasi.js";
import { decodePairs, pairsSize, writePairs } from "./wire.js";

const Ok = 0;
const NotFound = 1;
const BadArgument = 2;
const InvalidMemoryAccess = 6;
const Empty = 7;
const CasMismatch = 8;
const InternalFailure = 10;
const Unimplemented = 12;

const MAX_MAP = 7;
const MAX_BUFFER = 8;

type HostFunction = (vm: Vm, context: Context, ...args: number[]) => number;

/** Hands bytes to the guest: memory from its malloc, pointer and size at the two addresses. No bytes are a null pointer. */
function give(vm: Vm, bytes: Uint8Array, pointerAt: number, sizeAt: number): number {
  let pointer = 0;
  if (bytes.length > 0) {
    pointer = vm.allocate(bytes.length);
    if (pointer === 0 || !vm.memory.setBytes(pointer, bytes)) return InvalidMemoryAccess;
  }
  return vm.memory.setU32(pointerAt, pointer) && vm.memory.setU32(sizeAt, bytes.length) ? Ok : InvalidMemoryAccess;
}

function giveText(vm: Vm, text: string, pointerAt: number, sizeAt: number): number {
  let pointer = 0;
  if (text.length > 0) {
    pointer = vm.allocate(text.length);
    if (pointer === 0 || !vm.memory.setText(pointer, text)) return InvalidMemoryAccess;
  }
  return vm.memory.setU32(pointerAt, pointer) && vm.memory.setU32(sizeAt, text.length) ? Ok : InvalidMemoryAccess;
}

function givePairs(vm: Vm, map: HeaderMap | undefined, pointerAt: number, sizeAt: number): number {
  const { names, values } = map ? map.lists() : { names: [], values: [] };
  if (names.length === 0) return vm.memory.setU32(pointerAt, 0) && vm.memory.setU32(sizeAt, 0) ? Ok : InvalidMemoryAccess;
  const size = pairsSize(names, values);
  const pointer = vm.allocate(size);
  const into = pointer === 0 ? undefined : vm.memory.range(pointer, size);
  if (!into) return InvalidMemoryAccess;
  writePairs(names, values, into, 0);
  return vm.memory.setU32(pointerAt, pointer) && vm.memory.setU32(sizeAt, size) ? Ok : InvalidMemoryAccess;
}

function bufferLength(buffer: GuestBuffer): number {
  return buffer === undefined || buffer === "none" ? 0 : buffer.length;
}

/** Runs a change of a header map; a changed request header makes Envoy look for the route again (ABI up to 0.2.1). */
function change(context: Context, type: number, apply: (map: HeaderMap) => void): number {
  const map = type <= MAX_MAP ? context.writableMap(type) : undefined;
  if (!map) return BadArgument;
  apply(map);
  if (type === 0) context.onRequestHeadersChanged();
  return Ok;
}

const lower = (name: string): string => name.toLowerCase();

export const FUNCTIONS: Record<string, HostFunction> = {
  proxy_log(vm, context, level, pointer, size) {
    if (level! >>> 0 > 5) return BadArgument;
    const text = vm.memory.text(pointer!, size!);
    if (text === undefined) return InvalidMemoryAccess;
    if (level! >= vm.env.wasmLogLevel) vm.log(LEVELS[level!]!, `wasm log${context?.logPrefix ?? ""}: ${utf8(text)}`);
    return Ok;
  },

  proxy_get_log_level(vm, _context, at) {
    return vm.memory.setU32(at!, vm.env.wasmLogLevel) ? Ok : InvalidMemoryAccess;
  },

  proxy_get_status(vm, { root }, codeAt, pointerAt, sizeAt) {
    if (!vm.memory.setU32(codeAt!, root.statusCode)) return InvalidMemoryAccess;
    return giveText(vm, root.statusMessage, pointerAt!, sizeAt!);
  },

  proxy_get_property(vm, context, pathPointer, pathSize, pointerAt, sizeAt) {
    const path = vm.memory.text(pathPointer!, pathSize!);
    if (path === undefined) return InvalidMemoryAccess;
    const found = getProperty(context, path);
    return typeof found === "number" ? found : give(vm, found, pointerAt!, sizeAt!);
  },

  proxy_set_property(vm, context, keyPointer, keySize, valuePointer, valueSize) {
    const key = vm.memory.text(keyPointer!, keySize!);
    const value = vm.memory.text(valuePointer!, valueSize!);
    return key === undefined || value === undefined ? InvalidMemoryAccess : setProperty(context, key, value);
  },

  proxy_send_local_response(vm, context, status, detailsPointer, detailsSize, bodyPointer, bodySize, pairsPointer, pairsSize, grpcStatus) {
    const details = vm.memory.text(detailsPointer!, detailsSize!);
    const body = vm.memory.text(bodyPointer!, bodySize!);
    const pairs = vm.memory.copy(pairsPointer!, pairsSize!);
    if (details === undefined || body === undefined || !pairs) return InvalidMemoryAccess;
    const headers = decodePairs(pairs).map(([name, value]) => [lower(name), value] as const);
    context.sendLocalReply({
      status: status! & 0xffff,
      body,
      details: details.replace(/[ \t-\r]/g, "_"),
      grpcStatus: grpcStatus! >= 0 && grpcStatus! <= 16 ? grpcStatus! : undefined,
      modifyHeaders: (map) => {
        for (const [name, value] of headers) if (name !== ":status") map.add(name, value);
      },
    });
    vm.stopIteration = true;
    return Ok;
  },

  proxy_get_shared_data(vm, _context, keyPointer, keySize, pointerAt, sizeAt, casAt) {
    const key = vm.memory.text(keyPointer!, keySize!);
    if (key === undefined) return InvalidMemoryAccess;
    const entry = vm.env.sharedData.get(vm.config.vmId, key);
    if (!entry) return NotFound;
    const status = giveText(vm, entry.value, pointerAt!, sizeAt!);
    return status === Ok && !vm.memory.setU32(casAt!, entry.cas) ? InvalidMemoryAccess : status;
  },

  proxy_set_shared_data(vm, _context, keyPointer, keySize, valuePointer, valueSize, cas) {
    const key = vm.memory.text(keyPointer!, keySize!);
    const value = vm.memory.text(valuePointer!, valueSize!);
    if (key === undefined || value === undefined) return InvalidMemoryAccess;
    return vm.env.sharedData.set(vm.config.vmId, key, value, cas! >>> 0) ? Ok : CasMismatch;
  },

  proxy_register_shared_queue(vm, { root }, namePointer, nameSize, tokenAt) {
    const name = vm.memory.text(namePointer!, nameSize!);
    if (name === undefined) return InvalidMemoryAccess;
    const token = vm.env.queues.register(vm.config.vmId, name, (ready) => vm.env.post(() => root.onQueueReady(ready)));
    return vm.memory.setU32(tokenAt!, token) ? Ok : InvalidMemoryAccess;
  },

  proxy_resolve_shared_queue(vm, _context, vmIdPointer, vmIdSize, namePointer, nameSize, tokenAt) {
    const vmId = vm.memory.text(vmIdPointer!, vmIdSize!);
    const name = vm.memory.text(namePointer!, nameSize!);
    if (vmId === undefined || name === undefined) return InvalidMemoryAccess;
    const token = vm.env.queues.resolve(vmId === "" ? vm.config.vmId : vmId, name);
    if (token === undefined) return NotFound;
    return vm.memory.setU32(tokenAt!, token) ? Ok : InvalidMemoryAccess;
  },

  proxy_dequeue_shared_queue(vm, _context, token, pointerAt, sizeAt) {
    const found = vm.env.queues.dequeue(token! >>> 0);
    if (found === "unknown") return NotFound;
    return found === "empty" ? Empty : giveText(vm, found.value, pointerAt!, sizeAt!);
  },

  proxy_enqueue_shared_queue(vm, _context, token, pointer, size) {
    const value = vm.memory.text(pointer!, size!);
    if (value === undefined) return InvalidMemoryAccess;
    return vm.env.queues.enqueue(token! >>> 0, value) ? Ok : NotFound;
  },

  proxy_get_header_map_value(vm, context, type, keyPointer, keySize, pointerAt, sizeAt) {
    if (type! >>> 0 > MAX_MAP) return BadArgument;
    const key = vm.memory.text(keyPointer!, keySize!);
    if (key === undefined) return InvalidMemoryAccess;
    const map = context.readableMap(type!);
    if (!map) return context.inLog ? NotFound : BadArgument;
    const value = map.get(lower(key));
    if (value === undefined) return vm.module.abiVersion === "0.1.0" ? giveText(vm, "", pointerAt!, sizeAt!) : NotFound;
    return giveText(vm, value, pointerAt!, sizeAt!);
  },

  proxy_add_header_map_value(vm, context, type, keyPointer, keySize, valuePointer, valueSize) {
    const key = vm.memory.text(keyPointer!, keySize!);
    const value = vm.memory.text(valuePointer!, valueSize!);
    if (type! >>> 0 > MAX_MAP) return BadArgument;
    if (key === undefined || value === undefined) return InvalidMemoryAccess;
    return change(context, type!, (map) => map.add(lower(key), value));
  },

  proxy_replace_header_map_value(vm, context, type, keyPointer, keySize, valuePointer, valueSize) {
    const key = vm.memory.text(keyPointer!, keySize!);
    const value = vm.memory.text(valuePointer!, valueSize!);
    if (type! >>> 0 > MAX_MAP) return BadArgument;
    if (key === undefined || value === undefined) return InvalidMemoryAccess;
    return change(context, type!, (map) => map.replace(lower(key), value));
  },

  proxy_remove_header_map_value(vm, context, type, keyPointer, keySize) {
    const key = vm.memory.text(keyPointer!, keySize!);
    if (type! >>> 0 > MAX_MAP) return BadArgument;
    if (key === undefined) return InvalidMemoryAccess;
    return change(context, type!, (map) => map.remove(lower(key)));
  },

  proxy_get_header_map_pairs(vm, context, type, pointerAt, sizeAt) {
    return type! >>> 0 > MAX_MAP ? BadArgument : givePairs(vm, context.readableMap(type!), pointerAt!, sizeAt!);
  },

  proxy_set_header_map_pairs(vm, context, type, pointer, size) {
    if (type! >>> 0 > MAX_MAP) return BadArgument;
    const bytes = vm.memory.range(pointer!, size!);
    if (!bytes) return InvalidMemoryAccess;
    const pairs = decodePairs(bytes);
    return change(context, type!, (map) => {
      map.clear();
      for (const [name, value] of pairs) map.add(lower(name), value);
    });
  },

  proxy_get_header_map_size(vm, context, type, at) {
    const map = type! >>> 0 > MAX_MAP ? undefined : context.writableMap(type!);
    if (!map) return BadArgument;
    return vm.memory.setU32(at!, map.byteSize) ? Ok : InvalidMemoryAccess;
  },

  proxy_get_buffer_status(vm, context, type, lengthAt, flagsAt) {
    if (type! >>> 0 > MAX_BUFFER) return BadArgument;
    const buffer = context.buffer(type!);
    if (buffer === undefined) return NotFound;
    return vm.memory.setU32(lengthAt!, bufferLength(buffer)) && vm.memory.setU32(flagsAt!, 0) ? Ok : InvalidMemoryAccess;
  },

  proxy_get_buffer_bytes(vm, context, type, start, count, pointerAt, sizeAt) {
    if (type! >>> 0 > MAX_BUFFER) return BadArgument;
    const buffer = context.buffer(type!);
    if (buffer === undefined) return NotFound;
    const from = start! >>> 0;
    const size = Math.max(0, Math.min(count! >>> 0, bufferLength(buffer) - from));
    if (size === 0 || buffer === "none") return give(vm, new Uint8Array(0), pointerAt!, sizeAt!);
    return give(vm, buffer instanceof Bytes ? buffer.read(from, size) : buffer.subarray(from, from + size), pointerAt!, sizeAt!);
  },

  proxy_set_buffer_bytes(vm, context, type, start, count, pointer, size) {
    if (type! >>> 0 > MAX_BUFFER) return BadArgument;
    const buffer = context.buffer(type!);
    if (buffer === undefined) return NotFound;
    const data = vm.memory.copy(pointer!, size!);
    if (!data) return InvalidMemoryAccess;
    if (!(buffer instanceof Bytes)) return BadArgument;
    const from = start! >>> 0;
    // envoy 1.40: only the front can be replaced and the end appended to.
    if (from === 0) {
      buffer.drain(Math.min(count! >>> 0, buffer.length));
      buffer.prepend(data);
    } else if (from >= buffer.length) buffer.append(data);
    else return BadArgument;
    return Ok;
  },

  proxy_http_call(vm, { root }, ...args) {
    const [clusterPointer, clusterSize, pairsPointer, pairsSize, bodyPointer, bodySize, trailersPointer, trailersSize, timeout, tokenAt] = args as Ten;
    const cluster = vm.memory.text(clusterPointer, clusterSize);
    const pairs = vm.memory.range(pairsPointer, pairsSize);
    const body = vm.memory.copy(bodyPointer, bodySize);
    if (cluster === undefined || !pairs || !body || !vm.memory.has(trailersPointer, trailersSize)) return InvalidMemoryAccess;
    if (!vm.memory.setU32(tokenAt, 0)) return InvalidMemoryAccess;
    const headers = new HeaderMap("request");
    for (const [name, value] of decodePairs(pairs)) headers.add(lower(name), value);
    const [status, token] = root.httpCall(cluster, headers, body, timeout);
    vm.memory.setU32(tokenAt, token);
    return status;
  },

  proxy_grpc_call(vm, { root }, ...args) {
    const [service, serviceSize, name, nameSize, method, methodSize, pairsPointer, pairsSize, message, messageSize, timeout, tokenAt] = args as Twelve;
    const target = vm.memory.copy(service, serviceSize);
    const serviceName = vm.memory.text(name, nameSize);
    const methodName = vm.memory.text(method, methodSize);
    const pairs = vm.memory.range(pairsPointer, pairsSize);
    const body = vm.memory.copy(message, messageSize);
    if (!target || serviceName === undefined || methodName === undefined || !pairs || !body) return InvalidMemoryAccess;
    const [status, token] = root.grpc.call(
      target,
      vm.memory.text(service, serviceSize)!,
      { service: serviceName, method: methodName, metadata: decodePairs(pairs), timeoutMs: timeout >>> 0 },
      body,
    );
    if (token !== undefined && !vm.memory.setU32(tokenAt, token)) return InvalidMemoryAccess;
    return status;
  },

  proxy_grpc_stream(vm, { root }, ...args) {
    const [service, serviceSize, name, nameSize, method, methodSize, pairsPointer, pairsSize, tokenAt] = args as Nine;
    const target = vm.memory.copy(service, serviceSize);
    const serviceName = vm.memory.text(name, nameSize);
    const methodName = vm.memory.text(method, methodSize);
    const pairs = vm.memory.range(pairsPointer, pairsSize);
    if (!target || serviceName === undefined || methodName === undefined || !pairs) return InvalidMemoryAccess;
    const start = { service: serviceName, method: methodName, metadata: decodePairs(pairs), timeoutMs: undefined };
    const [status, token] = root.grpc.stream(target, vm.memory.text(service, serviceSize)!, start);
    if (token !== undefined && !vm.memory.setU32(tokenAt, token)) return InvalidMemoryAccess;
    return status;
  },

  proxy_grpc_send(vm, { root }, token, pointer, size, endStream) {
    const message = vm.memory.copy(pointer!, size!);
    return message ? root.grpc.send(token! >>> 0, message, endStream !== 0) : InvalidMemoryAccess;
  },

  proxy_grpc_close: (_vm, { root }, token) => root.grpc.halfClose(token! >>> 0),
  proxy_grpc_cancel: (_vm, { root }, token) => root.grpc.cancel(token! >>> 0),

  proxy_set_tick_period_milliseconds(_vm, { root }, ms) {
    root.setTick(ms! >>> 0);
    return Ok;
  },

  proxy_get_current_time_nanoseconds: (vm, _context, at) => (vm.memory.setU64(at!, vm.env.clock.wall()) ? Ok : InvalidMemoryAccess),

  proxy_define_metric(vm, _context, type, namePointer, nameSize, idAt) {
    const name = vm.memory.text(namePointer!, nameSize!);
    if (name === undefined) return InvalidMemoryAccess;
    const id = vm.metrics.define(type! >>> 0, name);
    if (id === undefined) return BadArgument;
    return vm.memory.setU32(idAt!, id) ? Ok : InvalidMemoryAccess;
  },

  proxy_get_metric(vm, _context, id, at) {
    const found = vm.metrics.get(id! >>> 0);
    if (typeof found === "number") return found;
    return vm.memory.setU64(at!, found.value) ? Ok : InvalidMemoryAccess;
  },

  proxy_set_effective_context(vm, _context, id) {
    if (id !== 0 && !vm.contexts.has(id! >>> 0)) return BadArgument;
    vm.effective = id! >>> 0;
    return Ok;
  },

  proxy_done: (_vm, { root }) => root.done(),

  proxy_call_foreign_function(vm, context, namePointer, nameSize, argumentPointer, argumentSize, pointerAt, sizeAt) {
    const name = vm.memory.text(namePointer!, nameSize!);
    const argument = vm.memory.copy(argumentPointer!, argumentSize!);
    if (name === undefined || !argument) return InvalidMemoryAccess;
    const call = foreignFunction(name);
    if (!call) return NotFound;
    const result = call(context, argument);
    const bytes = typeof result === "number" ? new Uint8Array(0) : result;
    const status = typeof result === "number" ? result : Ok;
    if (pointerAt === 0 && sizeAt === 0) return status;
    const given = giveOptional(vm, bytes, pointerAt!, sizeAt!);
    return given === Ok ? status : given;
  },

  proxy_continue_stream: (_vm, context, type) => streamAction(type!, () => context.continueStream(type!)),
  proxy_close_stream: (_vm, context, type) => streamAction(type!, () => context.closeStream(type!)),

  // Only in ABI 0.1.0.
  proxy_continue_request: (_vm, context) => context.continueStream(0),
  proxy_continue_response: (_vm, context) => context.continueStream(1),
  proxy_clear_route_cache(_vm, context) {
    context.clearRouteCache();
    return Ok;
  },
  proxy_get_configuration(vm, context, pointerAt, sizeAt) {
    const buffer = context.buffer(7);
    return give(vm, buffer instanceof Uint8Array ? buffer : new Uint8Array(0), pointerAt!, sizeAt!);
  },

  envoy_resolve_dns: () => Unimplemented,
  pthread_equal: (_vm, _context, a, b) => (a === b ? 1 : 0),
  emscripten_notify_memory_growth: () => 0,
};

type Nine = [number, number, number, number, number, number, number, number, number];
type Ten = [...Nine, number];
type Twelve = [...Ten, number, number];

/** The two that take a 64-bit integer. */
const BIG: Record<string, (vm: Vm, id: number, value: bigint) => number> = {
  proxy_increment_metric: (vm, id, value) => vm.metrics.increment(id >>> 0, value),
  proxy_record_metric: (vm, id, value) => vm.metrics.record(id >>> 0, value),
};

function giveOptional(vm: Vm, bytes: Uint8Array, pointerAt: number, sizeAt: number): number {
  let pointer = 0;
  if (bytes.length > 0 && pointerAt !== 0) {
    pointer = vm.allocate(bytes.length);
    if (pointer === 0 || !vm.memory.setBytes(pointer, bytes)) return InvalidMemoryAccess;
  }
  if (pointerAt !== 0 && !vm.memory.setU32(pointerAt, pointer)) return InvalidMemoryAccess;
  if (sizeAt !== 0 && !vm.memory.setU32(sizeAt, bytes.length)) return InvalidMemoryAccess;
  return Ok;
}

function streamAction(type: number, act: () => number): number {
  return type >>> 0 > 3 ? BadArgument : act();
}

/** A byte string as the text that a log shows. */
function utf8(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: only ASCII is the same either way.
  return /^[\x00-\x7f]*$/.test(text) ? text : Buffer.from(text, "latin1").toString("utf8");
}

/** The import objects of a module for one VM. */
export function bindImports(vm: Vm): { objects: WebAssembly.Imports; memory: WebAssembly.Memory | undefined } {
  const objects: Record<string, Record<string, WebAssembly.ImportValue>> = {};
  let memory: WebAssembly.Memory | undefined;
  const wasi = wasiFunctions({
    memory: () => vm.memory,
    log: (level, text) => vm.log(level, `wasm log${vm.context?.logPrefix ?? ""}: ${utf8(text)}`),
    environment: vm.config.environment,
    clock: vm.env.clock,
  });
  for (const { module, name, kind, limits, element } of vm.module.imports) {
    objects[module] ??= {};
    if (kind === "memory") {
      memory = new WebAssembly.Memory({ initial: limits!.initial, maximum: Math.min(limits!.maximum ?? MAX_PAGES, MAX_PAGES) });
      objects[module][name] = memory;
    } else if (kind === "table") {
      objects[module][name] = new WebAssembly.Table({
        element: element ?? "anyfunc",
        initial: limits!.initial,
        ...(limits!.maximum === undefined ? {} : { maximum: limits!.maximum }),
      });
    } else {
      objects[module][name] = bind(vm, module, name, wasi);
    }
  }
  return { objects, memory };
}

function bind(vm: Vm, module: string, name: string, wasi: Record<string, (...args: never[]) => number | undefined>): WebAssembly.ImportValue {
  const isWasi = WASI_MODULES.has(module);
  if (!allows(vm.config, name)) {
    return () => {
      vm.log("error", `Attempted call to restricted proxy-wasm capability: ${name}`);
      return isWasi ? 76 : InternalFailure;
    };
  }
  const traced = (call: (...args: never[]) => number | undefined) => guarded(vm, `${module}.${name}`, allowedWhile(name), call);
  if (isWasi) return traced(wasi[name]!) as WebAssembly.ImportValue;
  const big = BIG[name];
  if (big) return traced(((id: number, value: bigint) => big(vm, id, value)) as never) as WebAssembly.ImportValue;
  const call = FUNCTIONS[name]!;
  return traced(byArity(vm, call, HOST_FUNCTIONS[vm.module.abiVersion][name]!.params.length) as never) as WebAssembly.ImportValue;
}

/** Calls without a rest array where that is possible: these are the hottest calls there are. */
function byArity(vm: Vm, call: HostFunction, arity: number): (...args: number[]) => number {
  const context = () => vm.context!;
  switch (arity) {
    case 0:
      return () => call(vm, context());
    case 1:
      return (a) => call(vm, context(), a!);
    case 2:
      return (a, b) => call(vm, context(), a!, b!);
    case 3:
      return (a, b, c) => call(vm, context(), a!, b!, c!);
    case 4:
      return (a, b, c, d) => call(vm, context(), a!, b!, c!, d!);
    case 5:
      return (a, b, c, d, e) => call(vm, context(), a!, b!, c!, d!, e!);
    default:
      return (...args) => call(vm, context(), ...args);
  }
}

/** A wasm start section runs before there is a context: envoy 1.40 dies of any host call there. */
export class StartSectionCall extends Error {
  constructor(readonly call: string) {
    super(`the module's start section calls ${call}`);
  }
}

/** Refuses what a restricted phase does not allow, and writes the trace log. */
function guarded(
  vm: Vm,
  name: string,
  { start, malloc }: { start: boolean; malloc: boolean },
  call: (...args: never[]) => number | undefined,
): (...args: never[]) => number | undefined {
  return (...args) => {
    vm.countCall();
    if (vm.phase !== undefined) {
      if (vm.phase === "instantiate") throw new StartSectionCall(name);
      if (!(vm.phase === "start" ? start : malloc)) throw new Error("restricted_callback");
    }
    if (vm.env.wasmLogLevel > 0) return call(...args);
    vm.log("trace", `[vm->host] ${name}(${args.join(", ")})`);
    const result = call(...args);
    vm.log("trace", `[vm<-host] ${name} return: ${result === undefined ? "void" : result}`);
    return result;
  };
}
