import { Filter, filter, NoConfig, Stream } from "envoyscript-sdk";

const COLOURS = ["red", "orange", "yellow", "green", "cyan", "blue", "violet", "white", "black"];

/** Has a bug: there are nine colours, and one request in ten asks for the tenth. That request gets 500, all others go on. */
@filter("buggy")
export class Buggy extends Filter<NoConfig> {
  private count: i32 = 0;

  handle(stream: Stream): void {
    const turn = this.count++ % 10;
    stream.request.headers.set("x-colour", COLOURS[turn]);
  }
}
