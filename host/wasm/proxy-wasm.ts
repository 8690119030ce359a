// The proxy-wasm ABI as envoy 1.40 offers it: host functions and guest callbacks with their types, per version. The compiler checks modules against it, the Node host
// loads them by it. Source: facts/envoy-wasm.md A4–A6, corrected by envoy-verified.md 1c.
import type { Signature } from "./binary.js";

export type AbiVersion = "0.1.0" | "0.2.0" | "0.2.1";

/** Envoy looks for the first of these among the exported functions, in export order. */
export const ABI_MARKERS: Record<string, AbiVersion> = {
  proxy_abi_version_0_1_0: "0.1.0",
  proxy_abi_version_0_2_0: "0.2.0",
  proxy_abi_version_0_2_1: "0.2.1",
};

/** i: i32, I: i64; what comes after ":" are the results. */
function signature(text: string): Signature {
  const [params = "", results = ""] = text.split(":");
  const list = (types: string) => [...types].map((type) => (type === "I" ? "i64" : "i32"));
  return { params: list(params), results: list(results) };
}

const table = (entries: Record<string, string>): Record<string, Signature> =>
  Object.fromEntries(Object.entries(entries).map(([name, text]) => [name, signature(text)]));

const EVERY_VERSION = table({
  proxy_log: "iii:i",
  proxy_get_status: "iii:i",
  proxy_set_property: "iiii:i",
  proxy_get_property: "iiii:i",
  proxy_send_local_response: "iiiiiiii:i",
  proxy_get_shared_data: "iiiii:i",
  proxy_set_shared_data: "iiiii:i",
  proxy_register_shared_queue: "iii:i",
  proxy_resolve_shared_queue: "iiiii:i",
  proxy_dequeue_shared_queue: "iii:i",
  proxy_enqueue_shared_queue: "iii:i",
  proxy_get_header_map_value: "iiiii:i",
  proxy_add_header_map_value: "iiiii:i",
  proxy_replace_header_map_value: "iiiii:i",
  proxy_remove_header_map_value: "iii:i",
  proxy_get_header_map_pairs: "iii:i",
  proxy_set_header_map_pairs: "iii:i",
  proxy_get_header_map_size: "ii:i",
  proxy_get_buffer_status: "iii:i",
  proxy_get_buffer_bytes: "iiiii:i",
  proxy_set_buffer_bytes: "iiiii:i",
  proxy_http_call: "iiiiiiiiii:i",
  proxy_grpc_call: "iiiiiiiiiiii:i",
  proxy_grpc_stream: "iiiiiiiii:i",
  proxy_grpc_close: "i:i",
  proxy_grpc_cancel: "i:i",
  proxy_grpc_send: "iiii:i",
  proxy_set_tick_period_milliseconds: "i:i",
  proxy_get_current_time_nanoseconds: "i:i",
  proxy_define_metric: "iiii:i",
  proxy_increment_metric: "iI:i",
  proxy_record_metric: "iI:i",
  proxy_get_metric: "ii:i",
  proxy_set_effective_context: "i:i",
  proxy_done: ":i",
  proxy_call_foreign_function: "iiiiii:i",
});

/** Imports of `env` beside the ABI's own. */
const EXTRAS = table({ pthread_equal: "ii:i", emscripten_notify_memory_growth: "i", envoy_resolve_dns: "iii:i" });

const STREAMS = table({ proxy_continue_stream: "i:i", proxy_close_stream: "i:i" });

/** Host functions of module `env`, by ABI version. */
export const HOST_FUNCTIONS: Record<AbiVersion, Record<string, Signature>> = {
  "0.1.0": {
    ...EVERY_VERSION,
    ...EXTRAS,
    ...table({ proxy_get_configuration: "ii:i", proxy_continue_request: ":i", proxy_continue_response: ":i", proxy_clear_route_cache: ":i" }),
  },
  "0.2.0": { ...EVERY_VERSION, ...EXTRAS, ...STREAMS },
  "0.2.1": { ...EVERY_VERSION, ...EXTRAS, ...STREAMS, ...table({ proxy_get_log_level: "i:i" }) },
};

