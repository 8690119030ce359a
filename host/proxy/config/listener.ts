// Listeners: the HTTP connection manager with its filters and access logs, and TCP proxying with network filters.
import { closeSync, openSync } from "node:fs";
import type { PluginConfig } from "../../vm/plugin.js";
import type { Json } from "../../vm/stream-info.js";
import { compileFormat, compileJson, DEFAULT_FORMAT, type Format } from "../access-log.js";
import { toByteString } from "../byte-string.js";
import { type HeaderEdit, readEdits } from "../header-edits.js";
import { type Rules, readRules } from "../header-to-metadata.js";
import type { Http2Settings } from "../http2-session.js";
import { type RouteTable, readRouteTable } from "../routes.js";
import { readAddress, readHttp2, readMetadata } from "./cluster.js";
import { ConfigError, type Fields } from "./fields.js";
import { type LogFilter, readLogFilter } from "./log-filter.js";
import { readPlugin } from "./wasm.js";

export type HttpFilterConfig = { name: string; disabled: boolean } & (
  | { kind: "wasm"; plugin: PluginConfig }
  | { kind: "ecds"; file: string }
  | { kind: "header_to_metadata"; rules: Rules }
);

export type AccessLogConfig = {
  /** The streams that it tells of; all where it is not given. */
  wanted: LogFilter | undefined;
} & ({ kind: "text"; to: "stdout" | "stderr" | { file: string }; format: Format } | { kind: "wasm"; plugin: PluginConfig });

export interface LocalReplyMapper {
  matches: LogFilter;
  edits: HeaderEdit[];
  status: number | undefined;
  body: string | undefined;
  format: Format | undefined;
  contentType: string | undefined;
}

export interface HcmConfig {
  codec: "AUTO" | "HTTP1" | "HTTP2";
  routes: RouteTable;
  filters: HttpFilterConfig[];
  accessLogs: AccessLogConfig[];
  enableTrailers: boolean;
  acceptHttp10: boolean;
  defaultHostForHttp10: string | undefined;
  streamIdleTimeoutMs: number;
  requestTimeoutMs: number;
  serverName: string;
  generateRequestId: boolean;
  statPrefix: string;
  http2: Http2Settings;
  upgrades: Set<string>;
  mappers: LocalReplyMapper[];
  bodyFormat: { format: Format; contentType: string } | undefined;
}

export interface ListenerConfig {
  name: string;
  host: string;
  port: number;
  bufferLimit: number;
  metadata?: Record<string, Json>;
  direction: number;
  http?: HcmConfig;
  tcp?: { plugins: PluginConfig[]; cluster: string; accessLogs: AccessLogConfig[] };
}

/** Metadata by the names of all clusters there are. */
export type KnownClusters = ReadonlyMap<string, Record<string, Json> | undefined>;

const LOGGERS = "envoy.extensions.access_loggers.";

/** What can stand in a configuration, by type: for --help and the README. */
export const EXTENSIONS = [
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
  "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
  "envoy.extensions.filters.network.wasm.v3.Wasm",
  "envoy.extensions.filters.http.wasm.v3.Wasm (typed_config, or config_discovery with a path_config_source)",
  "envoy.extensions.filters.http.header_to_metadata.v3.Config",
  "envoy.extensions.filters.http.router.v3.Router",
  "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
  `${LOGGERS}stream.v3.StdoutAccessLog`,
  `${LOGGERS}stream.v3.StderrAccessLog`,
  `${LOGGERS}file.v3.FileAccessLog`,
  `${LOGGERS}wasm.v3.WasmAccessLog`,
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
  "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext (without verification)",
];

/** A SubstitutionFormatString. */
function readFormat(fields: Fields): { format: Format; contentType: string | undefined } {
  const source = fields.message("text_format_source");
  const text = source?.string("inline_string") ?? fields.string("text_format");
  const json = fields.json_("json_format");
  source?.done();
  const contentType = fields.string("content_type");
  const omitEmpty = fields.bool("omit_empty_values") ?? false;
  fields.done();
  if (text !== undefined) return { format: compileFormat(text, fields.path, omitEmpty), contentType: contentType ?? "text/plain" };
  if (json === undefined) return fields.fail("text_format_source", "is missing (or json_format)");
  return { format: compileJson(json as Json, fields.path, omitEmpty), contentType: contentType ?? "application/json" };
}

