import type { ModelScore } from '../forecast/network.js';
import { isKnown, type Method } from './peers.js';
import type { Row } from './rows.js';
import { demandOf } from './targets.js';

/** How well a method foretold the demand of the first horizon, over rows where it is known. */
export function score(method: string, rows: readonly Row[], forecast: Method): ModelScore {
  const known = rows.filter(isKnown);
  let error = 0;
  let pinball = 0;
  let covered = 0;
  let total = 0;
  for (const row of known) {
    const demand = demandOf(row.target[0]!, row.cost);
    const { q50, q90 } = forecast(row);
    error += Math.abs(demand - q50) / demand;
    pinball += demand > q90 ? 0.9 * (demand - q90) : 0.1 * (q90 - demand);
    covered += demand <= q90 ? 1 : 0;
    total += demand;
  }
  return {
    method,
    mapePercent: (100 * error) / known.length,
    pinball90: pinball / total,
    coverage90: covered / known.length,
  };
}
