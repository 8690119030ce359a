// Benchmark: the headers workload, where user "hold" waits for a call that is never answered; low-level style.
import { FetchRequest, filter, HeaderMap, HeadersStatus, NoConfig, StreamFilter } from "envoyscript-sdk";

@filter("headers")
export class HeadersLow extends StreamFilter<NoConfig> {
  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    const agent = headers.get("user-agent");
    const user = headers.get("x-user");
    const accept = headers.get("accept");
    if (user !== null && user == "hold") {
      const call = new FetchRequest("never", "/");
      call.timeout = 3_600_000;
      this.dispatch(call);
      return HeadersStatus.StopAllIterationAndWatermark;
    }
    if (agent !== null && user !== null && accept !== null) headers.append("x-added", user);
    return HeadersStatus.Continue;
  }
  onResponseHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    headers.append("x-served", "yes");
    headers.delete("server-timing");
    return HeadersStatus.Continue;
  }
}
