// The callbacks Envoy calls. The compiler's entry file re-exports them under their ABI names, and the export pass removes those a module does not need.
// Each is guarded once more: a fault of the runtime itself (memory ran out outside of an author's code) must not take the VM down either.

import { forgetLevel } from "../log";
import { Message } from "../message";
import { Stream } from "../stream";
import { Direction, Stop, sendLocalResponse } from "./abi";
import { answered, fault, forget, onBody, onCallResponse, onRequestHeaders, onResponseHeaders, onTrailers } from "./chain";
import { configure } from "./configure";
import { beginLog, endLog, entered, focus } from "./focus";
import { arm, disarm, outOfMemory } from "./isolation";
import { lowAnswered, lowBody, lowDone, lowHeaders, lowLog, lowTrailers } from "./lowlevel";
import { allocate, trimInbox } from "./memory";
import { addRoot, addStream, Cell, dropCalls, findRoot, findStream, keptStreams, Root, removeRoot, removeStream, usesLinear, usesLowLevel } from "./roots";

/** `malloc` of the ABI: 0 where there is no memory, which the host reports to the call that needed it. */
export function malloc(size: usize): usize {
  return <usize>max<i32>(0, guardAllocate(size));
}

function guardAllocate(size: usize): i32 {
  return <i32>allocate(size);
}

export function proxy_abi_version_0_2_1(): void {}

/** For tests: streams, and with them coroutines, that the module keeps. Only a build with `inspect` exports it. */
export function envoyscript_streams(): i32 {
  return keptStreams();
}

export function proxy_on_context_create(id: u32, parent: u32): void {
  guardCreate(id, parent);
}

function guardCreate(id: u32, parent: u32): i32 {
  if (parent == 0) return 1;
  let root = latest;
  if (root === null || root.id != parent) {
    root = findRoot(parent);
    if (root === null) return 1;
    latest = root;
  }
  addStream(new Stream(id, root));
  return 1;
}

/** The root that made the latest stream. */
let latest: Root | null = null;

export function proxy_on_configure(id: u32, size: u32): u32 {
  return guardConfigure(id, size) == 1 ? 1 : 0;
}

function guardConfigure(id: u32, size: u32): i32 {
  entered(id);
  disarm();
  const root = configure(id, size);
  trimInbox();
  if (root === null) return 0;
  removeRoot(id);
  latest = null;
  addRoot(root);
  return 1;
}

export function proxy_on_request_headers(id: u32, count: u32, end: u32): u32 {
  const status = guardRequestHeaders(id, end);
  return status >= 0 ? status : emergency(id);
}

function guardRequestHeaders(id: u32, end: u32): i32 {
  const stream = findStream(id);
  if (stream === null) return -1;
  entered(id);
  forgetLevel();
  if (usesLowLevel && (!usesLinear || stream.root.lowLevel)) return lowHeaders(stream, stream.request, end != 0);
  return usesLinear ? onRequestHeaders(stream, end != 0) : 0;
}

export function proxy_on_request_body(id: u32, size: u32, end: u32): u32 {
  const status = guardBody(id, Direction.Request, size, end);
  return status >= 0 ? status : emergencyBody(id);
}

export function proxy_on_response_body(id: u32, size: u32, end: u32): u32 {
  const status = guardBody(id, Direction.Response, size, end);
  return status >= 0 ? status : emergencyBody(id);
}

function guardBody(id: u32, direction: i32, size: u32, end: u32): i32 {
  const stream = findStream(id);
  if (stream === null) return 0;
  entered(id);
  forgetLevel();
  const m = messageOf(stream, direction);
  let status = 0;
  if (usesLowLevel && (!usesLinear || stream.root.lowLevel)) status = lowBody(stream, m, size, end != 0);
  else if (usesLinear) status = onBody(stream, m, size, end != 0);
  trimInbox();
  return status;
}

export function proxy_on_request_trailers(id: u32, count: u32): u32 {
  const status = guardTrailers(id, Direction.Request);
  return status >= 0 ? status : emergency(id) && 1;
}

