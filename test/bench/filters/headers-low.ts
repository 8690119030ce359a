// Benchmark: reads 3 headers and adds 1 on the request, adds 1 and removes 1 on the response; low-level style.
import { filter, HeaderMap, HeadersStatus, NoConfig, StreamFilter } from "envoyscript-sdk";

@filter("headers")
export class HeadersLow extends StreamFilter<NoConfig> {
  onRequestHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    const agent = headers.get("user-agent");
    const user = headers.get("x-user");
    const accept = headers.get("accept");
    if (agent !== null && user !== null && accept !== null) headers.append("x-added", user);
    return HeadersStatus.Continue;
  }
  onResponseHeaders(headers: HeaderMap, endOfStream: bool): HeadersStatus {
    headers.append("x-served", "yes");
    headers.delete("server-timing");
    return HeadersStatus.Continue;
  }
}
