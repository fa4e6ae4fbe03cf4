/**
 * What corecast's forecasts would carry if they were added up for the host instead of one by one: the sum of medians and z
 * times the root of the summed squares of their spreads, as errors of different channels largely cancel. Not what the
 * daemon does, and without CPUs of a channel's own; it shows which part of the oracle the forecasts leave, and which the
 * reserving of a quantile for each.
 */
import { ALL, type PolicyKind } from './policy.js';
import type { MeasuredChannel } from './population.js';

export const pooledForecasts: PolicyKind = {
  name: 'pooled forecasts',
  setting: 'z: spreads kept free above the sum of medians (what if; not the daemon)',
  settings: () => [0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10],
  make: ({ cpus }, z) => {
    let median = 0;
    let variance = 0;
    return {
      admit: ({ channel }) => {
        const own = forecastOf(channel);
        const peak = median + own.median + z * Math.sqrt(variance + own.variance);
        if (peak > cpus) return undefined;
        median += own.median;
        variance += own.variance;
        return ALL;
      },
      ended: ({ channel }) => {
        const own = forecastOf(channel);
        median -= own.median;
        variance = Math.max(0, variance - own.variance);
      },
      reservedCores: () => median + z * Math.sqrt(variance),
    };
  },
};

/** Of the last horizon, the longest. */
function forecastOf({ horizons }: MeasuredChannel): { median: number; variance: number } {
  const [q50, q90] = horizons.at(-1)!;
  return { median: q50, variance: ((q90 - q50) / Z90) ** 2 };
}

/** The 0.9 quantile of the normal distribution. */
const Z90 = 1.2816;
