// Envoy's filter manager: one stream's filters, in order for the request and in reverse for the response, with one shared buffer per direction.
// Statuses, holding and going on follow envoy 1.40 (Http::FilterManager), as recorded in test/conformance/traces.

import { Bytes } from "../vm/bytes.js";
import { isGrpcType } from "../vm/grpc-status.js";
import { HeaderMap } from "../vm/headermap.js";
import {
  DataStatus,
  type DirectionCallbacks,
  HeadersStatus,
  type LocalReply,
  type StreamCallbacks,
  type StreamFilter,
  TrailersStatus,
} from "../vm/stream-callbacks.js";
import type { StreamInfo } from "../vm/stream-info.js";
import { checkRequiredResponseHeaders, localReplyMessage } from "./local-reply.js";

/** What the filter manager needs from whoever owns the stream (the connection manager, or the router for upstream filters). */
export interface FilterManagerOwner {
  /** After the last response filter. */
  encodeHeaders(headers: HeaderMap, endStream: boolean): void;
  encodeData(data: Bytes, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
  /** The response is complete. */
  onEncodeComplete(): void;
  /** The stream ends without (the rest of) an answer. */
  resetStream(details: string): void;
  clearRouteCache(): void;
  /** A filter that holds back instead of collecting is over (or again under) the buffer limit. */
  holdRequest(hold: boolean): void;
  holdResponse(hold: boolean): void;
  /** Last changes to a local reply before it is sent: mappers, the route's headers. */
  rewriteLocalReply(reply: { status: number; headers: HeaderMap; body: string }): { status: number; body: string };
  /** Upstream filters: a local reply is the downstream's affair. Returns false where this manager sends it itself. */
  redirectLocalReply?(reply: LocalReply): boolean;
}

export type FilterFactory = (callbacks: StreamCallbacks) => StreamFilter;

const Iteration = { Continue: 0, StopSingle: 1, StopAllBuffer: 2, StopAllWatermark: 3 } as const;
type Iteration = (typeof Iteration)[keyof typeof Iteration];

/** One direction's state of one filter. */
class Side {
  iteration: Iteration = Iteration.Continue;
  headersContinued = false;
  fromCurrent = false;
  endStream = false;

  get stoppedAll(): boolean {
    return this.iteration >= Iteration.StopAllBuffer;
  }
}

class Entry {
  readonly request = new Side();
  readonly response = new Side();
  filter!: StreamFilter;
}

/** The state of one direction, and what differs between the two. */
class Pass {
  headers: HeaderMap | undefined;
  trailers: HeaderMap | undefined;
  buffered: Bytes | undefined;
  /** A filter holds back instead of collecting: too much is no error then. */
  streaming = false;
  over = false;
  /** The end of the message has come in. */
  complete = false;
  aborted = false;
  calling: "headers" | "data" | "trailers" | undefined;
  constructor(readonly isRequest: boolean) {}

  side(entry: Entry): Side {
    return this.isRequest ? entry.request : entry.response;
  }
}

/** Where an iteration starts: after a filter, or at it if it had stopped everything. */
type Start = Entry | undefined;

export class FilterManager {
  private readonly entries: Entry[] = [];
  readonly request = new Pass(true);
  readonly response = new Pass(false);
  /** The response is complete as far as the filters are concerned: the request is of no interest any more. */
  private responseEnded = false;
  headersSent = false;
  private prepared: { reply: LocalReply; headers: HeaderMap; body: string } | undefined;
  /** The owner has reset or ended the stream. */
  gone = false;
  private destroyed = false;
  isHead = false;
  isGrpc = false;

  constructor(
    readonly info: StreamInfo,
    private readonly owner: FilterManagerOwner,
    public bufferLimit: number,
    factories: FilterFactory[],
  ) {
    for (const factory of factories) {
      const entry = new Entry();
      entry.filter = factory(this.callbacksFor(entry));
      this.entries.push(entry);
    }
  }

  private callbacksFor(entry: Entry): StreamCallbacks {
    const direction = (pass: Pass): DirectionCallbacks => ({
      continue: () => this.commonContinue(pass, entry),
      buffered: () => pass.buffered,
      addBuffered: (data) => this.addData(pass, entry, data),
      addTrailers: () => this.addTrailers(pass),
    });
    return {
      info: this.info,
      request: direction(this.request),
      response: direction(this.response),
      sendLocalReply: (reply) => this.sendLocalReply(reply),
      resetStream: (details) => {
        // envoy 1.40: no further filter sees a stream that was reset.
        this.request.aborted = true;
        if (this.response.calling) this.response.aborted = true;
        this.owner.resetStream(details);
      },
      clearRouteCache: () => this.owner.clearRouteCache(),
    };
  }

