// Traces that an engine gives differently, each with its reason. One that no longer differs has to go from here.
import type { Engine } from "./engine.js";

export interface KnownDifference {
  engine: Engine["name"];
  reason: string;
  /** The order of independent connections decides, or chance: it may be the same as well. */
  sometimes?: true;
}

const PORTS =
  "the ring is made of the hosts' addresses, and a replay has other ports; the Node engine also hashes with FNV, Envoy with xxHash: one value always gets one host, but not the same one";

export const KNOWN: Record<string, KnownDifference[]> = {
  "b12-hang": [{ engine: "node", reason: "a real Envoy's worker hangs until it is killed; the engine ends at once and says which calls it was" }],
  ...Object.fromEntries(
    ["b4-body-2", "b4-body-3"].map((id) => [
      id,
      [
        {
          engine: "node" as const,
          reason:
            "after on_request_body = 2 or 3 a real Envoy still has a pointer into the codec's own buffer, and a tick that writes through it adds to the next piece: memory nobody owns, so the engine says 2",
        },
      ],
    ]),
  ),
  "h2-rst-0-paused": [
    {
      engine: "node",
      reason:
        "a RST_STREAM(NO_ERROR) for a request that is complete leaves the stream in a real Envoy until the connection ends, without a word why; the engine ends it",
    },
  ],
  "b11-tokens": (["node", "envoy"] as const).map((engine) => ({
    engine,
    reason: "six calls and the request itself are answered at the same moment; the order in which connections come in is chance, in a real Envoy too",
    sometimes: true as const,
  })),
  ...Object.fromEntries(
    ["a", "b", "c", "d"].map((key) => [
      `h18-hash-header-${key}`,
      (["node", "envoy"] as const).map((engine) => ({ engine, reason: PORTS, sometimes: true as const })),
    ]),
  ),
};
