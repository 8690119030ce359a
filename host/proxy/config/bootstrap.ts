// An Envoy bootstrap, as `envoy -c` reads it: node, admin, static listeners and clusters.
import { existsSync } from "node:fs";
import type { Json } from "../../vm/stream-info.js";
import { type ClusterConfig, readAddress, readCluster } from "./cluster.js";
import { ConfigError, Fields } from "./fields.js";
import { type ListenerConfig, readListener } from "./listener.js";

export interface BootstrapConfig {
  node: { id: string; cluster: string; metadata: Record<string, Json> };
  admin: { host: string; port: number } | undefined;
  listeners: ListenerConfig[];
  clusters: ClusterConfig[];
  /** How often histograms show what was recorded. */
  statsFlushMs: number;
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
  const resources = fields.message("static_resources") ?? Fields.of({}, "bootstrap.static_resources");
  const clusters = resources.list("clusters").map(readCluster);
  const twice = clusters.find(({ name }, i) => clusters.findIndex((other) => other.name === name) < i);
  if (twice) throw new ConfigError(`${resources.path}.clusters: two are named ${twice.name}`, `cluster manager: duplicate cluster '${twice.name}'`);
  const byName = new Map(clusters.map((cluster) => [cluster.name, cluster.metadata]));
  const listeners = resources.list("listeners").map((listener) => readListener(listener, byName));
  const watched = listeners.flatMap(({ http }) => http?.filters ?? []).flatMap((filter) => (filter.kind === "ecds" ? [filter.file] : []));
  if (watched.length > 0 && (!node.id || !node.cluster)) {
    const reason = "node 'id' and 'cluster' are required. Set it either in 'node' config or via --service-node and --service-cluster options.";
    throw new ConfigError(`bootstrap.node: ${reason}`, `type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig: ${reason}`);
  }
  const missing = watched.find((file) => !existsSync(file));
  if (missing !== undefined) {
    const reason = `paths must refer to an existing path in the system: '${missing}' does not exist`;
    throw new ConfigError(`bootstrap.static_resources.listeners: ${reason}`, reason);
  }
  resources.done();
  checkRuntime(fields.message("layered_runtime"));
  // Limits and statistics of a process, not of its filters.
  const statsFlushMs = fields.duration("stats_flush_interval") ?? 5000;
  fields.accept("stats_config", "overload_manager").done();
  return { node, admin, listeners, clusters, statsFlushMs };
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