export function proxy_on_response_trailers(id: u32, count: u32): u32 {
  const status = guardTrailers(id, Direction.Response);
  return status >= 0 ? status : emergency(id) && 1;
}

function guardTrailers(id: u32, direction: i32): i32 {
  const stream = findStream(id);
  if (stream === null) return 0;
  entered(id);
  forgetLevel();
  const m = messageOf(stream, direction);
  if (usesLowLevel && (!usesLinear || stream.root.lowLevel)) return lowTrailers(stream, m);
  return usesLinear ? onTrailers(stream, m) : 0;
}

export function proxy_on_response_headers(id: u32, count: u32, end: u32): u32 {
  const status = guardResponseHeaders(id, end);
  return status >= 0 ? status : emergency(id);
}

function guardResponseHeaders(id: u32, end: u32): i32 {
  const stream = findStream(id);
  if (stream === null) return 0;
  entered(id);
  forgetLevel();
  if (usesLowLevel && (!usesLinear || stream.root.lowLevel)) return lowHeaders(stream, stream.response, end != 0);
  return usesLinear ? onResponseHeaders(stream, end != 0) : 0;
}

export function proxy_on_http_call_response(root: u32, token: u32, headers: u32, size: u32, trailers: u32): void {
  entered(root);
  forgetLevel();
  if (guardCall(token, headers, size, trailers) >= 0) return;
  const stream = answered();
  if (stream !== null) emergency(stream.id);
}

function guardCall(token: u32, headers: u32, size: u32, trailers: u32): i32 {
  const low = onCallResponse(token, headers, size, trailers);
  if (usesLowLevel && low !== null) lowAnswered(low);
  trimInbox();
  return 1;
}

export function proxy_on_log(id: u32): void {
  forgetLevel();
  beginLog(id);
  guardLog(id);
  endLog();
}

function guardLog(id: u32): i32 {
  const stream = findStream(id);
  if (stream === null) return 1;
  entered(id);
  stream.closed = true;
  if (stream.replied && stream.hasResponse) {
    // A reply has taken the place of the response that was read before.
    const map = stream.response.headerMap;
    if (map !== null) map.forget();
  }
  if (usesLowLevel && (!usesLinear || stream.root.lowLevel)) {
    lowLog(stream);
    return 1;
  }
  if (!usesLinear) return 1;
  let cell: Cell | null = stream.first;
  while (cell !== null) {
    logged = cell;
    arm();
    const ok = guardAuthorLog();
    disarm();
    logged = null;
    if (!ok) fault(stream, cell.link.name, cell.link.onError, null);
    cell = cell.inner;
  }
  return 1;
}

let logged: Cell | null = null;

function guardAuthorLog(): i32 {
  const cell = logged!;
  cell.link.filter!.onLog(cell.stream);
  return 1;
}

export function proxy_on_delete(id: u32): void {
  guardDelete(id);
}

function guardDelete(id: u32): i32 {
  const stream = removeStream(id);
  if (stream !== null) {
    entered(id);
    stream.closed = true;
    if (usesLowLevel && (!usesLinear || stream.root.lowLevel)) lowDone(stream);
    forget(stream);
    return 1;
  }
  const root = findRoot(id);
  if (root === null) return 1;
  removeRoot(id);
  dropCalls(root);
  latest = null;
  return 1;
}

function messageOf(stream: Stream, direction: i32): Message {
  if (direction == Direction.Request) return stream.request;
  return stream.response;
}

// ---- When even the runtime cannot go on: no allocation from here.

const DETAILS: usize = memory.data<u8>([101, 110, 118, 111, 121, 115, 99, 114, 105, 112, 116, 95, 102, 97, 117, 108, 116]);

function emergency(id: u32): i32 {
  if (outOfMemory()) __collect();
  const stream = findStream(id);
  if (stream !== null) {
    if (stream.replied || stream.closed) return Stop.All;
    stream.replied = true;
  }
  if (focus(id)) sendLocalResponse(500, DETAILS, 17, 0, 0, 0, 0, -1);
  return Stop.All;
}

function emergencyBody(id: u32): i32 {
  emergency(id);
  return Stop.BodyNone;
}
