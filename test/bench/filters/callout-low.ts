// Benchmark: one call to an auth service before the request goes on; low-level style.
import { FetchRequest, FetchResponse, filter, HeaderMap, HeadersStatus, NoConfig, StreamFilter } from "envoyscript-sdk";

@filter("callout")
export class CalloutLow extends StreamFilter<NoConfig> {
  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    this.dispatch(new FetchRequest("auth", "/check"));
    return HeadersStatus.StopAllIterationAndWatermark;
  }
  onFetch(token: u32, response: FetchResponse): void {
    if (response.ok) this.resumeRequest();
    else this.stream.reply(403, "denied\n");
  }
}