function readAccessLogs(fields: Fields): AccessLogConfig[] {
  return fields.list("access_log").map((log) => {
    const config = log.message("typed_config");
    if (!config) return log.fail("typed_config", "is missing");
    const filter = log.message("filter");
    const wanted = filter && readLogFilter(filter);
    log.accept("name").done();
    if (config.type === `${LOGGERS}wasm.v3.WasmAccessLog`) {
      const plugin = config.message("config");
      config.done();
      return { kind: "wasm", plugin: plugin ? readPlugin(plugin) : config.fail("config", "is missing"), wanted };
    }
    const to =
      config.type === `${LOGGERS}stream.v3.StdoutAccessLog`
        ? "stdout"
        : config.type === `${LOGGERS}stream.v3.StderrAccessLog`
          ? "stderr"
          : config.type === `${LOGGERS}file.v3.FileAccessLog`
            ? { file: config.required("path") }
            : undefined;
    if (!to) throw new ConfigError(`${config.path}: the node engine does not support ${config.type}`);
    const format = config.message("log_format");
    const line = format ? readFormat(format).format : compileFormat(config.string("format") ?? DEFAULT_FORMAT, config.path);
    config.done();
    if (typeof to === "object" && (to.file === "/dev/stdout" || to.file === "/dev/stderr")) {
      return { kind: "text", to: to.file === "/dev/stdout" ? "stdout" : "stderr", format: line, wanted };
    }
    if (typeof to === "object") checkWritable(to.file, config);
    return { kind: "text", to, format: line, wanted };
  });
}

