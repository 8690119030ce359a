// Benchmark: one call to an auth service before the request goes on; linear style.
import { Filter, filter, NoConfig, Stream } from "envoyscript-sdk";

@filter("callout")
export class CalloutBench extends Filter<NoConfig> {
  handle(stream: Stream): void {
    if (!stream.fetch("auth", "/check").ok) stream.reply(403, "denied\n");
  }
}
