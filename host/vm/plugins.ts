// The plugins of one process: a base VM and a canary to try them, then a VM on each thread; what happens when one fails; and their replacement while streams run.
// Order and messages as envoy 1.40 (facts/envoy-verified.md 2 H1–H3, 3).
import { createHash } from "node:crypto";
import type { Environment, Thread } from "./environment.js";
import { FailedFilter } from "./failed-filter.js";
import { StartSectionCall } from "./functions.js";
import { HttpContext } from "./http-context.js";
import { inspectModule, type LoadedModule } from "./load.js";
import type { PluginConfig, VmConfig } from "./plugin.js";
import { RootContext } from "./root-context.js";
import type { StreamCallbacks, StreamFilter } from "./stream-callbacks.js";
import { Vm } from "./vm.js";

/** A plugin that Envoy would not take. The message is Envoy's. */
export class PluginRefused extends Error {}

export interface ReloadStats {
  success: number;
  backoff: number;
  failure: number;
}

/** A plugin on one thread. */
export class ThreadPlugin {
  private lastLoadMs: number;

  constructor(
    private readonly owner: Plugins,
    readonly plugin: PluginConfig,
    readonly thread: Thread,
    public root: RootContext | undefined,
    readonly stats: ReloadStats,
  ) {
    this.lastLoadMs = this.nowMs();
  }

  private nowMs(): number {
    return Number(this.owner.env.clock.monotonic() / 1_000_000n);
  }

  get failed(): boolean {
    return !this.root || this.root.vm.failed !== undefined;
  }

  /** The root to make new streams on; undefined where the VM has failed. */
  usable(): RootContext | undefined {
    if (this.failed && this.plugin.failurePolicy === "FAIL_RELOAD") this.reload();
    return this.failed ? undefined : this.root;
  }

  private reload(): void {
    // envoy 1.40: the wait is the base interval and up to half of it more.
    const wait = this.plugin.reloadBackoffMs * (1 + Math.random() / 2);
    if (this.nowMs() - this.lastLoadMs < wait) {
      this.stats.backoff++;
      return;
    }
    this.lastLoadMs = this.nowMs();
    this.root?.end();
    this.root = this.owner.startOn(this.thread, this.plugin);
    if (this.failed) this.stats.failure++;
    else this.stats.success++;
  }

  /** Makes the filter of a new HTTP stream; undefined where it is left out. */
  newStream(isUpstream = false): ((callbacks: StreamCallbacks) => StreamFilter) | undefined {
    const root = this.usable();
    if (root) return (callbacks) => new HttpContext(root, callbacks, isUpstream);
    return this.plugin.failurePolicy === "FAIL_OPEN" ? undefined : (callbacks) => new FailedFilter(callbacks);
  }
}

/** A configured plugin: its part on each thread. */
export class Plugin {
  readonly threads = new Map<Thread, ThreadPlugin>();
  readonly stats: ReloadStats = { success: 0, backoff: 0, failure: 0 };

  constructor(readonly config: PluginConfig) {}

  on(thread: Thread): ThreadPlugin {
    return this.threads.get(thread)!;
  }
}

/** VMs of one thread by their key, and the root contexts in them. */
interface ThreadState {
  vms: Map<string, Vm>;
  roots: Map<string, { root: RootContext; users: number }>;
}

export class Plugins {
  private readonly states = new Map<Thread, ThreadState>();
  private readonly canaries = new Map<string, string | undefined>();
  private readonly bases = new Map<string, Vm>();

  constructor(
    readonly env: Environment,
    readonly main: Thread,
    readonly workers: readonly Thread[],
  ) {
    for (const thread of [main, ...workers]) this.states.set(thread, { vms: new Map(), roots: new Map() });
  }

  /** VMs ever made. */
  created = 0;

  /** VMs that live: one per key and thread, and the base ones. */
  get active(): number {
    return this.bases.size + [...this.states.values()].reduce((count, { vms }) => count + vms.size, 0);
  }

  vmsOf(threads: readonly Thread[]): Vm[] {
    return threads.flatMap((thread) => [...this.states.get(thread)!.vms.values()]);
  }

  private startVm(module: LoadedModule, config: VmConfig, thread: Thread): Vm {
    this.created++;
    try {
      return Vm.start(module, config, thread, this.env);
    } catch (error) {
      if (error instanceof StartSectionCall) this.env.crash("SIGSEGV", `${error.message}, before it has a context`);
      throw error;
    }
  }

  /** Tries a plugin and starts it on the main thread; `startWorkers` does the rest. Throws PluginRefused. */
  load(config: PluginConfig): Plugin {
    const problem = this.trial(config);
    if (problem !== undefined) {
      this.env.log(this.main, "error", `Wasm VM failed ${problem}`);
      this.env.log(this.main, "critical", `Plugin ${config.name} failed to load`);
      this.env.log(this.main, "critical", "Plugin configured to fail closed failed to load");
      throw new PluginRefused(`Unable to create Wasm plugin ${config.name}`);
    }
    const plugin = new Plugin(config);
    plugin.threads.set(this.main, new ThreadPlugin(this, config, this.main, this.startOn(this.main, config), plugin.stats));
    return plugin;
  }

