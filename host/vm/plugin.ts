// What Envoy's configuration says of a plugin and of the VM it runs in.

export interface VmConfig {
  vmId: string;
  /** The module's bytes. */
  code: Uint8Array;
  /** As the guest reads it from buffer 6. */
  configuration: Uint8Array;
  environment: ReadonlyMap<string, string>;
  /** Names of host functions and callbacks; undefined: no restriction. */
  allowedCapabilities?: ReadonlySet<string> | undefined;
}

export type FailurePolicy = "FAIL_CLOSED" | "FAIL_OPEN" | "FAIL_RELOAD";

export interface PluginConfig {
  name: string;
  rootId: string;
  /** As the guest reads it from buffer 7. */
  configuration: Uint8Array;
  failurePolicy: FailurePolicy;
  /** The old field: the stream whose callback fails passes, too. */
  failOpen: boolean;
  /** Milliseconds before a failed VM is made anew. */
  reloadBackoffMs: number;
  allowOnHeadersStopIteration: boolean;
  vm: VmConfig;
}
