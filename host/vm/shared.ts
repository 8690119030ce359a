// Shared data and shared queues: what all VMs of one process with the same vm_id see. Source: facts/envoy-verified.md 9.

/** Values with a counter for compare-and-set, by vm_id and key. */
export class SharedData {
  private readonly spaces = new Map<string, Map<string, { value: string; cas: number }>>();
  private last = 0;

  get(vmId: string, key: string): { value: string; cas: number } | undefined {
    return this.spaces.get(vmId)?.get(key);
  }

  /** `cas` 0 sets anyway. Returns false where the value has another counter by now. */
  set(vmId: string, key: string, value: string, cas: number): boolean {
    const space = this.spaces.get(vmId) ?? new Map<string, { value: string; cas: number }>();
    this.spaces.set(vmId, space);
    const present = space.get(key);
    if (present && cas !== 0 && cas !== present.cas) return false;
    space.set(key, { value, cas: this.next() });
    return true;
  }

  /** envoy 1.40: the data goes with the last VM of its vm_id. */
  drop(vmId: string): void {
    this.spaces.delete(vmId);
  }

  /** envoy 1.40: one counter for all keys; 0 is left out where it wraps. */
  private next(): number {
    this.last = this.last === 0xffffffff ? 1 : this.last + 1;
    return this.last;
  }
}

interface Queue {
  token: number;
  values: string[];
  /** The one that registered last hears of new values. */
  notify: (token: number) => void;
}

export class SharedQueues {
  private readonly byName = new Map<string, Queue>();
  private readonly byToken = new Map<number, Queue>();
  private last = 0;

  register(vmId: string, name: string, notify: (token: number) => void): number {
    const key = `${vmId}\0${name}`;
    const present = this.byName.get(key);
    if (present) {
      present.notify = notify;
      return present.token;
    }
    const queue = { token: ++this.last, values: [], notify };
    this.byName.set(key, queue);
    this.byToken.set(queue.token, queue);
    return queue.token;
  }

  resolve(vmId: string, name: string): number | undefined {
    return this.byName.get(`${vmId}\0${name}`)?.token;
  }

  /** Returns false for an unknown token. */
  enqueue(token: number, value: string): boolean {
    const queue = this.byToken.get(token);
    if (!queue) return false;
    queue.values.push(value);
    queue.notify(token);
    return true;
  }

  dequeue(token: number): { value: string } | "unknown" | "empty" {
    const queue = this.byToken.get(token);
    if (!queue) return "unknown";
    const value = queue.values.shift();
    return value === undefined ? "empty" : { value };
  }
}
