// Looks for what a filter leaves behind: streams that never end, memory that grows with every request.
import type { Engine } from "../proxy/engine.js";
import type { Context } from "../vm/context.js";
import type { Vm } from "../vm/vm.js";

/** Fewer requests than this tell nothing about memory. */
const ENOUGH = 400;

const streamsOf = (vm: Vm): Context[] => [...vm.contexts.values()].filter((context) => context.stream !== undefined);

export class Leaks {
  /** Memory pages of all VMs after each stream. */
  private readonly pages: number[] = [];

  sample(engine: Engine): void {
    let pages = 0;
    for (const vm of engine.vms()) pages += vm.memory.pages;
    this.pages.push(pages);
  }

  /** One sentence per leak. */
  find(engine: Engine): string[] {
    const found: string[] = [];
    const live = engine.vms().filter((vm) => !vm.failed);
    const streams = live.flatMap(streamsOf);
    if (streams.length > 0) {
      const paths = streams.slice(0, 3).map((context) => context.stream?.requestHeaders?.get(":path") ?? "?");
      found.push(
        `${streams.length} stream${streams.length > 1 ? "s" : ""} never ended (${paths.join(", ")}): a filter holds ${streams.length > 1 ? "them" : "it"} and nothing lets go`,
      );
    }
    for (const vm of live) {
      const kept = (vm.keptStreams?.() ?? 0) - streamsOf(vm).length;
      if (kept > 0) found.push(`the module keeps ${kept} coroutine${kept > 1 ? "s" : ""} of streams that have ended`);
    }
    const { pages } = this;
    if (pages.length >= ENOUGH) {
      const at = (part: number) => pages[Math.min(pages.length - 1, Math.floor(pages.length * part))]!;
      // Still growing in each of the last three quarters: no plateau.
      if (at(0.25) < at(0.5) && at(0.5) < at(0.75) && at(0.75) < at(1)) {
        found.push(
          `the filter's memory grows with its requests: ${at(0.25)}, ${at(0.5)}, ${at(0.75)}, ${at(1)} pages of 64 KiB after a quarter, half, three quarters and all of ${pages.length}`,
        );
      }
    }
    return found;
  }
}
