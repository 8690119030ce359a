// Benchmark: counts the bytes "a" of a whole body into a request header; linear style.
import { Filter, filter, NoConfig, Stream } from "envoyscript-sdk";

@filter("body")
export class BodyBench extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const bytes = stream.request.bytes();
    let count = 0;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] == 97) count++;
    stream.request.headers.set("x-count", count.toString());
  }
}