  // The request, as the codec delivers it.

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.request.headers = headers;
    this.request.complete = endStream;
    this.isHead = headers.get(":method") === "HEAD";
    this.isGrpc = isGrpcType(headers.get("content-type"));
    this.headers(this.request, undefined, headers, endStream);
  }

  decodeData(data: Bytes, endStream: boolean): void {
    this.request.complete = endStream;
    this.data(this.request, undefined, data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.request.trailers = trailers;
    this.request.complete = true;
    this.trailers(this.request, undefined, trailers);
  }

  // The response, as the router delivers it.

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.response.headers = headers;
    this.response.complete = endStream;
    this.headers(this.response, undefined, headers, endStream);
  }

  encodeData(data: Bytes, endStream: boolean): void {
    this.response.complete = endStream;
    this.data(this.response, undefined, data, endStream);
  }

  encodeTrailers(trailers: HeaderMap): void {
    this.response.trailers = trailers;
    this.response.complete = true;
    this.trailers(this.response, undefined, trailers);
  }

  log(): void {
    for (const entry of this.entries) entry.filter.log();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    for (const entry of this.entries) entry.filter.onDestroy();
  }

  // Iteration.

  /** The filters from `start` on; undefined stands for the beginning. */
  private from(pass: Pass, start: Start, canStartFromCurrent: boolean): number {
    if (!start) return pass.isRequest ? 0 : this.entries.length - 1;
    const index = this.entries.indexOf(start);
    if (canStartFromCurrent && pass.side(start).fromCurrent) return index;
    return pass.isRequest ? index + 1 : index - 1;
  }

  private headers(pass: Pass, start: Start, headers: HeaderMap, endStream: boolean): void {
    if (!start && !pass.isRequest && endStream) this.responseEnded = true;
    const step = pass.isRequest ? 1 : -1;
    let addedBody: Entry | undefined;
    for (let i = this.from(pass, start, false); i >= 0 && i < this.entries.length; i += step) {
      const entry = this.entries[i]!;
      const side = pass.side(entry);
      pass.calling = "headers";
      side.endStream = endStream && !addedBody;
      let status: HeadersStatus = pass.isRequest ? entry.filter.decodeHeaders(headers, side.endStream) : entry.filter.encodeHeaders(headers, side.endStream);
      pass.calling = undefined;
      if (pass.aborted) {
        if (pass.isRequest) this.executePrepared();
        status = HeadersStatus.StopIteration;
      }
      const last = pass.isRequest && i === this.entries.length - 1;
      if (!this.afterHeaders(side, status) && !last) {
        this.continueAddedBody(pass, addedBody);
        return;
      }
      if (endStream && pass.buffered && !addedBody) addedBody = entry;
    }
    if (!pass.isRequest && !this.headersDone(headers, endStream && !addedBody)) return;
    this.continueAddedBody(pass, addedBody);
  }

  /** The response's headers leave the filters. Returns false where nothing may follow. */
  private headersDone(headers: HeaderMap, endStream: boolean): boolean {
    const missing = checkRequiredResponseHeaders(headers);
    if (missing) {
      this.sendLocalReply({ status: 502, body: missing, details: `filter_removed_required_response_headers{${missing.replace(/\s/g, "_")}}` });
      return false;
    }
    this.headersSent = true;
    this.owner.encodeHeaders(headers, endStream);
    if (this.gone) return false;
    if (endStream) this.encodeEnd();
    return !endStream;
  }

  private continueAddedBody(pass: Pass, entry: Entry | undefined): void {
    if (!entry) return;
    const side = pass.side(entry);
    side.iteration = Iteration.StopSingle;
    side.headersContinued = true;
    this.commonContinue(pass, entry);
  }

  private data(pass: Pass, start: Start, data: Bytes, endStream: boolean, canStartFromCurrent = start !== undefined): void {
    if (pass.isRequest && (this.responseEnded || pass.aborted)) return;
    if (!start && !pass.isRequest && endStream) this.responseEnded = true;
    const step = pass.isRequest ? 1 : -1;
    const hadTrailers = pass.trailers !== undefined;
    let trailersAddedBy: Entry | undefined;
    for (let i = this.from(pass, start, canStartFromCurrent); i >= 0 && i < this.entries.length; i += step) {
      const entry = this.entries[i]!;
      const side = pass.side(entry);
      if (side.stoppedAll) {
        pass.streaming = side.iteration === Iteration.StopAllWatermark;
        this.buffer(pass, data);
        return;
      }
      if (side.endStream) return;
      pass.calling = "data";
      const size = data.length;
      side.endStream = endStream && !pass.trailers;
      const status = pass.isRequest ? entry.filter.decodeData(data, side.endStream) : entry.filter.encodeData(data, side.endStream);
      pass.calling = undefined;
      if (pass.aborted) {
        if (pass.isRequest) this.executePrepared();
        return;
      }
      if (!hadTrailers && pass.trailers && !trailersAddedBy) {
        endStream = false;
        trailersAddedBy = entry;
      }
      // envoy 1.40: a piece that the filter has put to the buffered ones goes on with them (envoyproxy/envoy#46842).
      const flows = status === DataStatus.Continue && side.iteration === Iteration.Continue;
      if (flows && size > 0 && data.length === 0 && pass.buffered && pass.buffered !== data) data.move(pass.buffered);
      const last = pass.isRequest && i === this.entries.length - 1;
      if (!this.afterData(pass, entry, status, data)) {
        if (last) continue;
        // What a filter adds while it stops the data is continued with it.
        if (trailersAddedBy) this.trailers(pass, trailersAddedBy, pass.trailers!);
        return;
      }
    }
    if (!pass.isRequest) {
      const end = endStream && !trailersAddedBy;
      this.owner.encodeData(data, end);
      if (this.gone) return;
      if (end) this.encodeEnd();
    }
    if (trailersAddedBy) this.trailers(pass, trailersAddedBy, pass.trailers!);
  }

