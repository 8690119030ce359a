// Envoy configuration for a module: the http_filters entry, the clusters it needs, and a whole bootstrap around them.

/** Where a cluster's requests go. */
export interface ClusterTarget {
  name: string;
  /** `http://host:port`; https is spoken where the URL says so. */
  url: string;
  /** Speak HTTP/2 to it. */
  http2?: boolean;
}

export interface FilterEntry {
  /** Name in Envoy's logs and statistics. */
  name: string;
  /** Path of the .wasm as Envoy sees it. */
  wasm: string;
  /** The filter of the module; empty where the configuration lists a chain or the module has one filter. */
  rootId?: string;
  vmId?: string;
  /** Configuration as JSON. */
  config?: unknown;
}

export interface BootstrapOptions {
  filters: FilterEntry[];
  /** Target of every route. */
  upstream: ClusterTarget;
  clusters?: ClusterTarget[];
  /** 0: any free port. */
  port?: number;
  adminPort?: number;
  host?: string;
  /** Further fields for the connection manager, the listener, the cluster `upstream`. */
  hcm?: object;
  listener?: object;
  /** Seconds a route may take; Envoy's default is 15. */
  routeTimeout?: string;
  /** Access log lines in this format go to stdout. */
  accessLog?: string;
}

type Json = Record<string, unknown>;

const V3 = "type.googleapis.com/envoy";

/** The http_filters entry of a module. Configuration goes as a StringValue: Envoy 1.40 hands a Struct over as protobuf, not as JSON. */
export function filterEntry(filter: FilterEntry): Json {
  return {
    name: filter.name,
    typed_config: {
      "@type": `${V3}.extensions.filters.http.wasm.v3.Wasm`,
      config: {
        name: filter.name,
        ...(filter.rootId ? { root_id: filter.rootId } : {}),
        ...(filter.config === undefined
          ? {}
          : { configuration: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: JSON.stringify(filter.config) } }),
        // A filter that waits for a body holds its headers meanwhile; without this Envoy would hold the body back too (1.35 and later).
        allow_on_headers_stop_iteration: true,
        // Faults are held to their stream inside the module; should a VM fail all the same, a new one is made.
        failure_policy: "FAIL_RELOAD",
        vm_config: { vm_id: filter.vmId ?? filter.name, runtime: "envoy.wasm.runtime.v8", code: { local: { filename: filter.wasm } } },
      },
    },
  };
}

/** A cluster for a URL. Throws where the URL is none. */
export function clusterFor({ name, url, http2 }: ClusterTarget): Json {
  const { hostname, port, protocol } = parseTarget(url);
  const numeric = /^[\d.]+$/.test(hostname) || hostname.includes(":");
  return {
    name,
    type: numeric ? "STATIC" : "STRICT_DNS",
    connect_timeout: "5s",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: hostname, port_value: port } } } }] }],
    },
    ...(http2
      ? {
          typed_extension_protocol_options: {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
              "@type": `${V3}.extensions.upstreams.http.v3.HttpProtocolOptions`,
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
        }
      : {}),
    ...(protocol === "https:"
      ? {
          transport_socket: {
            name: "envoy.transport_sockets.tls",
            typed_config: { "@type": `${V3}.extensions.transport_sockets.tls.v3.UpstreamTlsContext`, sni: hostname },
          },
        }
      : {}),
  };
}

/** Takes a `http://host:port` apart. Throws an Error of one line. */
export function parseTarget(url: string): { hostname: string; port: number; protocol: string } {
  let parsed: URL;
  try {
    parsed = new URL(url.includes("://") ? url : `http://${url}`);
  } catch {
    throw new Error(`"${url}" is no URL: write http://host:port`);
  }
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") throw new Error(`"${url}": only http and https are possible`);
  return {
    hostname: parsed.hostname.replace(/^\[|\]$/g, ""),
    port: Number(parsed.port || (parsed.protocol === "https:" ? 443 : 80)),
    protocol: parsed.protocol,
  };
}

export function bootstrap(options: BootstrapOptions): Json {
  const host = options.host ?? "127.0.0.1";
  const address = (port: number) => ({ socket_address: { address: host, port_value: port } });
  const clusters = [{ ...options.upstream, name: "upstream" }, ...(options.clusters ?? []).filter((c) => c.name !== "upstream")];
  return {
    admin: { address: address(options.adminPort ?? 0) },
    static_resources: {
      listeners: [
        {
          name: "ingress",
          address: address(options.port ?? 0),
          filter_chains: [
            {
              filters: [
                {
                  name: "envoy.filters.network.http_connection_manager",
                  typed_config: {
                    "@type": `${V3}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                    stat_prefix: "ingress",
                    codec_type: "AUTO",
                    http_protocol_options: { enable_trailers: true },
                    route_config: {
                      name: "routes",
                      virtual_hosts: [
                        {
                          name: "all",
                          domains: ["*"],
                          routes: [
                            { match: { prefix: "/" }, route: { cluster: "upstream", ...(options.routeTimeout ? { timeout: options.routeTimeout } : {}) } },
                          ],
                        },
                      ],
                    },
                    ...(options.accessLog
                      ? {
                          access_log: [
                            {
                              name: "envoy.access_loggers.stdout",
                              typed_config: {
                                "@type": `${V3}.extensions.access_loggers.stream.v3.StdoutAccessLog`,
                                log_format: { text_format_source: { inline_string: `${options.accessLog}\n` } },
                              },
                            },
                          ],
                        }
                      : {}),
                    http_filters: [
                      ...options.filters.map(filterEntry),
                      { name: "envoy.filters.http.router", typed_config: { "@type": `${V3}.extensions.filters.http.router.v3.Router` } },
                    ],
                    ...options.hcm,
                  },
                },
              ],
            },
          ],
          ...options.listener,
        },
      ],
      clusters: clusters.map(clusterFor),
    },
  };
}
