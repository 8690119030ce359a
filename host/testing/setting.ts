// What both engines are given: one bootstrap with the module, its clusters and an access log that can be read back.
import type { ClusterTarget } from "../envoy/bootstrap.js";
import { bootstrap } from "../envoy/bootstrap.js";
import type { MountOptions, StreamRecord } from "./types.js";

const FIELDS = [
  "%REQ(:METHOD)%",
  "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
  "%RESPONSE_CODE%",
  "%RESPONSE_CODE_DETAILS%",
  "%RESPONSE_FLAGS%",
  "%UPSTREAM_CLUSTER%",
  "%ROUTE_NAME%",
  "%BYTES_RECEIVED%",
  "%BYTES_SENT%",
];

const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** envoy 1.40: without this a cluster of HTTP/1 drops trailers. */
const WITH_TRAILERS = {
  [HTTP_OPTIONS]: { "@type": `type.googleapis.com/${HTTP_OPTIONS}`, explicit_http_config: { http_protocol_options: { enable_trailers: true } } },
};

/** Begins each line of the access log, so that it can be told from whatever else is printed. */
export const MARK = "\u0002";

export interface Module {
  path: string;
  config: unknown;
  filter: string | undefined;
}

export function settingFor(modules: Module[], targets: ClusterTarget[], options: MountOptions): object {
  const [upstream, ...others] = [targets.find(({ name }) => name === "upstream")!, ...targets.filter(({ name }) => name !== "upstream")];
  const names = (options.properties ?? []).map((name) => `%FILTER_STATE(wasm.${name}:PLAIN)%`);
  const result = bootstrap({
    filters: modules.map(({ path, config, filter }, i) => ({
      name: filter ?? (i === 0 ? "test" : `test${i + 1}`),
      wasm: path,
      vmId: `test${i}`,
      ...(filter ? { rootId: filter } : {}),
      ...(config === undefined ? {} : { config }),
    })),
    upstream: upstream!,
    clusters: others,
    accessLog: MARK + [...FIELDS, ...names].join("\t"),
    hcm: {
      ...(options.routes ? { route_config: { name: "routes", virtual_hosts: [{ name: "all", domains: ["*"], routes: options.routes }] } } : {}),
      ...options.hcm,
    },
    ...(options.listener ? { listener: options.listener } : {}),
  });
  const json = JSON.parse(JSON.stringify(result));
  const filters = json.static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters as {
    typed_config: { config: Record<string, unknown> };
  }[];
  modules.forEach(({ config }, i) => {
    const plugin = filters[i]!.typed_config.config;
    if (typeof config === "string") plugin.configuration = { "@type": "type.googleapis.com/google.protobuf.StringValue", value: config };
    Object.assign(plugin, options.plugin);
  });
  for (const cluster of json.static_resources.clusters as Record<string, unknown>[]) cluster.typed_extension_protocol_options ??= WITH_TRAILERS;
  json.node = { id: "test", cluster: "test" };
  return json;
}

/** A line of the access log, without its mark. */
export function streamRecord(line: string, properties: string[]): StreamRecord {
  const [method = "", path = "", status = "0", details = "", flags = "", cluster = "", route = "", received = "0", sent = "0", ...values] = line.split("\t");
  return {
    method,
    path,
    status: Number(status),
    details,
    flags,
    cluster,
    route: route === "-" ? "" : route,
    received: Number(received),
    sent: Number(sent),
    properties: Object.fromEntries(properties.flatMap((name, i) => (values[i] === undefined || values[i] === "-" ? [] : [[name, values[i]!]]))),
  };
}

/** Takes the hosts of these clusters away. */
export function withoutHosts(bootstrap: object, names: string[]): object {
  const json = bootstrap as { static_resources: { clusters: { name: string; load_assignment: { endpoints: unknown[] } }[] } };
  for (const cluster of json.static_resources.clusters) if (names.includes(cluster.name)) cluster.load_assignment.endpoints = [];
  return json;
}