  private trailers(pass: Pass, start: Start, trailers: HeaderMap): void {
    if (pass.isRequest && (this.responseEnded || pass.aborted)) return;
    if (!start && !pass.isRequest) this.responseEnded = true;
    const step = pass.isRequest ? 1 : -1;
    for (let i = this.from(pass, start, true); i >= 0 && i < this.entries.length; i += step) {
      const entry = this.entries[i]!;
      const side = pass.side(entry);
      if (side.stoppedAll) return;
      pass.calling = "trailers";
      let status: TrailersStatus = pass.isRequest ? entry.filter.decodeTrailers(trailers) : entry.filter.encodeTrailers(trailers);
      pass.calling = undefined;
      side.endStream = true;
      // envoy 1.40: trailers are written to a stream that is no longer there; headers and data are not.
      if (!pass.isRequest && this.gone && status === TrailersStatus.Continue) throw new EnvoyCrash("SIGSEGV", "close_stream in on_response_trailers = 0");
      if (pass.aborted) {
        if (pass.isRequest) this.executePrepared();
        status = TrailersStatus.StopIteration;
      }
      const last = pass.isRequest && i === this.entries.length - 1;
      if (!this.afterTrailers(pass, entry, status) && !last) return;
    }
    if (!pass.isRequest) {
      this.owner.encodeTrailers(trailers);
      if (!this.gone) this.encodeEnd();
    }
  }

  private encodeEnd(): void {
    this.owner.onEncodeComplete();
  }

  // What a status means.

  private afterHeaders(side: Side, status: HeadersStatus): boolean {
    if (status === HeadersStatus.Continue) {
      side.headersContinued = true;
      return true;
    }
    side.iteration =
      status === HeadersStatus.StopIteration
        ? Iteration.StopSingle
        : status === HeadersStatus.StopAllIterationAndBuffer
          ? Iteration.StopAllBuffer
          : Iteration.StopAllWatermark;
    return false;
  }

  private afterData(pass: Pass, entry: Entry, status: DataStatus, data: Bytes): boolean {
    const side = pass.side(entry);
    if (status === DataStatus.Continue) {
      if (side.iteration !== Iteration.StopSingle) return true;
      this.buffer(pass, data);
      this.commonContinue(pass, entry);
      return false;
    }
    side.iteration = Iteration.StopSingle;
    if (status === DataStatus.StopIterationAndBuffer || status === DataStatus.StopIterationAndWatermark) {
      pass.streaming = status === DataStatus.StopIterationAndWatermark;
      this.buffer(pass, data);
    } else if (pass.complete && !pass.trailers && !pass.buffered) {
      // So that going on later sends an empty last frame.
      pass.buffered = new Bytes();
    }
    return false;
  }

  private afterTrailers(pass: Pass, entry: Entry, status: TrailersStatus): boolean {
    const side = pass.side(entry);
    if (status === TrailersStatus.Continue) {
      if (side.iteration !== Iteration.StopSingle) return true;
      this.commonContinue(pass, entry);
      return false;
    }
    if (side.iteration === Iteration.Continue) side.iteration = Iteration.StopSingle;
    return false;
  }

  private buffer(pass: Pass, data: Bytes): void {
    if (pass.buffered === data) return;
    pass.buffered ??= new Bytes();
    pass.buffered.move(data);
    this.checkLimit(pass);
  }

  /** envoy 1.40: over the limit means more than it; under again is half of it. */
  private checkLimit(pass: Pass): void {
    const size = pass.buffered?.length ?? 0;
    if (!pass.over && this.bufferLimit > 0 && size > this.bufferLimit) {
      pass.over = true;
      if (pass.streaming) this.hold(pass, true);
      else if (pass.isRequest) this.sendLocalReply({ status: 413, body: "Payload Too Large", details: "request_payload_too_large" });
      else this.sendLocalReply({ status: 500, body: "Internal Server Error", details: "response_payload_too_large" });
    } else if (pass.over && size <= this.bufferLimit / 2) {
      pass.over = false;
      this.hold(pass, false);
    }
  }

