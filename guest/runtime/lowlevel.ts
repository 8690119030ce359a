// Low-level filters: Envoy's callbacks go to one StreamFilter instance per stream, its statuses go back. What would hang, crash or corrupt Envoy
// (facts/envoy-verified.md 1a, 1b) is turned into what the author meant, or refused with the reason.

import { dispatch, FetchRequest, FetchResponse } from "../fetch";
import { DataStatus, giveStream, OnError, StreamCallbacks } from "../filter";
import { Level, write } from "../log";
import { Message } from "../message";
import { Stream } from "../stream";
import { continueStream, Direction, Stop } from "./abi";
import { fault } from "./chain";
import { focus } from "./focus";
import { arm, disarm } from "./isolation";
import { addCall, Feature, PendingCall, registry } from "./roots";

/** Which callback of the author runs in the guard; its result lands in `result`. */
namespace Task {
  export const Create: i32 = 0;
  export const RequestHeaders: i32 = 1;
  export const RequestBody: i32 = 2;
  export const RequestTrailers: i32 = 3;
  export const ResponseHeaders: i32 = 4;
  export const ResponseBody: i32 = 5;
  export const ResponseTrailers: i32 = 6;
  export const Fetch: i32 = 7;
  export const Done: i32 = 8;
  export const Log: i32 = 9;
}

let subject: Stream | null = null;
let ended: bool = false;
let token: u32 = 0;
let answer: FetchResponse | null = null;
let result: i32 = 0;

function perform(task: i32): void {
  const stream = subject!;
  if (task == Task.Create) {
    const link = stream.root.links[0];
    giveStream(stream);
    stream.low = changetype<StreamCallbacks>(registry.create(link.index, link.config));
    return;
  }
  const filter = stream.low;
  if (filter === null) return;
  switch (task) {
    case Task.RequestHeaders:
      result = filter.onRequestHeaders(stream.request.headers, ended);
      return;
    case Task.RequestBody:
      result = filter.onRequestBody(stream.request.body, ended);
      return;
    case Task.RequestTrailers:
      result = filter.onRequestTrailers(stream.request.openTrailers());
      return;
    case Task.ResponseHeaders:
      result = filter.onResponseHeaders(stream.response.headers, ended);
      return;
    case Task.ResponseBody:
      result = filter.onResponseBody(stream.response.body, ended);
      return;
    case Task.ResponseTrailers:
      result = filter.onResponseTrailers(stream.response.openTrailers());
      return;
    case Task.Fetch:
      filter.onFetch(token, answer!);
      return;
    case Task.Done:
      filter.onDone();
      return;
    case Task.Log:
      filter.onLog(stream);
      return;
  }
}

/** Runs one callback in the guard. False: it failed, and the stream has been dealt with. */
function attempt(stream: Stream, task: i32): bool {
  const before = subject;
  subject = stream;
  result = 0;
  arm();
  const ok = guardTask(task);
  disarm();
  subject = before;
  if (ok) {
    letGo();
    return true;
  }
  const link = stream.root.links[0];
  // Whatever the instance was doing, its state is not to be trusted any more.
  stream.low = null;
  fault(stream, link.name, link.onError, null);
  // Where the stream goes on without the filter, nobody else will let go what it held.
  goOn(stream.request);
  if (stream.hasResponse) goOn(stream.response);
  letGo();
  return false;
}

function goOn(m: Message): void {
  if (m.paused && !m.inside) lowResume(m);
}

function guardTask(task: i32): i32 {
  perform(task);
  return 1;
}

export function lowHeaders(stream: Stream, m: Message, eos: bool): i32 {
  const request = m.direction == Direction.Request;
  if (m.seen) {
    m.paused = false;
    return 0;
  }
  m.seen = true;
  m.ended = eos;
  m.bodyless = eos;
  if (request && !attempt(stream, Task.Create)) return stop(stream, m, Stop.All);
  if (!request) {
    m.ownReply = stream.replied;
    const map = m.headerMap;
    if (map !== null) {
      map.live = true;
      map.forget();
    }
    // A response that overtakes a held request is Envoy's own: nothing of the request is left to resume.
    stream.request.paused = false;
  }
  return callback(stream, m, request ? Task.RequestHeaders : Task.ResponseHeaders, eos, Stop.All);
}

