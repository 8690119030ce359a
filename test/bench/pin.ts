// Keeps the Envoy under test on a core of its own, and all else off it: otherwise the kernel moves the processes about and the figures with them.
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";

/** Whether processes can be pinned here: two cores, and taskset (util-linux). */
export const pinned: boolean = cpus().length > 1 && !spawnSync("taskset", ["-V"]).error;

/** The core of the Envoy under test is the last one: interrupts go to the first. */
const UNDER_TEST = cpus().length - 1;
const OTHERS = UNDER_TEST === 1 ? "0" : `0-${UNDER_TEST - 1}`;

const ALL = `0-${UNDER_TEST}`;

/** Pins all threads of a process, and those that it starts later. */
export function pin(pid: number, role: "under test" | "other" | "free"): void {
  if (pinned) spawnSync("taskset", ["-acp", role === "under test" ? String(UNDER_TEST) : role === "other" ? OTHERS : ALL, String(pid)]);
}
