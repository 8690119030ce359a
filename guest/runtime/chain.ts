// Linear filters: runs `handle` of each filter of a stream as a coroutine, in order for the request and from the inside out for the response, and turns
// where they stand into the status Envoy gets. The rules that keep Envoy alive (facts/envoy-verified.md 1a, 1b) are here and nowhere else:
// one reply per stream and none from on_log on, a continue only for what we hold and never inside a callback of the same direction.
/// <reference path="./builtins.d.ts" />

import { dispatch, FetchRequest, FetchResponse } from "../fetch";
import { OnError } from "../filter";
import { Headers } from "../headers";
import { Level, write } from "../log";
import { Message } from "../message";
import { Stream } from "../stream";
import { continueStream, Direction, getProperty, Status, Stop, sendLocalResponse, setEffectiveContext } from "./abi";
import { FAULTED, FINISHED, run, suspend } from "./coroutine";
import { entered, focus, isCurrent } from "./focus";
import { arm, describeFault, disarm, outOfMemory } from "./isolation";
import { at, begin, decimal, out, putText, used } from "./memory";
import { addCall, Cell, Feature, PendingCall, registry, State, takeCall, usesCoroutines, usesLinear } from "./roots";
import { putPairs } from "./wire";

/** The filter whose code runs now; null outside of `handle`. */
let running: Cell | null = null;
/** The callout answer the host has at hand; copied before the coroutine stops again. */
let openAnswer: FetchResponse | null = null;

/** The bottom of a coroutine (coroutine.ts calls it inside the guard). */
export function enter(): void {
  const cell = running!;
  cell.link.filter!.enter(cell.stream);
}

function resume(cell: Cell): void {
  const before = running;
  running = cell;
  const outcome = usesCoroutines ? run(cell) : runThrough();
  running = before;
  if (outcome == FINISHED) cell.drop();
  else if (outcome == FAULTED) fault(cell.stream, cell.link.name, cell.link.onError, cell);
}

/** Where nothing of the module can suspend, `handle` is an ordinary guarded call. */
function runThrough(): i32 {
  arm();
  const ok = guardHandle();
  disarm();
  return ok ? FINISHED : FAULTED;
}

function guardHandle(): i32 {
  enter();
  return 1;
}

// ---- What a filter can wait for

/** The running filter, if it is this stream's; otherwise null, and the call that wanted to wait does nothing. */
function waiter(stream: Stream, what: string): Cell | null {
  const cell = running;
  if (cell === null || cell.stream !== stream) {
    write(Level.Error, what + " is only possible inside handle(stream), for its own stream");
    return null;
  }
  if (stream.closed) return null;
  return cell;
}

function wait(cell: Cell, state: i32, message: Message | null): void {
  const answer = openAnswer;
  if (answer !== null) {
    answer.close();
    openAnswer = null;
  }
  cell.state = state;
  cell.message = message;
  suspend();
}

export function awaitResponse(stream: Stream): void {
  const cell = waiter(stream, "next()");
  if (cell === null || stream.replied) return;
  if (cell.passed) {
    write(Level.Warn, "next() was called a second time: ignored");
    return;
  }
  cell.passed = true;
  const request = stream.request;
  // Later reads of the request come from a copy; Envoy takes the map away when the headers go.
  if (stream.root.features & Feature.Request && !request.released) request.headers.keep();
  wait(cell, State.WaitNext, null);
}

export function awaitEnd(m: Message): void {
  if (m.ended || !m.seen) {
    if (m.ended && m.bufferOpen && m.buffering && !m.streaming) m.whole = true;
    return;
  }
  if (m.released && !m.streaming) return;
  const cell = waiter(m.stream, "waiting for the " + m.label + " body");
  if (cell === null || m.stream.replied) return;
  wait(cell, State.WaitEnd, m);
}

export function awaitChunk(m: Message): void {
  const cell = waiter(m.stream, "waiting for a chunk");
  if (cell === null || m.stream.replied) return;
  wait(cell, State.WaitChunk, m);
}

/** Whether the running filter is in its loop over this body. */
export function isReader(m: Message): bool {
  const reader = m.reader;
  return reader !== null && reader === running;
}

/**
 * The first `body.next()` of a filter: from here on the body is seen as it passes. With several filters that deal with this body it is kept whole, and each
 * of them sees it as one chunk.
 */