export function lowBody(stream: Stream, m: Message, size: i32, eos: bool): i32 {
  if (stream.replied && !m.ownReply) return Stop.BodyNone;
  if (eos) m.ended = true;
  m.size = size;
  m.bufferOpen = true;
  m.streaming = true;
  m.chunkStart = 0;
  m.chunkSize = size;
  m.chunkOpen = true;
  m.content = null;
  const status = callback(stream, m, m.direction == Direction.Request ? Task.RequestBody : Task.ResponseBody, eos, Stop.BodyNone);
  m.bufferOpen = status == DataStatus.StopIterationAndBuffer;
  m.buffering = m.bufferOpen;
  m.chunkOpen = m.bufferOpen;
  return status;
}

export function lowTrailers(stream: Stream, m: Message): i32 {
  if (stream.replied && !m.ownReply) return Stop.Trailers;
  m.ended = true;
  m.receiveTrailers();
  return callback(stream, m, m.direction == Direction.Request ? Task.RequestTrailers : Task.ResponseTrailers, true, Stop.Trailers);
}

/** Runs a callback and makes its status safe. `halt` is the status that stops everything after a reply. */
function callback(stream: Stream, m: Message, task: i32, eos: bool, halt: i32): i32 {
  m.inside = true;
  m.resumed = false;
  ended = eos;
  const ok = attempt(stream, task);
  m.inside = false;
  let status = ok ? result : 0;
  if (ok && status == DataStatus.StopIterationAndBuffer && m.passed && !m.resumed && (task == Task.RequestBody || task == Task.ResponseBody)) {
    // Envoy 1.40 keeps one buffer for the whole chain: frames that went on and frames that are held would mix (H19).
    write(Level.Error, "the " + m.label + " body cannot be buffered after a part of it was continued: return StopIterationAndBuffer from the first frame on");
    fault(stream, stream.root.links[0].name, OnError.Closed, null);
    return stop(stream, m, halt);
  }
  if (stream.replied && !m.ownReply) return stop(stream, m, halt);
  // A resume inside the same phase means: do not stop.
  if (m.resumed || m.madeTrailers) status = 0;
  m.paused = status != 0;
  if (status == 0) {
    if (task == Task.RequestBody || task == Task.ResponseBody) m.passed = true;
    if (m.direction == Direction.Request && stream.root.features & Feature.Request) m.headers.keep();
    m.released = true;
    const map = m.headerMap;
    if (map !== null) map.live = false;
  }
  return status;
}

function stop(stream: Stream, m: Message, halt: i32): i32 {
  m.paused = false;
  return stream.replied ? halt : 0;
}

export function lowResume(m: Message): void {
  const stream = m.stream;
  if (stream.closed || stream.replied) return;
  if (m.inside) {
    m.resumed = true;
    return;
  }
  if (!m.seen) {
    write(Level.Error, "resume of the " + m.label + " ignored: it has not begun");
    return;
  }
  if (!m.paused || m.resumed) return;
  m.resumed = true;
  going.push(m);
}

/**
 * Resumes take effect when the author's code is through: what comes after them (a reply, a fault) finds the stream as it was. Envoy 1.40 crashes over a
 * reply or a reset in the callback that continued the response.
 */
const going: Message[] = [];

function letGo(): void {
  while (going.length > 0) {
    const m = going.pop();
    const stream = m.stream;
    m.resumed = false;
    if (!m.paused || stream.replied || stream.closed) continue;
    m.paused = false;
    m.buffering = false;
    m.bufferOpen = false;
    m.released = true;
    const map = m.headerMap;
    if (map !== null) map.live = false;
    if (focus(stream.id)) continueStream(m.direction);
  }
}

export function lowDispatch(stream: Stream, call: FetchRequest): u32 {
  const response = new FetchResponse();
  if (stream.closed || stream.replied) {
    stream.lastError = "the stream is over";
    return 0;
  }
  const started = dispatch(call, response);
  stream.lastError = response.error;
  if (started != 0) addCall(new PendingCall(started, stream, null, response));
  return started;
}

/** The answer to a low-level filter's call; chain.ts has checked that the stream lives. */
export function lowAnswered(call: PendingCall): void {
  const stream = call.stream;
  token = call.token;
  answer = call.response;
  stream.request.openHeldBuffer();
  if (stream.hasResponse) stream.response.openHeldBuffer();
  attempt(stream, Task.Fetch);
  call.response.close();
  answer = null;
}

export function lowLog(stream: Stream): void {
  attempt(stream, Task.Log);
}

export function lowDone(stream: Stream): void {
  attempt(stream, Task.Done);
}
