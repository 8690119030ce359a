// What each filter can do, found by what its code can reach, and from that: the exports the module needs. What a filter does not use is not in its module.
import { binaryen, callGraph, definedFunctions, type Module, reachable, setBody } from "../ir.js";

const SDK = "~lib/envoyscript-sdk/";

/** As in guest/runtime/roots.ts. */
const FEATURES: [bit: number, pattern: RegExp][] = [
  [1, /\/stream\/Stream#get:request$|\/runtime\/lowlevel\//],
  [2, /\/stream\/Stream#next$/],
  [4, /\/message\/Request#(get:body|get:trailers|text|bytes|json)$/],
  [8, /\/message\/Response#(get:body|get:trailers|text|bytes|json)$/],
  [16, /\/body\/Body<[^>]*\/Request>#(whole|set)|\/message\/Request#get:trailers$/],
  [32, /\/body\/Body<[^>]*\/Response>#(whole|set)|\/message\/Response#get:trailers$/],
  [64, /\/body\/Body<[^>]*\/Request>#(replace|drop|append)/],
  [128, /\/body\/Body<[^>]*\/Response>#(replace|drop|append)/],
];
const Feature = { Request: 1, Next: 2, RequestBody: 4, ResponseBody: 8 } as const;

export interface FilterShape {
  name: string;
  /** Class in the compiled module: "dir/file/Class". */
  internalName: string;
  style: "linear" | "low-level";
  /** The request may be looked at after its headers went on. */
  lateRequest: boolean;
  /** Methods the class (or a class of the author it extends) overrides. */
  methods: string[];
}

export interface FilterNeeds {
  name: string;
  next: boolean;
  requestBody: boolean;
  responseBody: boolean;
  fetch: boolean;
}

export interface Needs {
  filters: FilterNeeds[];
  callbacks: string[];
  suspends: boolean;
}

/** Writes each filter's features into the registry's constants, and removes the exports nobody needs. */
export function specialise(m: Module, filters: FilterShape[], constants: (index: number) => string, inspect = false): Needs {
  const graph = callGraph(m);
  const names = definedFunctions(m).map((f) => f.name);
  const needs: Needs = { filters: [], callbacks: [], suspends: false };
  const wanted = new Set([
    "proxy_abi_version_0_2_1",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_request_headers",
    "proxy_on_delete",
    "malloc",
    "memory",
    "_initialize",
    ...(inspect ? ["envoyscript_streams"] : []),
  ]);
  for (const [i, filter] of filters.entries()) {
    const roots = names.filter((name) => name.startsWith(`${filter.internalName}#`) && !name.includes("@override"));
    const reached = reachable(graph, roots);
    const calls = [...reached].filter((name) => name.startsWith(SDK));
    let bits = 0;
    for (const [bit, pattern] of FEATURES) if (calls.some((name) => pattern.test(name))) bits |= bit;
    const fetches = calls.some((name) => /\/fetch\/dispatch$/.test(name));
    if (calls.some((name) => /\/runtime\/coroutine\/suspend$/.test(name)) && filter.style === "linear") needs.suspends = true;
    const own = new Set(filter.methods);
    const linear = filter.style === "linear";
    const next = linear ? (bits & Feature.Next) !== 0 : own.has("onResponseHeaders") || own.has("onResponseBody") || own.has("onResponseTrailers");
    const requestBody = linear ? (bits & Feature.RequestBody) !== 0 : own.has("onRequestBody") || own.has("onRequestTrailers");
    const responseBody = linear ? (bits & Feature.ResponseBody) !== 0 : own.has("onResponseBody") || own.has("onResponseTrailers");
    if (!linear) bits &= ~(Feature.RequestBody | Feature.ResponseBody);
    if (!filter.lateRequest && !(bits & Feature.RequestBody)) bits &= ~Feature.Request;
    if (next) wanted.add("proxy_on_response_headers");
    if (linear ? requestBody : own.has("onRequestBody")) wanted.add("proxy_on_request_body");
    if (linear ? requestBody : own.has("onRequestTrailers")) wanted.add("proxy_on_request_trailers");
    if (linear ? responseBody : own.has("onResponseBody")) wanted.add("proxy_on_response_body");
    if (linear ? responseBody : own.has("onResponseTrailers")) wanted.add("proxy_on_response_trailers");
    if (fetches) wanted.add("proxy_on_http_call_response");
    if (own.has("onLog")) wanted.add("proxy_on_log");
    needs.filters.push({ name: filter.name, next, requestBody, responseBody, fetch: fetches });
    const constant = definedFunctions(m).find((f) => f.name === constants(i));
    if (constant) setBody(constant, m.i32.const(bits));
  }
  for (let i = m.getNumExports() - 1; i >= 0; i--) {
    const info = binaryen.getExportInfo(m.getExportByIndex(i));
    if (!wanted.has(info.name)) m.removeExport(info.name);
    else if (info.name.startsWith("proxy_on_")) needs.callbacks.push(info.name);
  }
  needs.callbacks.sort();
  return needs;
}
