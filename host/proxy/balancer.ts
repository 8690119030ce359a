// How a host of a cluster is picked for a request: Envoy's load balancers, subsets of hosts, and hosts named by the request.
import type { HeaderMap } from "../vm/headermap.js";
import type { Json, StreamInfo } from "../vm/stream-info.js";
import type { Balancing, HostConfig, HostSource } from "./config/cluster.js";

export interface Host {
  /** "ip:port" */
  address: string;
  host: string;
  port: number;
  metadata?: Record<string, Json>;
}

export interface PickContext {
  /** Undefined for TCP. */
  headers: HeaderMap | undefined;
  info: StreamInfo;
  metadataMatch: Record<string, unknown> | undefined;
  /** Text to hash; undefined: any host will do. */
  hash: string | undefined;
}

export type Balancer = (context: PickContext) => Host | undefined;

interface Weighted {
  host: Host;
  weight: number;
}

export function createBalancer(balancing: Balancing, hosts: HostConfig[]): Balancer {
  const top = Math.min(...hosts.filter((host) => host.healthy).map((host) => host.priority));
  const usable = hosts.filter((host) => host.healthy && host.priority === top).map((config): Weighted => ({ host: hostOf(config), weight: config.weight }));
  return build(balancing, usable, hosts.map(hostOf));
}

function hostOf({ host, port, metadata }: HostConfig): Host {
  return { host, port, address: `${host.includes(":") ? `[${host}]` : host}:${port}`, ...(metadata ? { metadata } : {}) };
}

function build(balancing: Balancing, hosts: Weighted[], all: Host[]): Balancer {
  switch (balancing.kind) {
    case "round_robin":
    case "least_request":
      return roundRobin(hosts);
    case "random":
      return random(hosts);
    case "ring_hash":
    case "maglev":
      return ringHash(hosts);
    case "original_dst":
      return originalDestination(balancing.header);
    case "override_host":
      return overrideHost(balancing.sources, all, build(balancing.fallback, hosts, all));
    case "subset":
      return subset(balancing, hosts, all);
  }
}

function roundRobin(hosts: Weighted[]): Balancer {
  const order = hosts.flatMap(({ host, weight }) => Array.from({ length: Math.min(weight, 128) }, () => host));
  // envoy 1.40: begins at a random host.
  let next = Math.floor(Math.random() * (order.length || 1));
  return () => (order.length === 0 ? undefined : order[next++ % order.length]);
}

function random(hosts: Weighted[]): Balancer {
  const total = hosts.reduce((sum, { weight }) => sum + weight, 0);
  return () => {
    let at = Math.random() * total;
    for (const { host, weight } of hosts) {
      at -= weight;
      if (at < 0) return host;
    }
    return hosts.at(-1)?.host;
  };
}

/** FNV-1a: which host a value falls to differs from Envoy's xxHash, that it stays the same does not. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return (hash ^ (hash >>> 12)) >>> 0;
}

function ringHash(hosts: Weighted[]): Balancer {
  const ring = hosts
    .flatMap(({ host, weight }) => Array.from({ length: 64 * Math.min(weight, 16) }, (_, i) => ({ at: hash32(`${host.address}_${i}`), host })))
    .sort((a, b) => a.at - b.at);
  const any = random(hosts);
  return (context) => {
    if (context.hash === undefined || ring.length === 0) return any(context);
    const at = hash32(context.hash);
    return (ring.find((point) => point.at >= at) ?? ring[0]!).host;
  };
}

/** The host is what the request, or a filter, says. */
function originalDestination(header: string | undefined): Balancer {
  return ({ headers, info }) => {
    const named =
      info.filterState.get("envoy.network.transport_socket.original_dst_address")?.value ?? (header === undefined ? undefined : headers?.get(header));
    const match = /^(?:\[([0-9a-fA-F:]+)\]|([\d.]+)):(\d{1,5})$/.exec(named ?? "");
    if (!match) return undefined;
    const host = match[1] ?? match[2]!;
    return { host, port: Number(match[3]), address: named! };
  };
}

function namedHosts(sources: HostSource[], { headers, info }: PickContext): string[] {
  return sources.flatMap((source) => {
    let value: Json | undefined;
    if ("header" in source) value = headers?.get(source.header.toLowerCase());
    else {
      value = info.dynamicMetadata[source.metadata.namespace];
      for (const key of source.metadata.path) value = typeof value === "object" && value !== null && !Array.isArray(value) ? value[key] : undefined;
    }
    return typeof value === "string" ? value.split(",").map((text) => text.trim()) : [];
  });
}

function overrideHost(sources: HostSource[], hosts: Host[], fallback: Balancer): Balancer {
  const byAddress = new Map(hosts.map((host) => [host.address, host]));
  return (context) => {
    const wanted = namedHosts(sources, context)[context.info.upstream.attempts];
    return (wanted === undefined ? undefined : byAddress.get(wanted)) ?? fallback(context);
  };
}

function subset(balancing: Extract<Balancing, { kind: "subset" }>, hosts: Weighted[], all: Host[]): Balancer {
  const labels = (host: Host) => (host.metadata?.["envoy.lb"] ?? {}) as Record<string, Json>;
  const keyOf = (entries: [string, unknown][]) => JSON.stringify([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
  const balancers = new Map<string, Balancer>();
  for (const keys of balancing.selectors) {
    const groups = new Map<string, Weighted[]>();
    for (const entry of hosts) {
      const found = keys.map((key): [string, Json | undefined] => [key, labels(entry.host)[key]]);
      if (found.some(([, value]) => value === undefined)) continue;
      const key = keyOf(found);
      groups.set(key, [...(groups.get(key) ?? []), entry]);
    }
    for (const [key, group] of groups) balancers.set(key, build(balancing.inner, group, all));
  }
  const whole = build(balancing.inner, hosts, all);
  const isDefault = (host: Host) =>
    Object.entries(balancing.defaultSubset).every(([key, value]) => JSON.stringify(labels(host)[key]) === JSON.stringify(value));
  const defaults = build(
    balancing.inner,
    hosts.filter(({ host }) => isDefault(host)),
    all,
  );
  return (context) => {
    // envoy 1.40: the request's own metadata wins over the route's; all criteria together have to be one selector's keys.
    const criteria = { ...context.metadataMatch, ...context.info.dynamicMetadata["envoy.lb"] };
    const found = Object.keys(criteria).length > 0 ? balancers.get(keyOf(Object.entries(criteria))) : undefined;
    if (found) return found(context);
    return balancing.fallback === "NO_FALLBACK" ? undefined : balancing.fallback === "ANY_ENDPOINT" ? whole(context) : defaults(context);
  };
}
