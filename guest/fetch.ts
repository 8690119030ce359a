// Calls to other clusters. Envoy makes the call on its worker; the filter waits like any function call, and only its own stream stands still.

import { HeaderMap, Headers, hasBlank, statusOf, validName, validValue } from "./headers";
import { Json } from "./json";
import { BufferType, getBuffer, getPairs, httpCall, MapType, Status } from "./runtime/abi";
import { at, begin, bytesOf, decimal, out, putText, receiveManaged, takeReceived, textOf, used } from "./runtime/memory";
import { MAX_BYTES, MAX_PAIRS, putPairs } from "./runtime/wire";

/** Milliseconds a call may take unless it says otherwise. */
const DEFAULT_TIMEOUT: u32 = 5000;

/**
 * A call to make. `cluster` is the name of an Envoy cluster, not a host.
 * @example
 * const call = new FetchRequest("auth", "/check");
 * call.method = "POST";
 * call.timeout = 250;
 * call.headers.set("content-type", "application/json");
 * call.setBody(payload);
 * const answer = stream.send(call);
 */
export class FetchRequest {
  method: string = "GET";
  /** `:authority` of the call; the cluster's name unless set. */
  host: string = "";
  /** Milliseconds until the call is given up; 1 or more. */
  timeout: u32 = DEFAULT_TIMEOUT;
  headers: Headers = new Headers();
  /** @internal */ body: ArrayBuffer | null = null;

  constructor(
    public cluster: string,
    public path: string,
  ) {}

  /** Text or bytes to send; Envoy adds content-length. (Envoy 1.40 drops trailers of such a call, so there are none to set.) */
  setBody<V>(value: V): FetchRequest {
    if (isString<V>()) this.body = bytesOf(changetype<string>(value));
    else if (value instanceof ArrayBuffer) this.body = changetype<ArrayBuffer>(value);
    else if (value instanceof Uint8Array) {
      const view = changetype<Uint8Array>(value);
      this.body = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    } else if (value instanceof Json) this.body = bytesOf(changetype<Json>(value).toString());
    else ERROR("a body is a string, an ArrayBuffer, a Uint8Array or Json");
    return this;
  }
}

/** The outcome of a call: an answer, or why there is none. It never traps. */
export class FetchResponse {
  /** Why nothing answered: unknown cluster, refused, reset, timeout … Empty where there was an answer, whatever its status. */
  error: string = "";
  /** @internal The host has the answer at hand now. */ open: bool = false;
  /** @internal */ pairs: ArrayBuffer | null = null;
  /** @internal */ content: ArrayBuffer | null = null;
  /** @internal */ trailerPairs: ArrayBuffer | null = null;
  private headerView: HeaderMap | null = null;
  private trailerView: HeaderMap | null = null;
  private statusCode: i32 = -1;

  /** An answer came and its status is 200 to 299. */
  get ok(): bool {
    const status = this.status;
    return this.error.length == 0 && status >= 200 && status < 300;
  }

  /** The status of the answer. Where nothing answered: 503, 504 or 502 if Envoy made one up, 0 if not even that. */
  get status(): i32 {
    if (this.statusCode >= 0) return this.statusCode;
    const value = this.headers.get(":status");
    this.statusCode = value === null ? 0 : statusOf(value);
    return this.statusCode;
  }

  /** Headers of the answer, `:status` among them. */
  get headers(): HeaderMap {
    let view = this.headerView;
    if (view === null) {
      view = new HeaderMap(MapType.CallHeaders);
      view.pairs = this.readHeaders();
      view.live = false;
      this.headerView = view;
    }
    return view;
  }

  get trailers(): HeaderMap {
    let view = this.trailerView;
    if (view === null) {
      view = new HeaderMap(MapType.CallTrailers);
      const pairs = this.trailerPairs;
      view.pairs = pairs !== null ? pairs : new ArrayBuffer(0);
      view.live = false;
      this.trailerView = view;
    }
    return view;
  }