  startWorkers(plugin: Plugin): void {
    for (const thread of this.workers)
      plugin.threads.set(thread, new ThreadPlugin(this, plugin.config, thread, this.startOn(thread, plugin.config), plugin.stats));
  }

  /** Base VM and canary. Returns what is wrong. */
  private trial(config: PluginConfig): string | undefined {
    const vmKey = keyOfVm(config.vm);
    const key = `${vmKey} ${keyOfPlugin(config)}`;
    if (this.canaries.has(key)) return this.canaries.get(key);
    const module = inspectModule(config.vm.code);
    if ("lines" in module) {
      for (const { level, text } of module.lines) this.env.log(this.main, level, text);
      return module.problem;
    }
    if (!this.bases.has(vmKey)) {
      const base = this.startVm(module, config.vm, this.main);
      if (base.failed) return "Failed to initialize Wasm code";
      this.bases.set(vmKey, base);
    }
    const canary = this.startVm(module, config.vm, this.main);
    if (canary.failed) return "Failed to initialize Wasm code";
    const root = new RootContext(canary, config);
    const failed = root.start(true);
    // The canary goes without a word to the guest.
    root.end();
    const problem = failed === "start" ? "Failed to start base Wasm" : failed === "configure" ? "Failed to configure base Wasm plugin" : undefined;
    if (problem === undefined) this.canaries.set(key, undefined);
    return problem;
  }

  /** The plugin's root on a thread; made and started where there is none yet. */
  startOn(thread: Thread, config: PluginConfig): RootContext | undefined {
    const state = this.states.get(thread)!;
    const vmKey = keyOfVm(config.vm);
    const rootKey = `${vmKey} ${keyOfPlugin(config)}`;
    const present = state.roots.get(rootKey);
    if (present && !present.root.vm.failed) {
      present.users++;
      return present.root;
    }
    let vm = state.vms.get(vmKey);
    if (!vm || vm.failed) {
      vm = this.startVm(inspectModule(config.vm.code) as LoadedModule, config.vm, thread);
      if (vm.failed) {
        this.env.log(thread, "error", "Wasm VM failed Failed to initialize Wasm code");
        return undefined;
      }
      state.vms.set(vmKey, vm);
    }
    const root = new RootContext(vm, config);
    const failed = root.start(true);
    if (failed) {
      this.env.log(thread, "error", `Wasm VM failed Failed to ${failed} thread-local Wasm${failed === "configure" ? " plugin" : ""}`);
      root.retire();
      state.vms.delete(vmKey);
      return undefined;
    }
    state.roots.set(rootKey, { root, users: 1 });
    return root;
  }

  /** The plugin is not used any more: its roots end with their last streams. */
  retire(plugin: Plugin, thread: Thread): void {
    const state = this.states.get(thread)!;
    const rootKey = `${keyOfVm(plugin.config.vm)} ${keyOfPlugin(plugin.config)}`;
    const entry = state.roots.get(rootKey);
    if (!entry || --entry.users > 0) return;
    state.roots.delete(rootKey);
    entry.root.retire();
    const vmKey = keyOfVm(plugin.config.vm);
    if (![...state.roots.values()].some(({ root }) => root.vm === entry.root.vm)) state.vms.delete(vmKey);
  }

  /** Nothing runs any more: no tick, no call. */
  close(): void {
    for (const { roots } of this.states.values()) for (const { root } of roots.values()) root.end();
  }
}

const codeHashes = new WeakMap<Uint8Array, string>();

function codeHash(code: Uint8Array): string {
  const known = codeHashes.get(code);
  if (known) return known;
  const hash = createHash("sha256").update(code).digest("hex");
  codeHashes.set(code, hash);
  return hash;
}

/** What `make` says of a configuration, which does not change. */
function once<T extends object>(make: (config: T) => string): (config: T) => string {
  const made = new WeakMap<T, string>();
  return (config) => {
    const key = made.get(config) ?? make(config);
    made.set(config, key);
    return key;
  };
}

/** envoy 1.40: vm_id, configuration, code, environment and capabilities make a VM the same. */
const keyOfVm = once<VmConfig>((vm) => {
  const environment = [...vm.environment].sort(([a], [b]) => (a < b ? -1 : 1));
  const capabilities = vm.allowedCapabilities ? [...vm.allowedCapabilities].sort() : null;
  return JSON.stringify([vm.vmId, Buffer.from(vm.configuration).toString("latin1"), codeHash(vm.code), environment, capabilities]);
});

/** envoy 1.40: name and everything else of the plugin's configuration. */
const keyOfPlugin = once<PluginConfig>((plugin) =>
  JSON.stringify([
    plugin.name,
    plugin.rootId,
    Buffer.from(plugin.configuration).toString("latin1"),
    plugin.failurePolicy,
    plugin.failOpen,
    plugin.reloadBackoffMs,
    plugin.allowOnHeadersStopIteration,
  ]),
);
