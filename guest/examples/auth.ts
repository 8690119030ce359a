import { cluster, Filter, filter, log, required, Stream } from "envoyscript-sdk";

class Config {
  /** Cluster of the service that knows who the caller is. */
  @required @cluster cluster: string = "";
  /** Header in which the upstream gets the user's name. */
  header: string = "x-user";
}

/** Asks an auth service who the caller is, in blocking style: the request waits, Envoy does not. */
@filter("auth")
export class Auth extends Filter<Config> {
  handle(stream: Stream): void {
    // Whatever the client claims to be does not count.
    stream.request.headers.delete(this.config.header);

    const answer = stream.fetch(this.config.cluster, "/whoami", stream.request.headers.pick(["authorization"]));
    if (!answer.ok) {
      if (answer.error.length > 0) log.warn("the auth service did not answer: " + answer.error);
      return stream.reply(answer.error.length > 0 ? 503 : 403, "denied\n");
    }
    stream.request.headers.set(this.config.header, answer.text());

    stream.next();

    stream.response.headers.set("x-served-for", answer.text());
  }
}
