import { Filter, filter, Json, Stream } from "envoyscript-sdk";

class Config {
  /** Members whose values the client must not see. */
  fields: string[] = ["password"];
  mask: string = "***";
}

/** Masks members of JSON responses, however deep they are. */
@filter("mask")
export class Mask extends Filter<Config> {
  handle(stream: Stream): void {
    stream.next();

    const type = stream.response.headers.get("content-type");
    if (type === null || !type.startsWith("application/json")) return;
    const json = stream.response.json();
    if (json.ok && this.cover(json)) stream.response.body.set(json);
  }

  /** Whether anything was masked. */
  private cover(json: Json): bool {
    let found = false;
    for (let i = 0; i < json.length; i++) {
      if (json.isObject && this.config.fields.includes(json.nameAt(i))) {
        json.set(json.nameAt(i), Json.of(this.config.mask));
        found = true;
      } else if (this.cover(json.at(i))) {
        found = true;
      }
    }
    return found;
  }
}
