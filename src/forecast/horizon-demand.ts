import type { RunSample } from '../history/records.js';
import { HORIZONS } from './forecast.js';

/** Mean demand of a run in each horizon, cores; undefined for a horizon it has no sample in. */
export function demandByHorizon(samples: readonly RunSample[]): readonly (number | undefined)[] {
  return HORIZONS.map(({ fromS, toS }) => {
    const within = samples
      .filter(({ atS }) => atS > fromS && atS <= toS)
      .map(({ demandCores }) => demandCores)
      .filter((cores) => Number.isFinite(cores) && cores > 0);
    return within.length === 0 ? undefined : within.reduce((a, b) => a + b, 0) / within.length;
  });
}

/** Cores over the whole run: CPU seconds per media second. */
export function meanDemand(run: {
  cpuSeconds: number;
  wallSeconds: number;
  mediaSeconds: number;
}): number | undefined {
  const seconds = run.mediaSeconds > 0 ? run.mediaSeconds : run.wallSeconds;
  const demand = run.cpuSeconds / seconds;
  return Number.isFinite(demand) && demand > 0 ? demand : undefined;
}
