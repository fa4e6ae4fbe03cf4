import { HORIZONS } from '../forecast/forecast.js';
import { RANK_KNOTS, TARGETS, TARGETS_PER_HORIZON } from '../forecast/network.js';
import type { RunSample } from '../history/records.js';

/** Below this a demand is a clock's granularity; its logarithm would drown everything else. */
const LEAST_DEMAND_CORES = 1e-3;

/**
 * What the network should have said, in the order of network.ts: one sample for each horizon, NaN where there is none or
 * where it has no such number. `cost` is the cost table's estimate in cores.
 */
export function targetsOf(samples: readonly (RunSample | undefined)[], cost: number): Float32Array {
  const targets = new Float32Array(TARGETS).fill(Number.NaN);
  HORIZONS.forEach((_, horizon) => {
    const sample = samples[horizon];
    if (sample === undefined) return;
    const at = horizon * TARGETS_PER_HORIZON;
    targets[at] = Math.log(Math.max(LEAST_DEMAND_CORES, sample.demandCores) / cost);
    targets.set(usageAtKnots(sample.coreUsage), at + 1);
    targets[at + TARGETS_PER_HORIZON - 1] = sample.hostLoad;
  });
  return targets;
}

/** The demand that a first target of a horizon stands for, cores. */
export function demandOf(logRatio: number, cost: number): number {
  return Math.exp(logRatio) * cost;
}

/** Indices of the samples that end within each horizon after `anchorS`. */
export function samplesByHorizon(samples: readonly RunSample[], anchorS: number): readonly number[][] {
  return HORIZONS.map(({ fromS, toS }) =>
    samples.flatMap(({ atS }, i) => (atS - anchorS > fromS && atS - anchorS <= toS ? [i] : [])),
  );
}

/**
 * Busiest first, read at the relative ranks of RANK_KNOTS. A single CPU is the busiest and says nothing of the others.
 */
function usageAtKnots(coreUsage: readonly number[]): number[] {
  const last = coreUsage.length - 1;
  return RANK_KNOTS.map((knot) => {
    if (last < 0 || (last === 0 && knot > 0)) return Number.NaN;
    const below = Math.floor(knot * last);
    const above = Math.min(last, below + 1);
    const share = knot * last - below;
    return coreUsage[below]! * (1 - share) + coreUsage[above]! * share;
  });
}
