// A limit of bytes per second that all transfers of this process share.
import { wait } from "./retry.js";

/** For each limit in use: the moment (ms) until which its bytes are paid for. */
const paidUntil = new Map<number, number>();

/** Waits until `bytes` more are within `bytesPerSecond`. Transfers that name the same limit stand in one queue. */
export async function throttle(bytes: number, bytesPerSecond: number, signal: AbortSignal): Promise<void> {
  const now = performance.now();
  const until = Math.max(now, paidUntil.get(bytesPerSecond) ?? 0) + (bytes * 1000) / bytesPerSecond;
  paidUntil.set(bytesPerSecond, until);
  if (until - now >= 1) await wait(until - now, signal);
}
