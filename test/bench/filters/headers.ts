// Benchmark: reads 3 headers and adds 1 on the request, adds 1 and removes 1 on the response; linear style.
import { Filter, filter, NoConfig, Stream } from "envoyscript-sdk";

@filter("headers")
export class HeadersBench extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const headers = stream.request.headers;
    const agent = headers.get("user-agent");
    const user = headers.get("x-user");
    const accept = headers.get("accept");
    if (agent !== null && user !== null && accept !== null) headers.append("x-added", user);
    stream.next();
    stream.response.headers.append("x-served", "yes");
    stream.response.headers.delete("server-timing");
  }
}
