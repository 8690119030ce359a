// envoy.filters.http.header_to_metadata: dynamic metadata from headers, which is how a wasm filter's choice reaches a load balancer.
import type { HeaderMap } from "../vm/headermap.js";
import { DataStatus, HeadersStatus, type StreamCallbacks, type StreamFilter, TrailersStatus } from "../vm/stream-callbacks.js";
import type { Json, StreamInfo } from "../vm/stream-info.js";
import type { Fields } from "./config/fields.js";
import { readRegex } from "./regex.js";

interface Write {
  namespace: string;
  key: string;
  value: string | undefined;
  number: boolean;
  base64: boolean;
  rewrite: ((text: string) => string) | undefined;
}

interface Rule {
  header: string | undefined;
  cookie: string | undefined;
  present: Write | undefined;
  missing: Write | undefined;
  remove: boolean;
}

export interface Rules {
  request: Rule[];
  response: Rule[];
}

function readWrite(fields: Fields | undefined): Write | undefined {
  if (!fields) return undefined;
  const regex = fields.message("regex_value_rewrite");
  const pattern = regex?.message("pattern");
  const expression = pattern && readRegex(pattern);
  const substitution = regex?.string("substitution") ?? "";
  regex?.done();
  const write: Write = {
    namespace: fields.string("metadata_namespace") || "envoy.filters.http.header_to_metadata",
    key: fields.required("key"),
    value: fields.string("value") || undefined,
    number: fields.choice("type", ["STRING", "NUMBER"], "STRING") === "NUMBER",
    base64: fields.choice("encode", ["NONE", "BASE64"], "NONE") === "BASE64",
    rewrite: expression && ((text) => expression.replace(text, substitution)),
  };
  fields.done();
  return write;
}

export function readRules(fields: Fields): Rules {
  const list = (name: string): Rule[] =>
    fields.list(name).map((rule) => {
      const found = {
        header: rule.string("header")?.toLowerCase(),
        cookie: rule.string("cookie"),
        present: readWrite(rule.message("on_header_present")),
        missing: readWrite(rule.message("on_header_missing")),
        remove: rule.bool("remove") ?? false,
      };
      rule.done();
      return found;
    });
  const rules = { request: list("request_rules"), response: list("response_rules") };
  fields.done();
  return rules;
}

function cookieOf(headers: HeaderMap, name: string): string | undefined {
  for (const part of (headers.joined("cookie") ?? "").split(/[;,]\s*/)) if (part.startsWith(`${name}=`)) return part.slice(name.length + 1);
  return undefined;
}

function apply(rules: Rule[], headers: HeaderMap, info: StreamInfo): void {
  for (const rule of rules) {
    const value = rule.cookie === undefined ? headers.joined(rule.header ?? "") : cookieOf(headers, rule.cookie);
    const write = value === undefined || value === "" ? rule.missing : rule.present;
    if (write) {
      const text = write.value ?? (write.rewrite ? write.rewrite(value ?? "") : (value ?? ""));
      if (text !== "") {
        const decoded = write.base64 ? Buffer.from(text, "base64").toString("utf8") : text;
        const json: Json = write.number ? Number(decoded) : decoded;
        if (!write.number || Number.isFinite(json as number)) {
          info.dynamicMetadata[write.namespace] ??= {};
          info.dynamicMetadata[write.namespace]![write.key] = json;
        }
      }
    }
    if (rule.remove && rule.header !== undefined && value !== undefined) headers.remove(rule.header);
  }
}

export function headerToMetadata(rules: Rules, callbacks: StreamCallbacks): StreamFilter {
  return {
    decodeHeaders(headers) {
      apply(rules.request, headers, callbacks.info);
      return HeadersStatus.Continue;
    },
    encodeHeaders(headers) {
      apply(rules.response, headers, callbacks.info);
      return HeadersStatus.Continue;
    },
    decodeData: () => DataStatus.Continue,
    encodeData: () => DataStatus.Continue,
    decodeTrailers: () => TrailersStatus.Continue,
    encodeTrailers: () => TrailersStatus.Continue,
    log() {},
    onDestroy() {},
  };
}
