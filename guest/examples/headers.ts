import { Filter, filter, Stream } from "envoyscript-sdk";

class Config {
  /** Sent to the upstream and back. */
  greeting: string = "hello";
}

/** Reads and writes headers on both ways. */
@filter("headers")
export class HeadersExample extends Filter<Config> {
  handle(stream: Stream): void {
    const request = stream.request;
    const agent = request.headers.get("user-agent");
    request.headers.set("x-greeting", this.config.greeting + (agent === null ? "" : ", " + agent));
    request.headers.delete("x-internal");

    stream.next();

    stream.response.headers.set("x-served-path", request.path);
    stream.response.headers.delete("server-timing");
  }
}
