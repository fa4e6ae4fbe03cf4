import type { ModelScore } from '../forecast/network.js';
import { type DemandForecast, isKnown, type Method } from './peers.js';
import type { Row } from './rows.js';
import { demandOf } from './targets.js';

/** How well a method foretold the demand of the first horizon, over rows where it is known. */
export function score(method: string, rows: readonly Row[], forecast: Method): ModelScore {
  const known = rows.filter(isKnown);
  return scoreOf(
    method,
    known.map((row) => demandOf(row.target[0]!, row.cost)),
    known.map(forecast),
  );
}

export function scoreOf(
  method: string,
  actual: readonly number[],
  forecasts: readonly DemandForecast[],
): ModelScore {
  let error = 0;
  let pinball = 0;
  let covered = 0;
  let total = 0;
  actual.forEach((demand, i) => {
    const { q50, q90 } = forecasts[i]!;
    error += Math.abs(demand - q50) / demand;
    pinball += demand > q90 ? 0.9 * (demand - q90) : 0.1 * (q90 - demand);
    covered += demand <= q90 ? 1 : 0;
    total += demand;
  });
  const count = actual.length;
  return {
    method,
    mapePercent: (100 * error) / count,
    pinball90: pinball / total,
    coverage90: covered / count,
  };
}
