// Benchmark: counts the bytes "a" of a whole body into a request header; low-level style.
import { Body, DataStatus, filter, HeaderMap, HeadersStatus, NoConfig, Request, StreamFilter } from "envoyscript-sdk";

@filter("body")
export class BodyLow extends StreamFilter<NoConfig> {
  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    return endOfStream ? HeadersStatus.Continue : HeadersStatus.StopIteration;
  }
  onRequestBody(body: Body<Request>, endOfStream: bool): DataStatus {
    if (!endOfStream) return DataStatus.StopIterationAndBuffer;
    const bytes = body.chunk;
    let count = 0;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] == 97) count++;
    this.stream.request.headers.set("x-count", count.toString());
    return DataStatus.Continue;
  }
}