/** Callbacks of version 0.2.x. One with another signature fails the load, though all are optional. */
const CALLBACKS_0_2 = table({
  _initialize: "",
  _start: "",
  main: "ii:i",
  __main_void: ":i",
  malloc: "i:i",
  proxy_on_memory_allocate: "i:i",
  proxy_on_context_create: "ii",
  proxy_on_vm_start: "ii:i",
  proxy_on_configure: "ii:i",
  proxy_validate_configuration: "ii:i",
  proxy_on_tick: "i",
  proxy_on_queue_ready: "ii",
  proxy_on_new_connection: "i:i",
  proxy_on_downstream_data: "iii:i",
  proxy_on_upstream_data: "iii:i",
  proxy_on_downstream_connection_close: "ii",
  proxy_on_upstream_connection_close: "ii",
  proxy_on_request_headers: "iii:i",
  proxy_on_response_headers: "iii:i",
  proxy_on_request_body: "iii:i",
  proxy_on_response_body: "iii:i",
  proxy_on_request_trailers: "ii:i",
  proxy_on_response_trailers: "ii:i",
  proxy_on_request_metadata: "ii:i",
  proxy_on_response_metadata: "ii:i",
  proxy_on_http_call_response: "iiiii",
  proxy_on_grpc_receive_initial_metadata: "iii",
  proxy_on_grpc_receive_trailing_metadata: "iii",
  proxy_on_grpc_receive: "iii",
  proxy_on_grpc_close: "iii",
  proxy_on_foreign_function: "iii",
  proxy_on_done: "i:i",
  proxy_on_log: "i",
  proxy_on_delete: "i",
  envoy_on_resolve_dns: "iii",
  envoy_on_stats_update: "ii",
});

export const CALLBACKS: Record<AbiVersion, Record<string, Signature>> = {
  "0.1.0": { ...CALLBACKS_0_2, ...table({ proxy_on_request_headers: "ii:i", proxy_on_response_headers: "ii:i" }) },
  "0.2.0": CALLBACKS_0_2,
  "0.2.1": CALLBACKS_0_2,
};

/** Both names offer the same functions. */
export const WASI_MODULES: ReadonlySet<string> = new Set(["wasi_unstable", "wasi_snapshot_preview1"]);

/** envoy 1.40: path_link and path_symlink have other types than WASI's, and proc_raise does not exist. */
export const WASI_FUNCTIONS: Record<string, Signature> = table({
  args_get: "ii:i",
  args_sizes_get: "ii:i",
  environ_get: "ii:i",
  environ_sizes_get: "ii:i",
  clock_res_get: "ii:i",
  clock_time_get: "iIi:i",
  fd_advise: "iIIi:i",
  fd_allocate: "iII:i",
  fd_close: "i:i",
  fd_datasync: "i:i",
  fd_fdstat_get: "ii:i",
  fd_fdstat_set_flags: "ii:i",
  fd_fdstat_set_rights: "iII:i",
  fd_filestat_get: "ii:i",
  fd_filestat_set_size: "iI:i",
  fd_filestat_set_times: "iIIi:i",
  fd_pread: "iiiIi:i",
  fd_prestat_get: "ii:i",
  fd_prestat_dir_name: "iii:i",
  fd_pwrite: "iiiIi:i",
  fd_read: "iiii:i",
  fd_readdir: "iiiIi:i",
  fd_renumber: "ii:i",
  fd_seek: "iIii:i",
  fd_sync: "i:i",
  fd_tell: "ii:i",
  fd_write: "iiii:i",
  path_create_directory: "iii:i",
  path_filestat_get: "iiiii:i",
  path_filestat_set_times: "iiiiIIi:i",
  path_link: "iiiiii:i",
  path_open: "iiiiiIIii:i",
  path_readlink: "iiiiii:i",
  path_remove_directory: "iii:i",
  path_rename: "iiiiii:i",
  path_symlink: "iiii:i",
  path_unlink_file: "iii:i",
  poll_oneoff: "iiii:i",
  proc_exit: "i",
  sched_yield: ":i",
  random_get: "ii:i",
  sock_accept: "iii:i",
  sock_recv: "iiiiii:i",
  sock_send: "iiiii:i",
  sock_shutdown: "ii:i",
});

/** What a guest may call while its `_initialize`, `_start` or `main` runs. */
const WHILE_STARTING_NOT = new Set(["path_open", "fd_read", "fd_seek", "fd_close", "sched_yield", "proc_exit"]);
const WHILE_STARTING = new Set(["proxy_log", "emscripten_notify_memory_growth"]);

/** What it may call while the host is in its malloc. */
const WHILE_ALLOCATING = new Set(["proxy_log", "fd_write", "clock_time_get", "poll_oneoff", "emscripten_notify_memory_growth"]);

/** In which restricted phases a host function may be called; elsewhere the VM fails ("restricted_callback"). */
export function allowedWhile(name: string): { start: boolean; malloc: boolean } {
  const start = Object.hasOwn(WASI_FUNCTIONS, name) ? !WHILE_STARTING_NOT.has(name) : WHILE_STARTING.has(name);
  return { start, malloc: WHILE_ALLOCATING.has(name) };
}

/** As Envoy writes a type: "i32 i32 -> i32". */
export function typeText({ params, results }: Signature): string {
  const list = (types: string[]) => (types.length === 0 ? "void" : types.join(" "));
  return `${list(params)} -> ${list(results)}`;
}

export function sameType(a: Signature, b: Signature): boolean {
  return a.params.join() === b.params.join() && a.results.join() === b.results.join();
}
