/** mulberry32: small, seeded, good enough for test data. Uniform in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = Math.floor(seed * 1_000_003) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Uniform in [-size, size). */
export function uniform(random: () => number, length: number, size: number): Float32Array {
  return Float32Array.from({ length }, () => (2 * random() - 1) * size);
}

/** Standard normal numbers (Box and Muller). */
export function seededNormal(seed: number): () => number {
  const random = seededRandom(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
