// The host functions of proxy-wasm 0.2.1 that the SDK calls, and their numbers. Nothing else in guest/ names an import.
// A function that nobody calls is not in the module's import list, so a filter imports only what it uses.

export namespace Status {
  export const Ok: i32 = 0;
  export const NotFound: i32 = 1;
  export const BadArgument: i32 = 2;
  export const InternalFailure: i32 = 10;
}

export namespace MapType {
  export const RequestHeaders: i32 = 0;
  export const RequestTrailers: i32 = 1;
  export const ResponseHeaders: i32 = 2;
  export const ResponseTrailers: i32 = 3;
  export const CallHeaders: i32 = 6;
  export const CallTrailers: i32 = 7;
}

export namespace BufferType {
  export const RequestBody: i32 = 0;
  export const ResponseBody: i32 = 1;
  export const CallBody: i32 = 4;
  export const PluginConfiguration: i32 = 7;
}

/** Stream type of `proxy_continue_stream` and `proxy_close_stream`; also the index of a direction everywhere in the runtime. */
export namespace Direction {
  export const Request: i32 = 0;
  export const Response: i32 = 1;
}

export namespace Stop {
  /** Headers: held, and the body callbacks of this filter still come (needs allow_on_headers_stop_iteration). */
  export const Headers: i32 = 1;
  /** Headers: held, and the body too, with back-pressure instead of an error over the limit. */
  export const All: i32 = 4;
  /** Body: kept in Envoy's buffer; over the limit 413 or 500. */
  export const BodyBuffer: i32 = 1;
  /** Body: dropped. */
  export const BodyNone: i32 = 3;
  export const Trailers: i32 = 1;
}

// @ts-ignore: decorator
@external("env", "proxy_log")
export declare function log(level: i32, message: usize, size: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_get_log_level")
export declare function getLogLevel(level: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_get_header_map_pairs")
export declare function getPairs(map: i32, outPointer: usize, outSize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_get_header_map_value")
export declare function getValue(map: i32, key: usize, keySize: usize, outPointer: usize, outSize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_add_header_map_value")
export declare function addValue(map: i32, key: usize, keySize: usize, value: usize, valueSize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_replace_header_map_value")
export declare function replaceValue(map: i32, key: usize, keySize: usize, value: usize, valueSize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_remove_header_map_value")
export declare function removeValue(map: i32, key: usize, keySize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_get_buffer_bytes")
export declare function getBuffer(buffer: i32, start: u32, size: u32, outPointer: usize, outSize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_get_buffer_status")
export declare function getBufferStatus(buffer: i32, outSize: usize, outFlags: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_set_buffer_bytes")
export declare function setBuffer(buffer: i32, start: u32, size: u32, data: usize, dataSize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_get_property")
export declare function getProperty(path: usize, pathSize: usize, outPointer: usize, outSize: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_send_local_response")
export declare function sendLocalResponse(status: u32, details: usize, detailsSize: usize, body: usize, bodySize: usize, pairs: usize, pairsSize: usize, grpcStatus: i32): i32;
// @ts-ignore: decorator
@external("env", "proxy_continue_stream")
export declare function continueStream(direction: i32): i32;
// @ts-ignore: decorator
@external("env", "proxy_close_stream")
export declare function closeStream(direction: i32): i32;
// @ts-ignore: decorator
@external("env", "proxy_set_effective_context")
export declare function setEffectiveContext(id: u32): i32;
// @ts-ignore: decorator
@external("env", "proxy_http_call")
export declare function httpCall(cluster: usize, clusterSize: usize, pairs: usize, pairsSize: usize, body: usize, bodySize: usize, trailers: usize, trailersSize: usize, timeout: u32, outToken: usize): i32;
// @ts-ignore: decorator
@external("env", "proxy_get_current_time_nanoseconds")
export declare function getTime(out: usize): i32;

/** Asyncify's own switches; the compiler's coroutine pass turns these imports into functions of the module. */
// @ts-ignore: decorator
@external("asyncify", "start_unwind")
export declare function startUnwind(control: usize): void;
// @ts-ignore: decorator
@external("asyncify", "stop_unwind")
export declare function stopUnwind(): void;
// @ts-ignore: decorator
@external("asyncify", "start_rewind")
export declare function startRewind(control: usize): void;
// @ts-ignore: decorator
@external("asyncify", "stop_rewind")
export declare function stopRewind(): void;
