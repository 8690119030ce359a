// envoy.config.accesslog.v3.AccessLogFilter: which streams an access log tells of, and which local replies a mapper takes.
import { grpcStatusOf } from "../../vm/grpc-status.js";
import type { HeaderMap } from "../../vm/headermap.js";
import { FLAG_BITS } from "../../vm/properties.js";
import type { ResponseFlag, StreamInfo } from "../../vm/stream-info.js";
import { readHeaderMatch } from "../matchers.js";
import type { Fields } from "./fields.js";

/** `response`: the headers and trailers of a response that is not the stream's yet. */
export type LogFilter = (info: StreamInfo, response?: HeaderMap) => boolean;

const COMPARISONS = {
  EQ: (a: number, b: number) => a === b,
  GE: (a: number, b: number) => a >= b,
  LE: (a: number, b: number) => a <= b,
  NE: (a: number, b: number) => a !== b,
};

function readComparison(fields: Fields): (value: number) => boolean {
  const comparison = fields.message("comparison");
  if (!comparison) return fields.fail("comparison", "is missing");
  const compare = COMPARISONS[comparison.choice("op", ["EQ", "GE", "LE", "NE"], "EQ")];
  const value = comparison.message("value");
  const wanted = value?.number("default_value") ?? 0;
  // Values of the runtime are refused elsewhere: the default is what counts.
  value?.accept("runtime_key").done();
  comparison.done();
  fields.done();
  return (given) => compare(given, wanted);
}

const GRPC_STATUSES = [
  ..."OK CANCELED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION".split(" "),
  ..."ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(" "),
];

function grpcStatus(info: StreamInfo, response: HeaderMap | undefined): number {
  const told = info.responseTrailers?.get("grpc-status") ?? (response ?? info.responseHeaders)?.get("grpc-status");
  return told !== undefined && /^\d+$/.test(told) ? Number(told) : grpcStatusOf(info.responseCode ?? 0);
}

function readFilters(fields: Fields): LogFilter[] {
  const filters = fields.list("filters").map((filter) => readLogFilter(filter));
  fields.done();
  return filters;
}

const READERS: Record<string, (fields: Fields) => LogFilter> = {
  status_code_filter(fields) {
    const fits = readComparison(fields);
    return (info) => fits(info.responseCode ?? 0);
  },
  duration_filter(fields) {
    const fits = readComparison(fields);
    return (info) => fits(Number(((info.endMonotonic ?? info.clock.monotonic()) - info.startMonotonic) / 1_000_000n));
  },
  // There are no health checks here.
  not_health_check_filter(fields) {
    fields.done();
    return () => true;
  },
  and_filter(fields) {
    const filters = readFilters(fields);
    return (info, response) => filters.every((filter) => filter(info, response));
  },
  or_filter(fields) {
    const filters = readFilters(fields);
    return (info, response) => filters.some((filter) => filter(info, response));
  },
  header_filter(fields) {
    const header = fields.message("header");
    if (!header) return fields.fail("header", "is missing");
    const match = readHeaderMatch(header);
    fields.done();
    return (info) => info.requestHeaders !== undefined && match(info.requestHeaders);
  },
  response_flag_filter(fields) {
    const flags = fields.strings("flags");
    fields.done();
    for (const flag of flags) if (!Object.hasOwn(FLAG_BITS, flag)) fields.fail("flags", `there is no response flag ${flag}`);
    return (info) => (flags.length === 0 ? info.flags.size > 0 : flags.some((flag) => info.flags.has(flag as ResponseFlag)));
  },
  grpc_status_filter(fields) {
    const wanted = fields.strings("statuses").map((name) => {
      const status = GRPC_STATUSES.indexOf(name);
      return status < 0 ? fields.fail("statuses", `there is no gRPC status ${name}`) : status;
    });
    const exclude = fields.bool("exclude") ?? false;
    fields.done();
    return (info, response) => wanted.includes(grpcStatus(info, response)) !== exclude;
  },
};

/** Names of the filters that are supported. */
export const LOG_FILTERS = Object.keys(READERS);

/** Throws ConfigError. */
export function readLogFilter(fields: Fields): LogFilter {
  const name = LOG_FILTERS.find((candidate) => fields.has(candidate));
  if (name === undefined) return fields.refuse(`the node engine supports ${LOG_FILTERS.join(", ")}`);
  const filter = READERS[name]!(fields.message(name)!);
  fields.done();
  return filter;
}
