// Benchmark: the headers workload, where user "hold" waits for a call that is never answered; linear style.
import { Filter, filter, NoConfig, Stream } from "envoyscript-sdk";

@filter("headers")
export class HeadersBench extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const headers = stream.request.headers;
    const agent = headers.get("user-agent");
    const user = headers.get("x-user");
    const accept = headers.get("accept");
    if (user !== null && user == "hold") stream.fetch("never", "/", null, "GET", "", 3_600_000);
    if (agent !== null && user !== null && accept !== null) headers.append("x-added", user);
    stream.next();
    stream.response.headers.append("x-served", "yes");
    stream.response.headers.delete("server-timing");
  }
}