function checkWritable(file: string, at: Fields): void {
  try {
    closeSync(openSync(file, "a"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "No such file or directory" : code === "EISDIR" ? "Is a directory" : code === "EACCES" ? "Permission denied" : String(code);
    const reason = `unable to open file '${file}': ${why}`;
    throw new ConfigError(`${at.path}.path: ${reason}`, reason);
  }
}

function readHttpFilters(fields: Fields): HttpFilterConfig[] {
  const filters: HttpFilterConfig[] = [];
  const list = fields.list("http_filters");
  let ended = false;
  for (const [i, filter] of list.entries()) {
    const name = filter.required("name");
    const disabled = filter.bool("disabled") ?? false;
    const discovery = filter.message("config_discovery");
    filter.accept("is_optional");
    if (discovery) {
      const source = discovery.message("config_source");
      const file = source?.message("path_config_source");
      if (!source || !file) return discovery.fail("config_source", "the node engine supports path_config_source only");
      filters.push({ name, disabled, kind: "ecds", file: file.required("path") });
      file.done();
      source.accept("resource_api_version", "initial_fetch_timeout").done();
      discovery.accept("type_urls").done();
      filter.done();
      continue;
    }
    const config = filter.message("typed_config");
    if (!config) return filter.fail("typed_config", "is missing");
    filter.done();
    if (config.type === "envoy.extensions.filters.http.wasm.v3.Wasm") {
      const plugin = config.message("config");
      filters.push({ name, disabled, kind: "wasm", plugin: plugin ? readPlugin(plugin) : config.fail("config", "is missing") });
    } else if (config.type === "envoy.extensions.filters.http.header_to_metadata.v3.Config") {
      filters.push({ name, disabled, kind: "header_to_metadata", rules: readRules(config) });
    } else if (config.type === "envoy.extensions.filters.http.router.v3.Router") {
      if (i < list.length - 1)
        throw new ConfigError(
          `${filter.path}: the router has to be the last filter`,
          `Error: terminal filter named ${name} of type envoy.filters.http.router must be the last filter in a http filter chain.`,
        );
      config.accept("dynamic_stats", "start_child_span").done();
      ended = true;
    } else {
      throw new ConfigError(`${filter.path}: the node engine does not support ${config.type || name}`);
    }
    config.done();
  }
  if (!ended && list.length > 0) {
    const { name, kind } = filters.at(-1)!;
    const of = kind === "ecds" ? "" : ` of type envoy.filters.http.${kind}`;
    throw new ConfigError(
      `${fields.path}.http_filters: the router has to be the last filter`,
      `Error: non-terminal filter named ${name}${of} is the last filter in a http filter chain.`,
    );
  }
  return filters;
}

function readMappers(fields: Fields | undefined): Pick<HcmConfig, "mappers" | "bodyFormat"> {
  if (!fields) return { mappers: [], bodyFormat: undefined };
  const mappers = fields.list("mappers").map((mapper): LocalReplyMapper => {
    const filter = mapper.message("filter");
    if (!filter) return mapper.fail("filter", "is missing");
    const matches = readLogFilter(filter);
    const edits = readEdits(mapper, "headers_to_add");
    const body = mapper.message("body");
    const text = body?.string("inline_string");
    body?.done();
    const format = mapper.message("body_format_override");
    const override = format && readFormat(format);
    const found: LocalReplyMapper = {
      matches,
      edits,
      status: mapper.number("status_code"),
      body: text === undefined ? undefined : toByteString(text),
      format: override?.format,
      contentType: override?.contentType,
    };
    mapper.done();
    return found;
  });
  const format = fields.message("body_format");
  const body = format && readFormat(format);
  fields.done();
  return { mappers, bodyFormat: body && { format: body.format, contentType: body.contentType ?? "text/plain" } };
}

function readHcm(fields: Fields, clusters: KnownClusters): HcmConfig {
  const routeConfig = fields.message("route_config");
  if (!routeConfig) return fields.fail("rds", "the node engine supports route_config only");
  const http1 = fields.message("http_protocol_options");
  const common = fields.message("common_http_protocol_options");
  const http2 = fields.message("http2_protocol_options");
  const upgrades = fields.list("upgrade_configs").map((upgrade) => {
    const type = upgrade.required("upgrade_type").toLowerCase();
    const enabled = upgrade.bool("enabled") ?? true;
    upgrade.done();
    return enabled ? type : "";
  });
  const config: HcmConfig = {
    codec: fields.choice("codec_type", ["AUTO", "HTTP1", "HTTP2"], "AUTO"),
    routes: readRouteTable(routeConfig, clusters),
    filters: readHttpFilters(fields),
    accessLogs: readAccessLogs(fields),
    enableTrailers: http1?.bool("enable_trailers") ?? false,
    acceptHttp10: http1?.bool("accept_http_10") ?? false,
    defaultHostForHttp10: http1?.string("default_host_for_http_10"),
    streamIdleTimeoutMs: fields.duration("stream_idle_timeout") ?? 300_000,
    requestTimeoutMs: fields.duration("request_timeout") ?? 0,
    serverName: fields.string("server_name") ?? "envoy",
    generateRequestId: fields.bool("generate_request_id") ?? true,
    statPrefix: fields.required("stat_prefix"),
    http2: readHttp2(http2),
    upgrades: new Set(upgrades.filter((type) => type !== "")),
    ...readMappers(fields.message("local_reply_config")),
  };
  http1?.done();
  common?.accept("idle_timeout").done();
  fields.done();
  return config;
}

function readTcp(fields: Fields): { cluster: string; accessLogs: AccessLogConfig[] } {
  const tcp = { cluster: fields.required("cluster"), accessLogs: readAccessLogs(fields) };
  fields.accept("stat_prefix").done();
  return tcp;
}

const DIRECTIONS = ["UNSPECIFIED", "INBOUND", "OUTBOUND"] as const;

export function readListener(fields: Fields, clusters: KnownClusters): ListenerConfig {
  const metadata = readMetadata(fields.message("metadata"));
  const listener: ListenerConfig = {
    name: fields.string("name") ?? "",
    ...readAddress(fields.message("address"), `${fields.path}.address`),
    bufferLimit: fields.number("per_connection_buffer_limit_bytes") ?? 1 << 20,
    direction: DIRECTIONS.indexOf(fields.choice("traffic_direction", DIRECTIONS, "UNSPECIFIED")),
    ...(metadata ? { metadata } : {}),
  };
  const chains = fields.list("filter_chains");
  if (chains.length === 0) {
    const reason = `error adding listener '${listener.host}:${listener.port}': no filter chains specified`;
    throw new ConfigError(`${fields.path}: ${reason}`, reason);
  }
  const [chain] = chains;
  if (!chain || chains.length > 1) return fields.fail("filter_chains", "the node engine supports exactly one");
  const plugins: PluginConfig[] = [];
  for (const filter of chain.list("filters")) {
    const config = filter.message("typed_config");
    if (!config) return filter.fail("typed_config", "is missing");
    filter.accept("name").done();
    if (config.type === "envoy.extensions.filters.network.wasm.v3.Wasm") {
      const plugin = config.message("config");
      plugins.push(plugin ? readPlugin(plugin) : config.fail("config", "is missing"));
      config.done();
    } else if (config.type === "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy") listener.tcp = { plugins, ...readTcp(config) };
    else if (config.type === "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager") listener.http = readHcm(config, clusters);
    else throw new ConfigError(`${filter.path}: the node engine does not support ${config.type}`);
  }
  if (listener.http && plugins.length > 0) throw new ConfigError(`${chain.path}: the node engine supports network filters before tcp_proxy only`);
  if (!listener.http && !listener.tcp) throw new ConfigError(`${chain.path}: has neither an HTTP connection manager nor a tcp_proxy`);
  chain.accept("name").done();
  // One process listens here: there is nobody to share the port with.
  if (fields.bool("bind_to_port") === false) fields.fail("bind_to_port", "the node engine supports true");
  fields.accept("enable_reuse_port", "stat_prefix").done();
  return listener;
}
