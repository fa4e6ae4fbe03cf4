import type { Coverage } from '../forecast/calibration-coverage.js';
import { HORIZONS } from '../forecast/forecast.js';
import type { Metrics } from './metrics.js';

/** Totals since the start, as the parts count them. */
export interface Totals {
  missedTicks(): number;
  droppedSamples(): number;
  coverage(): readonly Coverage[];
}

/** Carries the parts' totals into the metrics, which count increments. Call it every few seconds. */
export function carryTotals(metrics: Metrics, totals: Totals): () => void {
  const missed = increments(() => totals.missedTicks());
  const dropped = increments(() => totals.droppedSamples());
  return () => {
    metrics.missedTicks(missed());
    metrics.droppedSamples(dropped());
    for (const horizon of HORIZONS.keys()) {
      const tracks = totals.coverage().filter((track) => track.horizon === horizon && track.quantile === 0.9);
      const observed = tracks.reduce((sum, track) => sum + track.observed, 0);
      const covered = tracks.reduce((sum, track) => sum + track.covered, 0);
      if (observed > 0) metrics.coverage(horizon, covered / observed);
    }
  };
}

function increments(total: () => number): () => number {
  let before = 0;
  return () => {
    const now = total();
    const more = Math.max(0, now - before);
    before = now;
    return more;
  };
}
