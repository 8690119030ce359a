// Random pieces of a body, the same ones for the same seed.

/** Mulberry32: numbers in [0, 1). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Breaks bytes into one to eight pieces; small ones are likely. */
export function split(bytes: Uint8Array, random: () => number): Uint8Array[] {
  const count = 1 + Math.floor(random() * 8);
  const cuts = Array.from({ length: count - 1 }, () => Math.floor(random() ** 2 * bytes.length)).sort((a, b) => a - b);
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (cut > at) pieces.push(bytes.subarray(at, cut));
    at = Math.max(at, cut);
  }
  return pieces;
}
