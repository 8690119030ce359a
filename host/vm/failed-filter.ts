// The filter of a stream whose VM had failed before it began: answers 503 as Envoy does (envoy 1.40, FAIL_CLOSED).
import { DataStatus, HeadersStatus, type StreamCallbacks, type StreamFilter, TrailersStatus } from "./stream-callbacks.js";

export class FailedFilter implements StreamFilter {
  constructor(private readonly callbacks: StreamCallbacks) {}

  decodeHeaders(): HeadersStatus {
    this.callbacks.sendLocalReply({ status: 503, body: "", details: "wasm_fail_stream", grpcStatus: 14 });
    return HeadersStatus.StopAllIterationAndWatermark;
  }

  decodeData(): DataStatus {
    return DataStatus.StopIterationNoBuffer;
  }

  decodeTrailers(): TrailersStatus {
    return TrailersStatus.StopIteration;
  }

  encodeHeaders(): HeadersStatus {
    return HeadersStatus.Continue;
  }

  encodeData(): DataStatus {
    return DataStatus.Continue;
  }

  encodeTrailers(): TrailersStatus {
    return TrailersStatus.Continue;
  }

  log(): void {}

  onDestroy(): void {}
}
