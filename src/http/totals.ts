import type { Metrics } from './metrics.js';

/** Totals since the start, as the parts count them. */
export interface Totals {
  missedTicks(): number;
  droppedSamples(): number;
}

/** Carries the parts' totals into the metrics, which count increments. Call it every few seconds. */
export function carryTotals(metrics: Metrics, totals: Totals): () => void {
  const missed = increments(() => totals.missedTicks());
  const dropped = increments(() => totals.droppedSamples());
  return () => {
    metrics.missedTicks(missed());
    metrics.droppedSamples(dropped());
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
