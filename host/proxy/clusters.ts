// The clusters of a proxy: their hosts, the pools of connections to them, and the filters that requests to them pass.
import type { Balancer, Host } from "./balancer.js";
import type { HostPool } from "./codec.js";
import type { FilterFactory } from "./filter-manager.js";
import type { Counter, ResponseCounters } from "./statistics.js";

export type { Host, PickContext } from "./balancer.js";

export interface ClusterStatistics {
  requests: Counter;
  responses: ResponseCounters;
}

export interface Cluster {
  readonly name: string;
  readonly hosts: readonly Host[];
  readonly pick: Balancer;
  readonly filters: FilterFactory[];
  readonly bufferLimit: number;
  readonly statistics: ClusterStatistics;
  poolFor(host: Host): HostPool;
  close(): void;
}

export interface ClusterOptions {
  name: string;
  hosts: readonly Host[];
  pick: Balancer;
  /** Made anew for each request: what a plugin's failure leaves out is not there. */
  filters?: () => FilterFactory[];
  bufferLimit?: number;
  statistics: ClusterStatistics;
  makePool(host: Host): HostPool;
}

export function createCluster({ name, hosts, pick, filters, bufferLimit = 1 << 20, statistics, makePool }: ClusterOptions): Cluster {
  const pools = new Map<string, HostPool>();
  return {
    name,
    hosts,
    pick,
    get filters() {
      return filters?.() ?? [];
    },
    bufferLimit,
    statistics,
    poolFor(host) {
      const found = pools.get(host.address);
      if (found) return found;
      const pool = makePool(host);
      pools.set(host.address, pool);
      return pool;
    },
    close() {
      for (const pool of pools.values()) pool.close();
    },
  };
}

export class ClusterManager {
  private readonly clusters = new Map<string, Cluster>();

  add(cluster: Cluster): void {
    this.clusters.set(cluster.name, cluster);
  }

  get(name: string): Cluster | undefined {
    return this.clusters.get(name);
  }

  close(): void {
    for (const cluster of this.clusters.values()) cluster.close();
  }
}