  private readonly held = { request: false, response: false };

  private hold(pass: Pass, hold: boolean): void {
    const key = pass.isRequest ? "request" : "response";
    if (this.held[key] === hold) return;
    this.held[key] = hold;
    if (pass.isRequest) this.owner.holdRequest(hold);
    else this.owner.holdResponse(hold);
  }

  private addData(pass: Pass, entry: Entry, data: Bytes): void {
    if (pass.calling !== "trailers" || pass.side(entry).iteration !== Iteration.Continue) {
      pass.streaming = false;
      this.buffer(pass, data);
    } else {
      this.data(pass, entry, data, false, false);
    }
  }

  private addTrailers(pass: Pass): HeaderMap {
    pass.trailers ??= new HeaderMap(pass.isRequest ? "request-trailers" : "response-trailers");
    return pass.trailers;
  }

  private commonContinue(pass: Pass, entry: Entry): void {
    if (pass.isRequest ? this.responseEnded || pass.aborted : pass.aborted) return;
    if (this.gone) return;
    const side = pass.side(entry);
    if (side.stoppedAll) side.fromCurrent = true;
    side.iteration = Iteration.Continue;
    if (!side.headersContinued) {
      side.headersContinued = true;
      const headers = pass.headers;
      if (!headers)
        throw new EnvoyCrash(
          "SIGSEGV",
          `continue_stream(${pass.isRequest ? "Request" : "Response"}) before there are ${pass.isRequest ? "request" : "response"} headers`,
        );
      this.headers(pass, entry, headers, pass.complete && !pass.buffered && !pass.trailers);
    }
    const hadTrailers = pass.trailers !== undefined;
    if (pass.buffered) {
      this.data(pass, entry, pass.buffered, pass.complete && !hadTrailers, true);
      this.checkLimit(pass);
    }
    if (hadTrailers) this.trailers(pass, entry, pass.trailers!);
    side.fromCurrent = false;
  }

  // Local replies.

  sendLocalReply(reply: LocalReply): void {
    if (this.owner.redirectLocalReply?.(reply)) {
      this.request.aborted = true;
      this.response.aborted = true;
      return;
    }
    const inRequest = this.request.calling !== undefined;
    const inResponse = this.response.calling !== undefined;
    if (inRequest) this.request.aborted = true;
    else if (inResponse) this.response.aborted = true;
    this.info.responseCodeDetails = reply.details;
    if (!this.response.headers) {
      if (inRequest) {
        if (!this.prepared) {
          const message = this.messageOf(reply);
          this.prepared = { reply, ...message };
        }
        return;
      }
      this.sendViaFilters(this.messageOf(reply));
    } else if (!this.headersSent) {
      this.sendDirectly(this.messageOf(reply));
    } else {
      this.owner.resetStream(reply.details);
    }
  }

  private messageOf(reply: LocalReply): { headers: HeaderMap; body: string } {
    return localReplyMessage(reply, { isGrpc: this.isGrpc, isHead: this.isHead, rewrite: (parts) => this.owner.rewriteLocalReply(parts), info: this.info });
  }

  executePrepared(): void {
    const { prepared } = this;
    if (!prepared) return;
    this.prepared = undefined;
    this.sendViaFilters(prepared);
  }

  private sendViaFilters({ headers, body }: { headers: HeaderMap; body: string }): void {
    const endStream = body === "" || this.isHead;
    this.encodeHeaders(headers, endStream);
    if (endStream || this.gone) return;
    this.response.complete = true;
    this.encodeData(new Bytes(Buffer.from(body, "latin1")), true);
  }

  /** envoy 1.40: a reply in the response phase goes straight to the codec, in place of the response. */
  private sendDirectly({ headers, body }: { headers: HeaderMap; body: string }): void {
    const endStream = body === "" || this.isHead;
    this.response.aborted = true;
    this.response.headers = headers;
    this.headersSent = true;
    this.responseEnded = true;
    this.owner.encodeHeaders(headers, endStream);
    if (this.gone) return;
    if (!endStream) {
      this.owner.encodeData(new Bytes(Buffer.from(body, "latin1")), true);
      if (this.gone) return;
    }
    this.encodeEnd();
  }
}

/** A call that takes a whole Envoy down. The engine stops its proxy and says which call it was. */
export class EnvoyCrash extends Error {
  constructor(
    readonly signal: "SIGSEGV" | "SIGABRT" | "hang",
    readonly call: string,
  ) {
    super(`a real Envoy would ${signal === "hang" ? "hang" : `die (${signal})`}: ${call}`);
  }
}
