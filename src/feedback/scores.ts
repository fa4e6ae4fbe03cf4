import type { ModelScore } from '../forecast/network.js';
import { isKnown, type Method } from './peers.js';
import type { Row } from './rows.js';
import { demandOf } from './targets.js';

/** How well a method foretold the demand of the first horizon, over rows where it is known. */
export function score(method: string, rows: readonly Row[], forecast: Method): ModelScore {
  const sums = noScore();
  for (const row of rows.filter(isKnown)) addScore(sums, demandOf(row.target[0]!, row.cost), forecast(row));
  return scoreOf(method, sums);
}

/** What scores are made of. Sums, so that groups can be put together. */
export interface ScoreSums {
  count: number;
  /** Outcomes at or below the 0.9 quantile. */
  covered: number;
  /** Pinball loss of the 0.9 quantile, and demand: cores. */
  pinball: number;
  demand: number;
  /** Absolute error of the median over the demand. */
  error: number;
}

export function noScore(): ScoreSums {
  return { count: 0, covered: 0, pinball: 0, demand: 0, error: 0 };
}

/** Below this a demand is a clock's granularity: relative to it every error would be huge. */
const LEAST_DEMAND_CORES = 1e-3;

export function addScore(sums: ScoreSums, demand: number, { q50, q90 }: { q50: number; q90: number }): void {
  sums.count++;
  sums.covered += demand <= q90 ? 1 : 0;
  sums.pinball += pinball90(demand, q90);
  sums.demand += demand;
  sums.error += Math.abs(demand - q50) / Math.max(LEAST_DEMAND_CORES, demand);
}

export function pinball90(demand: number, q90: number): number {
  return demand > q90 ? 0.9 * (demand - q90) : 0.1 * (q90 - demand);
}

export function scoreOf(method: string, { count, covered, pinball, demand, error }: ScoreSums): ModelScore {
  return {
    method,
    mapePercent: (100 * error) / count,
    pinball90: pinball / demand,
    coverage90: covered / count,
  };
}
