// Benchmark: a checksum that goes over the 4 KiB body 16 times, 65,536 loop turns per request.
import { Filter, filter, NoConfig, Stream } from "envoyscript-sdk";

@filter("loops")
export class LoopsBench extends Filter<NoConfig> {
  handle(stream: Stream): void {
    const bytes = stream.request.bytes();
    let hash: u32 = 0;
    for (let pass = 0; pass < 16; pass++) for (let i = 0; i < bytes.length; i++) hash = hash * 31 + bytes[i];
    stream.request.headers.set("x-count", hash.toString());
  }
}