export function beginLoop(m: Message): bool {
  const stream = m.stream;
  const cell = waiter(stream, "reading chunks");
  if (cell === null || !m.seen || m.bodyless || stream.replied) return false;
  const request = m.direction == Direction.Request;
  const shared = (request ? stream.root.requestReaders : stream.root.responseReaders) > 1;
  if (m.released && (shared || m.reader === null)) {
    write(Level.Error, "the " + m.label + " body was passed on already: read it earlier");
    return false;
  }
  if (shared) {
    if (!m.whole) awaitEnd(m);
    if (!m.whole) return false;
  }
  m.streaming = !shared;
  m.reader = cell;
  m.chunkStart = 0;
  m.chunkSize = 0;
  m.chunkOpen = false;
  if (!m.released) {
    const headers = m.headers;
    if (request && stream.root.features & Feature.Request) headers.keep();
    if (stream.root.features & (request ? Feature.RequestEdits : Feature.ResponseEdits)) headers.force("content-length", null);
  }
  return true;
}

export function awaitCall(stream: Stream, call: FetchRequest): FetchResponse {
  const response = new FetchResponse();
  const cell = waiter(stream, "fetch");
  if (cell === null || stream.replied) {
    response.error = "the stream is over";
    return response;
  }
  const token = dispatch(call, response);
  if (token == 0) return response;
  addCall(new PendingCall(token, stream, cell, response));
  cell.pending = 1;
  wait(cell, State.WaitCall, null);
  return response;
}

export function awaitCalls(stream: Stream, requests: FetchRequest[]): FetchResponse[] {
  const responses: FetchResponse[] = [];
  const cell = waiter(stream, "fetchAll");
  let started = 0;
  for (let i = 0; i < requests.length; i++) {
    const response = new FetchResponse();
    responses.push(response);
    if (cell === null || stream.replied) {
      response.error = "the stream is over";
      continue;
    }
    const token = dispatch(requests[i], response);
    if (token == 0) continue;
    addCall(new PendingCall(token, stream, cell, response));
    started++;
  }
  if (cell !== null && started > 0) {
    cell.pending = started;
    wait(cell, State.WaitCall, null);
  }
  return responses;
}

// ---- Replies and faults

export function sendReply(stream: Stream, status: i32, body: string, headers: Headers | null, details: string): void {
  if (stream.closed) {
    write(Level.Error, "reply ignored: the stream is over");
    return;
  }
  if (stream.replied) {
    write(Level.Warn, "reply ignored: this stream has been answered already");
    return;
  }
  if (!isCurrent(stream.id)) {
    write(Level.Error, "reply ignored: a stream can only be answered in its own callbacks");
    return;
  }
  let code = status;
  if (code < 200 || code > 599) {
    write(Level.Error, "a reply cannot have status " + decimal(status) + ": 500 is sent");
    code = 500;
  }
  const names: string[] = [];
  const values: string[] = [];
  if (headers !== null) {
    for (let i = 0; i < headers.length; i++) {
      const name = headers.names[i];
      // The status is an argument and Envoy frames the answer; names and values were checked when they were put in.
      if (name.charCodeAt(0) == 58 || name == "content-length" || name == "transfer-encoding" || name == "connection") continue;
      names.push(name);
      values.push(headers.values[i]);
    }
  }
  // 204 and 304 have no body; Envoy would send one all the same.
  const bodyless = code == 204 || code == 304;
  begin();
  const detailsSize = putText(details);
  const bodyAt = used();
  const bodySize: usize = bodyless ? 0 : putText(body);
  const pairs = putPairs(names, values);
  stream.replied = true;
  if (focus(stream.id)) sendLocalResponse(code, at(0), detailsSize, at(bodyAt), bodySize, at(pairs), used() - pairs, -1);
}

const FAULT_DETAILS = "envoyscript_fault";

/** A filter's code failed: one line in the log, and its own stream gets 500 or goes on without it. */
export function fault(stream: Stream, name: string, onError: OnError, cell: Cell | null): void {
  // Memory first: describing the fault allocates.
  if (outOfMemory()) __collect();
  if (cell !== null) cell.drop();
  const open = onError == OnError.Open;
  const said = 'filter "' + name + '" failed: ' + describeFault(registry.files);
  if (stream.closed) {
    write(Level.Error, said);
    return;
  }
  write(Level.Error, said + (open ? "; the stream goes on without it" : stream.replied ? "" : "; the stream is answered with 500"));
  if (open || stream.replied) return;
  sendReply(stream, 500, "", null, FAULT_DETAILS);
}

// ---- Callbacks of Envoy. Each returns the status for Envoy.

export function onRequestHeaders(stream: Stream, ended: bool): i32 {
  const m = stream.request;
  m.seen = true;
  m.ended = ended;
  m.bodyless = ended;
  m.inside = true;
  const links = stream.root.links;
  let outer: Cell | null = null;
  for (let i = 0; i < links.length; i++) {
    const cell = new Cell(stream, links[i]);
    cell.outer = outer;
    if (outer === null) stream.first = cell;
    else outer.inner = cell;
    outer = cell;
  }
  stream.last = outer;
  stream.front = stream.first;
  passRequest(stream);
  m.inside = false;
  return headersStatus(stream, m, stream.front !== null, stream.root.features & Feature.RequestWhole);
}

