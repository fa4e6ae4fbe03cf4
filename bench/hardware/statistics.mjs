/** Over the finite values; NaN where there is none. A machine need not have run every cell. */
export function mean(values) {
  const known = values.filter(Number.isFinite);
  return known.length === 0 ? Number.NaN : known.reduce((a, b) => a + b, 0) / known.length;
}

export function median(values) {
  return quantile(values, 0.5);
}

/** Linear between the order statistics. */
export function quantile(values, level) {
  const sorted = Float64Array.from(values.filter(Number.isFinite)).sort();
  if (sorted.length === 0) return Number.NaN;
  const at = level * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/** 1.4826 x the median absolute deviation: the standard deviation of a normal with outliers in it. */
export function robustSd(values) {
  const middle = median(values);
  return 1.4826 * median(values.map((value) => Math.abs(value - middle)));
}

/** Mean in which what lies beyond 1.5 robust standard deviations counts linearly. */
export function huberMean(values) {
  const known = values.filter(Number.isFinite);
  const reach = 1.5 * (robustSd(known) + 1e-3);
  let centre = median(known);
  for (let round = 0; round < 5; round++) {
    let sum = 0;
    let weights = 0;
    for (const value of known) {
      const weight = Math.min(1, reach / Math.max(1e-12, Math.abs(value - centre)));
      sum += weight * value;
      weights += weight;
    }
    centre = sum / weights;
  }
  return centre;
}

/** Seeded numbers from 0 to 1: the same in every run (mulberry32). */
export function seededRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function shuffled(values, random) {
  const result = [...values];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}
