// HeaderValueOption and names to remove: what a configuration changes in headers.
import type { HeaderMap } from "../vm/headermap.js";
import type { StreamInfo } from "../vm/stream-info.js";
import { compileFormat } from "./access-log.js";
import { ConfigError, type Fields } from "./config/fields.js";

export type HeaderEdit = (headers: HeaderMap, info: StreamInfo) => void;

const APPEND = ["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"] as const;

/** Reads the lists of two fields. envoy 1.40: removes, then overwrites, then adds; all values come from before that. Throws ConfigError. */
export function readEdits(fields: Fields, toAdd: string, toRemove?: string): HeaderEdit[] {
  const additions = fields.list(toAdd).map((entry) => {
    const header = entry.message("header");
    if (!header) return entry.fail("header", "is missing");
    const key = header.required("key").toLowerCase();
    if (key.startsWith(":") || key === "host") {
      const reason = ":-prefixed or host headers may not be modified";
      throw new ConfigError(`${header.path}.key: ${reason}`, reason);
    }
    const value = compileFormat(header.string("value") ?? "", header.path, true);
    header.done();
    const append = entry.bool("append");
    const action = append === undefined ? entry.choice("append_action", APPEND, "APPEND_IF_EXISTS_OR_ADD") : append ? APPEND[0] : APPEND[2];
    const keepEmpty = entry.bool("keep_empty_value") ?? false;
    entry.done();
    return { key, value, action, keepEmpty };
  });
  const removals = toRemove === undefined ? [] : fields.strings(toRemove).map((name) => name.toLowerCase());
  if (additions.length === 0 && removals.length === 0) return [];
  return [
    (headers, info) => {
      for (const name of removals) headers.remove(name);
      const add: [string, string][] = [];
      const overwrite: [string, string][] = [];
      for (const { key, value, action, keepEmpty } of additions) {
        const text = value(info);
        if (text === "" && !keepEmpty) continue;
        if (action === "APPEND_IF_EXISTS_OR_ADD" || (action === "ADD_IF_ABSENT" && !headers.has(key))) add.push([key, text]);
        else if (action === "OVERWRITE_IF_EXISTS_OR_ADD" || (action === "OVERWRITE_IF_EXISTS" && headers.has(key))) overwrite.push([key, text]);
      }
      for (const [key, text] of overwrite) headers.replace(key, text);
      for (const [key, text] of add) headers.add(key, text);
    },
  ];
}