export function onResponseHeaders(stream: Stream, ended: bool): i32 {
  const m = stream.response;
  if (m.seen) {
    // Envoy gave up on the response we held and answers itself.
    let cell: Cell | null = stream.first;
    while (cell !== null) {
      cell.drop();
      cell = cell.inner;
    }
    m.paused = false;
    return 0;
  }
  m.seen = true;
  m.ended = ended;
  m.bodyless = ended;
  m.ownReply = stream.replied;
  const map = m.headerMap;
  if (map !== null) {
    map.live = true;
    map.forget();
  }
  const reader = stream.request.reader;
  const early = reader !== null && !reader.passed;
  if (stream.front !== null || (early && !fromUpstream())) abandonRequest(stream);
  m.inside = true;
  if (early) overtake(stream, reader!);
  stream.back = stream.last;
  passResponse(stream);
  m.inside = false;
  return headersStatus(stream, m, stream.back !== null, stream.root.features & Feature.ResponseWhole);
}

function headersStatus(stream: Stream, m: Message, held: bool, wholeBody: i32): i32 {
  if (stream.replied && !m.ownReply) return Stop.All;
  if (!held) {
    release(m);
    return 0;
  }
  m.paused = true;
  return !m.ended && wholeBody != 0 ? Stop.Headers : Stop.All;
}

export function onBody(stream: Stream, m: Message, size: i32, ended: bool): i32 {
  if (stream.replied && !m.ownReply) return Stop.BodyNone;
  if (ended) m.ended = true;
  if (!m.buffering) m.chunkStart = 0;
  m.size = size;
  m.bufferOpen = true;
  m.inside = true;
  advance(stream, m);
  m.inside = false;
  const held = holds(stream, m) && !m.madeTrailers;
  if (stream.replied && !m.ownReply) return Stop.BodyNone;
  m.buffering = held;
  m.bufferOpen = held;
  m.paused = held;
  settleOther(stream, m);
  if (held) return Stop.BodyBuffer;
  m.whole = false;
  release(m);
  return 0;
}

export function onTrailers(stream: Stream, m: Message): i32 {
  if (stream.replied && !m.ownReply) return Stop.Trailers;
  m.ended = true;
  m.receiveTrailers();
  m.openHeldBuffer();
  m.inside = true;
  advance(stream, m);
  m.inside = false;
  const held = holds(stream, m);
  if (stream.replied && !m.ownReply) return Stop.Trailers;
  m.paused = held;
  settleOther(stream, m);
  if (held) return Stop.Trailers;
  m.bufferOpen = false;
  m.whole = false;
  release(m);
  return 0;
}

/** The stream that was effective in the latest callout callback. */
let effective: Stream | null = null;
export function answered(): Stream | null {
  return effective;
}

/** A callout was answered; the stream may be gone. A low-level filter's call is handed back. */
export function onCallResponse(token: u32, headerCount: u32, bodySize: u32, trailerCount: u32): PendingCall | null {
  const call = takeCall(token);
  if (call === null || call.stream.closed) return null;
  if (trailerCount > 0) call.response.receiveTrailers();
  const stream = call.stream;
  if (setEffectiveContext(stream.id) != Status.Ok) return null;
  entered(stream.id);
  effective = stream;
  const response = call.response;
  if (headerCount == 0) {
    response.error = "the connection was reset, the time was up in mid-answer, or the answer was larger than 32 MiB";
  } else {
    response.open = true;
    response.bodySize = bodySize;
    response.recogniseFailure(headerCount);
  }
  const cell = call.cell;
  if (cell === null || !usesLinear) return call;
  cell.pending--;
  if (cell.state != State.WaitCall) return null;
  if (cell.pending > 0) {
    response.close();
    return null;
  }
  openAnswer = response;
  stream.request.openHeldBuffer();
  if (stream.hasResponse) stream.response.openHeldBuffer();
  resume(cell);
  openAnswer = null;
  response.open = false;
  if (!stream.closed) {
    settle(stream, stream.request);
    if (stream.hasResponse) settle(stream, stream.response);
  }
  return null;
}

/** Drops what a stream that is over still holds. */
export function forget(stream: Stream): void {
  stream.closed = true;
  let cell: Cell | null = stream.first;
  while (cell !== null) {
    cell.drop();
    cell = cell.inner;
  }
}

