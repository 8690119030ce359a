// A stream: one HTTP request and its response, as a filter sees it.

import { FetchRequest, FetchResponse } from "./fetch";
import { StreamCallbacks } from "./filter";
import { Headers } from "./headers";
import { Level, write } from "./log";
import { Request, Response } from "./message";
import { closeStream } from "./runtime/abi";
import { awaitCall, awaitCalls, awaitResponse, sendReply } from "./runtime/chain";
import { focus, isCurrent } from "./runtime/focus";
import { Cell, Root } from "./runtime/roots";

export class Stream {
  /** The request. */
  readonly request: Request = new Request();
  private answer: Response | null = null;

  // ---- For the runtime only.
  /** @internal Next stream in the same bucket of the table. */ chained: Stream | null = null;
  /** @internal The first filter's place in this stream. */ first: Cell | null = null;
  /** @internal The innermost filter's place. */ last: Cell | null = null;
  /** @internal The first filter that has not let the request headers go. */ front: Cell | null = null;
  /** @internal The filter the response has to pass next (from the innermost outwards). */ back: Cell | null = null;
  /** @internal */ started: bool = false;
  /** @internal A reply was given or the stream was reset: no second one may reach Envoy. */ replied: bool = false;
  /** @internal Why the last low-level call was refused. */ lastError: string = "";
  /** @internal The instance of a low-level filter. */ low: StreamCallbacks | null = null;
  /** @internal on_log has begun or the stream is deleted. */ closed: bool = false;

  /** @internal */
  constructor(
    /** @internal */ public id: u32,
    /** @internal */ public root: Root,
  ) {
    this.request.stream = this;
  }

  /** The response; empty before `next()` has returned. */
  get response(): Response {
    let response = this.answer;
    if (response === null) {
      response = new Response();
      response.stream = this;
      this.answer = response;
    }
    return response;
  }

  /** @internal */
  get hasResponse(): bool {
    return this.answer !== null;
  }

  /**
   * Lets the request go on to the other filters and the upstream, and returns when the response headers are there. A filter that returns without
   * it does not see the response. Once only: a second call does nothing.
   */
  next(): void {
    awaitResponse(this);
  }

  /**
   * Calls a cluster and waits for the whole answer (at most `timeout` ms). The result says what happened; nothing traps.
   * @example const user = stream.fetch("users", "/me", stream.request.headers.pick(["authorization"]));
   */
  fetch(cluster: string, path: string, headers: Headers | null = null, method: string = "GET", body: string = "", timeout: u32 = 5000): FetchResponse {
    const call = new FetchRequest(cluster, path);
    call.method = method;
    call.timeout = timeout;
    if (headers !== null) call.headers = headers;
    if (body.length > 0) call.setBody(body);
    return awaitCall(this, call);
  }

  /** Makes a call described by a FetchRequest and waits for its answer. */
  send(call: FetchRequest): FetchResponse {
    return awaitCall(this, call);
  }

  /** Makes all calls at once and waits for the last. Answers are in the order of the calls. */
  fetchAll(calls: FetchRequest[]): FetchResponse[] {
    return awaitCalls(this, calls);
  }

  /**
   * Answers the request here: nothing (more) goes upstream. In the request phase the filters before this one see the answer; in the response
   * phase it replaces the response, or resets the stream where headers are on their way already. Once only: a second reply is ignored with a warning.
   * @param status 200 to 599
   * @param details shown by the access log's %RESPONSE_CODE_DETAILS%
   */
  reply(status: i32, body: string = "", headers: Headers | null = null, details: string = "envoyscript_reply"): void {
    sendReply(this, status, body, headers, details);
  }

  /** Drops the connection (HTTP/1) or resets the stream (HTTP/2) without an answer. Once only. */
  reset(): void {
    if (this.replied || this.closed) return;
    if (!isCurrent(this.id)) {
      write(Level.Error, "reset ignored: a stream can only be reset in its own callbacks");
      return;
    }
    this.replied = true;
    if (focus(this.id)) closeStream(0);
  }
}
