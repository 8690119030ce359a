import { Filter, filter, NoConfig, Stream } from "envoyscript-sdk";

@filter("callout")
export class CalloutBench extends Filter<NoConfig> {
  handle(stream: Stream): void {
    if (!stream.fetch("auth", "/check").ok) stream.reply(403, "denied\n");
  }
}
