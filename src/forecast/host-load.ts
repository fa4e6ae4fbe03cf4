import { clamp, ordered } from './decode.js';
import type { HostState, Quantiles } from './forecast.js';
import { mean } from './load-statistics.js';

/**
 * The host's load without the network: its level over the window, plus what is added.
 *
 * Chosen on 300 machines (`npm run -s bench -- load --data planetlab_cpu.csv.gz`): from 12 steps, the mean load of the
 * next 2, of 3-12 and of 13-60 steps on. With the window's lowest and highest step counted as their neighbours, one burst
 * does not set the level: mean absolute error 3.39, 2.15 and 2.06 points, against 3.51, 2.21 and 2.07 of the plain mean
 * and 5.23, 4.56 and 4.58 of the last step; the median is better for the next 2 steps only. The spans of a forecast are
 * longer the farther ahead they lie, and the mean over a longer one strays less, which makes up for a level that moves:
 * one spread does for all of them. 0.90, 0.94 and 0.94 of the outcomes lie at or below its 0.9 quantile.
 */
export function hostLoadForecast(
  window: readonly Pick<HostState, 'busy'>[],
  added: Quantiles,
  schedulableCpus: number,
): Quantiles {
  const busy = window.map((state) => state.busy).filter(Number.isFinite);
  const level = busy.length === 0 ? 0 : winsorisedMean(busy);
  const spread = busy.length < 2 ? UNKNOWN_SPREAD : Math.max(LEAST_SPREAD, deviation(busy));
  const cpus = Math.max(1, schedulableCpus);
  const at = (spreads: number, cores: number) => clamp(level + spreads * spread + cores / cpus, 0, 1);
  return ordered({
    q50: at(0, added.q50),
    q90: at(SPREADS_TO_Q90, added.q90),
    q99: at(SPREADS_TO_Q99, added.q99),
  });
}

const UNKNOWN_SPREAD = 0.05;
const LEAST_SPREAD = 0.01;
/** Bursts make the upper tail of a host's load far longer than a normal one (1.28 and 2.33). */
const SPREADS_TO_Q90 = 1.2;
const SPREADS_TO_Q99 = 4.3;

/** One value at either end counts as its neighbour. */
function winsorisedMean(values: readonly number[]): number {
  if (values.length < 3) return mean(values);
  const ascending = [...values].sort((a, b) => a - b);
  return mean([ascending[1]!, ...ascending.slice(1, -1), ascending.at(-2)!]);
}

function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}