// ---- How a stream moves

/** Starts the filters in order, until one has to wait with the request's headers in hand. */
function passRequest(stream: Stream): void {
  let cell: Cell | null = stream.front;
  while (cell !== null) {
    if (cell.state == State.Ready) resume(cell);
    if (stream.replied) return;
    if (!letsGo(cell, stream.request)) return;
    cell = cell.inner;
    stream.front = cell;
  }
}

/** Resumes the filters from the inside out, until one has to wait with the response's headers in hand. */
function passResponse(stream: Stream): void {
  const m = stream.response;
  let cell: Cell | null = stream.back;
  while (cell !== null) {
    if (cell.state == State.WaitNext) resume(cell);
    if (stream.replied && !m.ownReply) return;
    if (!letsGo(cell, m)) return;
    cell = cell.outer;
    stream.back = cell;
  }
}

/** Whether the filter has let the headers of `m` go. */
function letsGo(cell: Cell, m: Message): bool {
  if (cell.state == State.Done) return true;
  if (m.direction == Direction.Request && cell.passed) return true;
  return cell.state == State.WaitChunk && cell.message === m;
}

/** A frame, trailers or a callout's answer came: whoever waits for this message goes on. */
function advance(stream: Stream, m: Message): void {
  const request = m.direction == Direction.Request;
  if (m.ended) {
    if (!m.streaming && m.bufferOpen && !m.released) m.whole = true;
    let cell: Cell | null = stream.first;
    while (cell !== null) {
      if (cell.state == State.WaitEnd && cell.message === m) {
        resume(cell);
        break;
      }
      cell = cell.inner;
    }
  }
  if (request) passRequest(stream);
  else passResponse(stream);
  if (stream.replied && !m.ownReply) return;
  if (request ? stream.front !== null : stream.back !== null) return;
  const reader = m.reader;
  if (reader !== null && reader.state == State.WaitChunk && reader.message === m && (m.ended || (m.bufferOpen && m.size > m.chunkStart))) {
    resume(reader);
  }
}

/** Whether the message has to be kept from going on. */
function holds(stream: Stream, m: Message): bool {
  const request = m.direction == Direction.Request;
  if (request ? stream.front !== null : stream.back !== null) return true;
  const reader = m.reader;
  if (reader === null || reader.state == State.Done) return false;
  if (request && reader.passed) return false;
  return reader.state != State.WaitChunk || reader.message !== m;
}

/** The other direction may go on too: an early response waits for the request's filters. */
function settleOther(stream: Stream, m: Message): void {
  if (m.direction == Direction.Response || !stream.hasResponse) return;
  settle(stream, stream.response);
}

/** Outside of the callbacks of `m`: what nobody holds any more goes on. */
function settle(stream: Stream, m: Message): void {
  if (!m.paused || m.inside || (stream.replied && !m.ownReply)) return;
  advance(stream, m);
  if (holds(stream, m) || (stream.replied && !m.ownReply)) return;
  m.paused = false;
  m.buffering = false;
  m.bufferOpen = false;
  m.whole = false;
  m.chunkStart = 0;
  release(m);
  if (focus(stream.id)) continueStream(m.direction);
}

function release(m: Message): void {
  m.released = true;
  const map = m.headerMap;
  if (map !== null) map.live = false;
}

/** Envoy answers although the request has not gone through (a timeout, 413, our own reply): the filters that still wait in it are dropped. */
function abandonRequest(stream: Stream): void {
  let cell: Cell | null = stream.first;
  while (cell !== null) {
    if (!cell.passed && cell !== running) cell.drop();
    cell = cell.inner;
  }
  stream.front = null;
  stream.request.paused = false;
  release(stream.request);
}

/**
 * The upstream answers although a filter still reads the request chunk by chunk. Envoy 1.40 hands out no more of a request once its response is complete,
 * so the loop ends here where the response is final: complete, or an error or redirect. Other early headers (a server that echoes) leave it running.
 */
function overtake(stream: Stream, reader: Cell): void {
  const response = stream.response;
  if (reader.state == State.Done || (!response.ended && response.status < 300)) return;
  const m = stream.request;
  m.ended = true;
  if (reader.message === m && (reader.state == State.WaitChunk || reader.state == State.WaitEnd)) resume(reader);
}

/** Whether the response comes from an upstream, not from Envoy itself. */
function fromUpstream(): bool {
  begin();
  const size = putText("response\0code_details");
  if (getProperty(at(0), size, out, out + 4) != Status.Ok) return false;
  const text = load<usize>(out);
  // "via_upstream"
  return load<u32>(out, 4) == 12 && load<u32>(text) == 0x5f616976;
}
