// An Envoy bootstrap, as `envoy -c` reads it: node, admin, static listeners and clusters.
import type { Json } from "../../vm/stream-info.js";
import { type ClusterConfig, readAddress, readCluster } from "./cluster.js";
import { ConfigError, Fields } from "./fields.js";
import { type ListenerConfig, readListener } from "./listener.js";

export interface BootstrapConfig {
  node: { id: string; cluster: string; metadata: Record<string, Json> };
  admin: { host: string; port: number } | undefined;
  listeners: ListenerConfig[];
  clusters: ClusterConfig[];
}

/** Throws ConfigError. */
export function readBootstrap(json: unknown): BootstrapConfig {
  const fields = Fields.of(json, "bootstrap");
  const nodeFields = fields.message("node");
  const node = {
    id: nodeFields?.string("id") ?? "",
    cluster: nodeFields?.string("cluster") ?? "",
    metadata: (nodeFields?.json_("metadata") ?? {}) as Record<string, Json>,
  };
  nodeFields?.accept("locality", "user_agent_name").done();
  const adminFields = fields.message("admin");
  const admin = adminFields && readAddress(adminFields.message("address"), `${adminFields.path}.address`);
  adminFields?.accept("access_log", "access_log_path", "ignore_global_conn_limit").done();
  const resources = fields.message("static_resources");
  if (!resources) return fields.fail("static_resources", "is missing");
  const clusters = resources.list("clusters").map(readCluster);
  const byName = new Map(clusters.map((cluster) => [cluster.name, cluster.metadata]));
  const listeners = resources.list("listeners").map((listener) => readListener(listener, byName));
  resources.done();
  checkRuntime(fields.message("layered_runtime"));
  // Limits and statistics of a process, not of its filters.
  fields.accept("stats_config", "overload_manager", "stats_flush_interval").done();
  if (new Set(clusters.map((c) => c.name)).size < clusters.length) throw new ConfigError(`${resources.path}.clusters: two clusters have one name`);
  return { node, admin, listeners, clusters };
}

/** Limits of the process may stand there; what changes how requests are treated is refused. */
function checkRuntime(runtime: Fields | undefined): void {
  for (const layer of runtime?.list("layers") ?? []) {
    const values = layer.json_("static_layer") as Record<string, unknown> | undefined;
    const other = Object.keys(values ?? {}).find((key) => !/^(overload|re2|envoy\.resource_(limits|monitors))\b/.test(key));
    if (other !== undefined) layer.fail("static_layer", `the node engine does not support the runtime value ${other}`);
    layer.accept("name", "admin_layer").done();
  }
  runtime?.done();
}
