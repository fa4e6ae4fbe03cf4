/** Uniform numbers in [0, 1). */
export type Random = () => number;

/** splitmix32, from a seed: the same on every machine. */
export function seededRandom(seed: number): Random {
  let state = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** A whole number below `bound`. */
export function below(random: Random, bound: number): number {
  return Math.floor(random() * bound);
}

/** Fisher and Yates; in place. */
export function shuffle<T extends { [index: number]: unknown; length: number }>(items: T, random: Random): T {
  for (let i = items.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}
