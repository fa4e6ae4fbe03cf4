import { type Forecast, HORIZONS, type HorizonForecast, type Quantiles } from './forecast.js';
import { OUTPUTS, QUANTILES, RANK_KNOTS, TARGETS_PER_HORIZON } from './network.js';

/** What the network's numbers mean: the inverse of the targets that network.ts describes. */
export interface DecodeContext {
  readonly modelId: string;
  readonly cpuCount: number;
  /** The cost table's cores times the host's speed factor. */
  readonly expectedCores: number;
  readonly notes: readonly string[];
}

/** `row` is one row of the output, all finite. */
export function decodeForecast(row: Float32Array, context: DecodeContext): Forecast {
  const { modelId, cpuCount, expectedCores, notes } = context;
  const horizons = HORIZONS.map(({ fromS, toS }, h): HorizonForecast => {
    const triple = (target: number) => tripleAt(row, h * TARGETS_PER_HORIZON + target);
    const demand = mapQuantiles(triple(0), (log) => expectedCores * Math.exp(clamp(log, -6, 6)));
    const knots = RANK_KNOTS.map((_, knot) => mapQuantiles(triple(1 + knot), (share) => clamp(share, 0, 1)));
    return {
      fromS,
      toS,
      demand,
      coreUsage: usageByRank(knots, cpuCount, demand.q50),
      hostLoad: mapQuantiles(triple(1 + RANK_KNOTS.length), (share) => clamp(share, 0, 1)),
    };
  });
  return { source: 'lstm', modelId, cpuCount, horizons, notes };
}

/**
 * Usage of each CPU, busiest first, from its values at the knots. At real time the usages add up to the demand, or to
 * the CPUs where the demand is more: the median profile is scaled towards that sum, by a factor of 2 at most.
 */
function usageByRank(knots: readonly Quantiles[], cpuCount: number, demand: number): Quantiles[] {
  const profile = Array.from({ length: cpuCount }, (_, rank) =>
    interpolate(knots, rank / Math.max(1, cpuCount - 1)),
  );
  const total = profile.reduce((sum, { q50 }) => sum + q50, 0);
  const factor = clamp(Math.min(demand, cpuCount) / Math.max(1e-6, total), 0.5, 2);
  return nonIncreasing(profile.map((usage) => mapQuantiles(usage, (share) => Math.min(1, share * factor))));
}

/** For forecasts without a profile: the load spread over the CPUs, the busiest a quarter above the mean. */
export function spreadOverCores(demand: Quantiles, cpuCount: number): Quantiles[] {
  const spread = (cores: number) => {
    const mean = Math.min(1, cores / cpuCount);
    // The tilt never takes a CPU above 1, so that the sum stays the demand.
    const tilt = Math.min(0.25 * mean, 1 - mean);
    return (rank: number) => mean + tilt * (cpuCount === 1 ? 0 : 1 - (2 * rank) / (cpuCount - 1));
  };
  const [q50, q90, q99] = [spread(demand.q50), spread(demand.q90), spread(demand.q99)];
  const usage = Array.from({ length: cpuCount }, (_, rank) =>
    ordered({ q50: q50(rank), q90: q90(rank), q99: q99(rank) }),
  );
  return nonIncreasing(usage);
}

/** Raises q90 and q99 where they would cross. */
export function ordered({ q50, q90, q99 }: Quantiles): Quantiles {
  const middle = Math.max(q50, q90);
  return { q50, q90: middle, q99: Math.max(middle, q99) };
}

export function mapQuantiles({ q50, q90, q99 }: Quantiles, change: (value: number) => number): Quantiles {
  return ordered({ q50: change(q50), q90: change(q90), q99: change(q99) });
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

export function rowAt(output: Float32Array, row: number): Float32Array {
  return output.subarray(row * OUTPUTS, (row + 1) * OUTPUTS);
}

function tripleAt(row: Float32Array, target: number): Quantiles {
  const at = target * QUANTILES.length;
  return ordered({ q50: row[at]!, q90: row[at + 1]!, q99: row[at + 2]! });
}

function interpolate(knots: readonly Quantiles[], x: number): Quantiles {
  const right = Math.max(
    1,
    RANK_KNOTS.findIndex((knot) => knot >= x - 1e-9),
  );
  const [x0, x1] = [RANK_KNOTS[right - 1]!, RANK_KNOTS[right]!];
  const [a, b] = [knots[right - 1]!, knots[right]!];
  const share = clamp((x - x0) / (x1 - x0), 0, 1);
  const between = (from: number, to: number) => from + (to - from) * share;
  return { q50: between(a.q50, b.q50), q90: between(a.q90, b.q90), q99: between(a.q99, b.q99) };
}

function nonIncreasing(usage: readonly Quantiles[]): Quantiles[] {
  const result: Quantiles[] = [];
  for (const { q50, q90, q99 } of usage) {
    const above = result.at(-1) ?? { q50: 1, q90: 1, q99: 1 };
    result.push({
      q50: Math.min(q50, above.q50),
      q90: Math.min(q90, above.q90),
      q99: Math.min(q99, above.q99),
    });
  }
  return result;
}
