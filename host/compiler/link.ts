// The link check: a module that builds also loads. Envoy 1.40 refuses a module for an unknown import, a wrong type, a wrong signature of a callback, or a missing
// ABI marker, and crashes over a start section that calls it.
import { readInterface, type Signature } from "./wasm.js";

const i32s = (n: number): string[] => Array.from({ length: n }, () => "i32");
const fn = (params: string[], ...results: string[]): Signature => ({ params, results });

/** Host functions of proxy-wasm 0.2.1 as Envoy 1.40 offers them, without their prefix; all return an i32. */
const HOST: Record<string, string[]> = {
  log: i32s(3),
  get_log_level: i32s(1),
  get_status: i32s(3),
  set_property: i32s(4),
  get_property: i32s(4),
  send_local_response: i32s(8),
  get_shared_data: i32s(5),
  set_shared_data: i32s(5),
  register_shared_queue: i32s(3),
  resolve_shared_queue: i32s(5),
  dequeue_shared_queue: i32s(3),
  enqueue_shared_queue: i32s(3),
  get_header_map_value: i32s(5),
  add_header_map_value: i32s(5),
  replace_header_map_value: i32s(5),
  remove_header_map_value: i32s(3),
  get_header_map_pairs: i32s(3),
  set_header_map_pairs: i32s(3),
  get_header_map_size: i32s(2),
  get_buffer_status: i32s(3),
  get_buffer_bytes: i32s(5),
  set_buffer_bytes: i32s(5),
  http_call: i32s(10),
  grpc_call: i32s(12),
  grpc_stream: i32s(9),
  grpc_close: i32s(1),
  grpc_cancel: i32s(1),
  grpc_send: i32s(4),
  set_tick_period_milliseconds: i32s(1),
  get_current_time_nanoseconds: i32s(1),
  define_metric: i32s(4),
  increment_metric: ["i32", "i64"],
  record_metric: ["i32", "i64"],
  get_metric: i32s(2),
  set_effective_context: i32s(1),
  done: [],
  call_foreign_function: i32s(6),
  continue_stream: i32s(1),
  close_stream: i32s(1),
};

/** Callbacks Envoy looks for; one with another signature fails the load even though it is optional. */
const CALLBACKS: Record<string, Signature> = {
  malloc: fn(i32s(1), "i32"),
  _initialize: fn([]),
  proxy_on_context_create: fn(i32s(2)),
  proxy_on_vm_start: fn(i32s(2), "i32"),
  proxy_on_configure: fn(i32s(2), "i32"),
  proxy_on_tick: fn(i32s(1)),
  proxy_on_queue_ready: fn(i32s(2)),
  proxy_on_request_headers: fn(i32s(3), "i32"),
  proxy_on_request_body: fn(i32s(3), "i32"),
  proxy_on_request_trailers: fn(i32s(2), "i32"),
  proxy_on_response_headers: fn(i32s(3), "i32"),
  proxy_on_response_body: fn(i32s(3), "i32"),
  proxy_on_response_trailers: fn(i32s(2), "i32"),
  proxy_on_http_call_response: fn(i32s(5)),
  proxy_on_done: fn(i32s(1), "i32"),
  proxy_on_log: fn(i32s(1)),
  proxy_on_delete: fn(i32s(1)),
};

/** What an import that Envoy does not offer usually comes from. */
const ORIGINS: Record<string, string> = {
  "env.Date.now": "Date.now()",
  "env.seed": "Math.random()",
  "env.trace": "trace()",
  "env.console.log": "console.log(): use log.info from envoyscript-sdk",
  "env.performance.now": "performance.now()",
};

/** What would keep the module from loading, one sentence each. */
export function linkProblems(wasm: Uint8Array): string[] {
  const problems: string[] = [];
  const { imports, exports, hasStart } = readInterface(wasm);
  if (hasStart) problems.push("the module has a start section; Envoy runs it before the filter has a context");
  for (const { module, name, kind, signature } of imports) {
    const full = `${module}.${name}`;
    const expected = module === "env" && name.startsWith("proxy_") ? HOST[name.slice("proxy_".length)] : undefined;
    if (kind !== "function" || !expected) {
      const origin = ORIGINS[full] ?? Object.entries(ORIGINS).find(([key]) => full.startsWith(key))?.[1];
      problems.push(`Envoy offers no import ${full}${origin ? ` (it comes from ${origin})` : ""}`);
    } else if (!same(signature, fn(expected, "i32"))) problems.push(`the import ${full} has another type than Envoy's`);
  }
  for (const { name, kind, signature } of exports) {
    const expected = CALLBACKS[name];
    if (expected && (kind !== "function" || !same(signature, expected))) problems.push(`the export ${name} has another signature than Envoy expects`);
  }
  const has = (name: string) => exports.some((e) => e.name === name);
  if (!has("proxy_abi_version_0_2_1")) problems.push("the ABI marker proxy_abi_version_0_2_1 is not exported");
  if (!has("memory")) problems.push("the memory is not exported");
  if (!has("malloc")) problems.push("malloc is not exported");
  return problems;
}

function same(a: Signature | undefined, b: Signature): boolean {
  return a?.params.join() === b.params.join() && a.results.join() === b.results.join();
}
