// A scenario as an Envoy bootstrap.
import path from "node:path";
import { PROBES } from "./probes.js";
import type { PluginSpec, Scenario } from "./scenario.js";

/** Ports as traces write them; a run has ports of its own in their place. */
export const PORTS = { listen: 21000, admin: 21001, up: 21002, alt: 21003, h2up: 21004, dead: 21005, tcp: 21006 } as const;
export type PortName = keyof typeof PORTS;

const type = (name: string) => `type.googleapis.com/${name}`;
const address = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });
const assignment = (name: string, ...ports: number[]) => ({
  cluster_name: name,
  endpoints: ports.length ? [{ lb_endpoints: ports.map((port) => ({ endpoint: { address: address(port) } })) }] : [],
});
const text = (value: string) => ({ "@type": type("google.protobuf.StringValue"), value });

export function pluginConfig(p: PluginSpec): object {
  return {
    name: p.name ?? "p",
    ...(p.root_id !== undefined && { root_id: p.root_id }),
    vm_config: {
      ...(p.vm_id !== undefined && { vm_id: p.vm_id }),
      runtime: "envoy.wasm.runtime.v8",
      code: { local: { filename: p.wasm ?? path.join(PROBES, `${p.module ?? "recorder"}.wasm`) } },
      ...(p.vm_script !== undefined && { configuration: text(p.vm_script) }),
      ...p.vm,
    },
    ...(p.script !== undefined && { configuration: text(p.script) }),
    ...(p.allow_stop !== undefined && { allow_on_headers_stop_iteration: p.allow_stop }),
    ...p.plugin,
  };
}

const wasmFilter = (p: PluginSpec, i: number) => ({
  name: p.filter_name ?? `wasm${i}`,
  typed_config: { "@type": type("envoy.extensions.filters.http.wasm.v3.Wasm"), config: pluginConfig(p) },
  ...p.filter,
});

const LOGGER_SCRIPT = "on_log: pairs 0\non_log: pairs 2\non_log: prop late\non_log: setprop late fromlogger";
const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** `ecds`: the file that pushed plugins come from. */
export function bootstrapOf(s: Scenario, ecds: string): object {
  const json = JSON.stringify(raw(s)).replaceAll('"@ecds"', JSON.stringify(ecds));
  return JSON.parse(
    json.replace(/"@wasm:(\w+)"/g, (_, name: string) =>
      JSON.stringify(pluginConfig({ name, root_id: "rl", vm_id: "vl", script: s.logger_script ?? LOGGER_SCRIPT })),
    ),
  );
}

function raw(s: Scenario): object {
  const format = `AL code=%RESPONSE_CODE% details=%RESPONSE_CODE_DETAILS% flags=%RESPONSE_FLAGS% cluster=%UPSTREAM_CLUSTER% rx=%BYTES_RECEIVED% tx=%BYTES_SENT%${s.access_log ? ` ${s.access_log}` : ""}\n`;
  const accessLog = [
    {
      name: "stdout",
      typed_config: {
        "@type": type("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
        log_format: { text_format_source: { inline_string: format } },
      },
    },
  ];
  const listener = s.tcp ? tcpListener(s, accessLog) : httpListener(s, accessLog);
  return {
    admin: { address: address(PORTS.admin) },
    node: { id: "node-1", cluster: "cluster-1", metadata: { k: "v" } },
    static_resources: { listeners: [listener], clusters: clusters(s) },
    ...s.bootstrap,
  };
}

function httpListener(s: Scenario, accessLog: object[]): object {
  const router = { name: "router", typed_config: { "@type": type("envoy.extensions.filters.http.router.v3.Router") } };
  const discovered = {
    name: "ecds",
    config_discovery: {
      config_source: { path_config_source: { path: "@ecds" }, resource_api_version: "V3" },
      type_urls: [type("envoy.extensions.filters.http.wasm.v3.Wasm")],
    },
  };
  const hcm = {
    "@type": type("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
    stat_prefix: "i",
    codec_type: "AUTO",
    http_protocol_options: { enable_trailers: true },
    access_log: accessLog,
    route_config: {
      name: "rc",
      virtual_hosts: s.virtual_hosts ?? [{ name: "v", domains: ["*"], routes: s.routes ?? [{ name: "r0", match: { prefix: "/" }, route: { cluster: "up" } }] }],
    },
    http_filters: [...(s.filters_before ?? []), ...(s.ecds ? [discovered] : []), ...(s.plugins ?? []).map(wasmFilter), ...(s.filters_after ?? []), router],
    ...s.hcm,
  };
  return { name: "l", address: address(PORTS.listen), ...s.listener, filter_chains: [{ filters: [{ name: "hcm", typed_config: hcm }] }] };
}

function tcpListener(s: Scenario, accessLog: object[]): object {
  const filters = (s.plugins ?? []).map((p, i) => ({
    name: `wasm${i}`,
    typed_config: { "@type": type("envoy.extensions.filters.network.wasm.v3.Wasm"), config: pluginConfig(p) },
  }));
  const proxy = {
    name: "tcp",
    typed_config: { "@type": type("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"), stat_prefix: "t", cluster: "tcp", access_log: accessLog },
  };
  return { name: "l", address: address(PORTS.listen), filter_chains: [{ filters: [...filters, proxy] }] };
}

function clusters(s: Scenario): object[] {
  const cluster = (name: string, fields: object) => ({ name, type: "STATIC", connect_timeout: "1s", ...fields });
  const options = (fields: object) => ({ typed_extension_protocol_options: { [HTTP_OPTIONS]: { "@type": type(HTTP_OPTIONS), ...fields } } });
  const upstreamFilters = s.upstream_filters && {
    http_filters: [
      ...s.upstream_filters.map(wasmFilter),
      { name: "codec", typed_config: { "@type": type("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec") } },
    ],
  };
  const up = s.up_options ?? options({ explicit_http_config: { http_protocol_options: { enable_trailers: true } }, ...upstreamFilters });
  return [
    cluster("up", { load_assignment: assignment("up", PORTS.up), ...up }),
    cluster("alt", { load_assignment: assignment("alt", PORTS.alt) }),
    cluster("h2up", { load_assignment: assignment("h2up", PORTS.h2up), ...options({ explicit_http_config: { http2_protocol_options: {} } }) }),
    cluster("dead", { load_assignment: assignment("dead", PORTS.dead) }),
    cluster("empty", { load_assignment: assignment("empty") }),
    cluster("tcp", { load_assignment: assignment("tcp", PORTS.tcp) }),
    ...(s.clusters ?? []),
  ];
}