  text(): string {
    const bytes = this.readBody();
    return textOf(changetype<usize>(bytes), bytes.byteLength);
  }

  bytes(): Uint8Array {
    return Uint8Array.wrap(this.readBody());
  }

  json(): Json {
    return Json.parseBytes(this.readBody());
  }

  /** @internal Copies what was not read yet: the host forgets the answer when its callback ends. */
  close(): void {
    if (!this.open) return;
    this.readHeaders();
    this.readBody();
    this.open = false;
  }

  private readHeaders(): ArrayBuffer {
    const known = this.pairs;
    if (known !== null) return known;
    const pairs = this.open ? receivePairs(MapType.CallHeaders) : new ArrayBuffer(0);
    this.pairs = pairs;
    return pairs;
  }

  /** @internal Envoy 1.40 shows a call's trailers only as long as the root is the effective context: they are copied before the stream's turn. */
  receiveTrailers(): void {
    this.trailerPairs = receivePairs(MapType.CallTrailers);
  }

  /** @internal */ bodySize: u32 = 0;

  private readBody(): ArrayBuffer {
    let content = this.content;
    if (content === null) {
      receiveManaged();
      if (this.open && this.bodySize > 0) getBuffer(BufferType.CallBody, 0, this.bodySize, out, out + 4);
      content = takeReceived();
      this.content = content;
    }
    return content;
  }

  /** @internal Envoy answers 502, 503 and 504 itself when a cluster cannot: such an answer has none of a proxied response's headers. */
  recogniseFailure(headerCount: u32): void {
    if (headerCount != 3) return;
    const status = this.status;
    if (status != 502 && status != 503 && status != 504) return;
    if (this.headers.has("x-envoy-upstream-service-time")) return;
    this.error = status == 504 ? "timeout" : this.text();
  }
}

function receivePairs(map: i32): ArrayBuffer {
  receiveManaged();
  getPairs(map, out, out + 4);
  return takeReceived();
}

/** @internal Hands the call to Envoy. Returns its token, or 0 with the reason in `failed.error`. */
export function dispatch(call: FetchRequest, failed: FetchResponse): u32 {
  if (!call.path.startsWith("/") || hasBlank(call.path) || !validValue(call.path))
    return refuse(failed, 'the path of a call starts with "/" and has no blanks or control characters');
  if (hasBlank(call.host) || !validValue(call.host)) return refuse(failed, "a host has no blanks or control characters");
  if (!validName(call.method)) return refuse(failed, '"' + call.method + '" is not a method');
  const names: string[] = [":method", ":path", ":authority"];
  const values: string[] = [call.method, call.path, call.host.length > 0 ? call.host : call.cluster];
  for (let i = 0; i < call.headers.length; i++) {
    const name = call.headers.names[i];
    // Pseudo headers come from the fields above; framing is Envoy's.
    if (name.charCodeAt(0) == 58 || name == "host" || name == "content-length" || name == "transfer-encoding") continue;
    names.push(name);
    values.push(call.headers.values[i]);
  }
  if (names.length > MAX_PAIRS) return refuse(failed, "more than " + decimal(MAX_PAIRS) + " headers");
  begin();
  const pairs = putPairs(names, values);
  const pairsSize = used() - pairs;
  if (pairsSize > MAX_BYTES) return refuse(failed, "more than 1 MiB of headers");
  const cluster = used();
  const clusterSize = putText(call.cluster);
  const body = call.body;
  const bodySize = body === null ? 0 : body.byteLength;
  const status = httpCall(at(cluster), clusterSize, at(pairs), pairsSize, changetype<usize>(body), bodySize, 0, 0, max<u32>(1, call.timeout), out);
  if (status == Status.Ok) return load<u32>(out);
  if (status == Status.BadArgument) return refuse(failed, 'Envoy has no cluster "' + call.cluster + '"');
  return refuse(failed, 'cluster "' + call.cluster + '" cannot take a call now: no healthy endpoint, or its limits are reached');
}

function refuse(failed: FetchResponse, why: string): u32 {
  failed.error = why;
  return 0;
}
