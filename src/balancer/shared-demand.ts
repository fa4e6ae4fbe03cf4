/**
 * How much CPU channels need together that share the same CPUs. Pure.
 *
 * Not all of them need much at once: the sum of their 0.9 quantiles is far more than the 0.9 quantile of their sum. So
 * what is bounded is the sum.
 *
 *   one channel   log-normal: its sigma is what the forecast's calibrated quantiles say, ln(q90 / q50) / 1.28 or
 *                 ln(q99 / q50) / 2.33, whichever is wider
 *   running       what it is seen to use takes the forecast's place, each weighted by how sure it is: a wide forecast
 *                 gives way within seconds. What is left then is how much the channel varies
 *   the sum       means add up, and so do variances, as far as channels err each for itself. The rest does not average
 *                 out: forecasts of one host err together. It is `common` times the mean of those that are only forecast
 *   its quantile  again log-normal (Fenton 1960): exact for one channel, next to normal for many
 *
 * The sum's need is shared out by what each adds to it (Euler): its mean, and of the margin the part that its variance has
 * in the whole. Shares so made add up to the need, and shrink as more channels share the margin.
 */
import type { Forecast, Quantiles } from '../forecast/forecast.js';

/** Thousandths of a CPU. */
export interface ChannelDemand {
  readonly meanMilli: number;
  /** Standard deviation of what is its own. */
  readonly deviationMilli: number;
  /** The part of the mean that is forecast, not seen. */
  readonly forecastMilli: number;
}

export interface DemandSum {
  readonly meanMilli: number;
  /** Squared thousandths. */
  readonly variance: number;
  readonly forecastMilli: number;
}

export interface SharingRule {
  /** The quantile of the sum that is reserved, in standard deviations of a normal distribution. */
  readonly z: number;
  /** Share of the CPUs kept free above it, 0-1. */
  readonly headroom: number;
  /** Standard deviation of the error that forecasts of this host have in common, relative to the demand. */
  readonly common: number;
}

/** What a running channel was seen to use. */
export interface SeenDemand {
  readonly meanMilli: number;
  /** Of means over SEEN_BLOCK_S. */
  readonly deviationMilli: number;
  readonly seconds: number;
}

/** A live channel is late when it is a second behind: what varies faster than over so many seconds is made up for before. */
export const SEEN_BLOCK_S = 20;

export const NOBODY: DemandSum = { meanMilli: 0, variance: 0, forecastMilli: 0 };

/** Of the horizons the one with the largest mean, and the widest spread of any. */
export function forecastDemand({ horizons }: Pick<Forecast, 'horizons'>): ChannelDemand {
  let meanMilli = 0;
  let deviationMilli = 0;
  for (const { demand } of horizons) {
    const sigma = sigmaOf(demand);
    const mean = 1000 * demand.q50 * Math.exp(sigma ** 2 / 2);
    meanMilli = Math.max(meanMilli, mean);
    deviationMilli = Math.max(deviationMilli, mean * Math.sqrt(Math.expm1(sigma ** 2)));
  }
  return { meanMilli, deviationMilli, forecastMilli: meanMilli };
}

/**
 * The forecast, corrected by what was seen since: two measurements of the same mean, weighted by the inverse of their variances.
 * A mean over `s` seconds errs as means over SEEN_BLOCK_S vary, by the root of SEEN_BLOCK_S / s more. A forecast errs at least by
 * what it is seen to err, however sure it was.
 */
export function demandNow(forecast: ChannelDemand, seen: SeenDemand | undefined): ChannelDemand {
  if (seen === undefined || seen.seconds <= 0) return forecast;
  const likely = Math.max(seen.meanMilli, forecast.meanMilli);
  const ofSeen = Math.max(seen.deviationMilli, LEAST_VARIATION * likely) ** 2 * (SEEN_BLOCK_S / seen.seconds);
  const ofForecast = Math.max(
    forecast.deviationMilli ** 2,
    (LEAST_ERROR * forecast.meanMilli) ** 2,
    (seen.meanMilli - forecast.meanMilli) ** 2 - ofSeen,
  );
  const known = ofForecast === 0 ? 1 : ofForecast / (ofForecast + ofSeen);
  const meanMilli = (1 - known) * forecast.meanMilli + known * seen.meanMilli;
  // A channel of which little was seen varies as channels do.
  const varies = Math.max(seen.deviationMilli, LEAST_VARIATION * meanMilli);
  return {
    meanMilli,
    deviationMilli: Math.hypot(Math.sqrt(known * ofSeen), varies),
    forecastMilli: (1 - known) * forecast.forecastMilli,
  };
}

export function plus(sum: DemandSum, { meanMilli, deviationMilli, forecastMilli }: ChannelDemand): DemandSum {
  return {
    meanMilli: sum.meanMilli + meanMilli,
    variance: sum.variance + deviationMilli ** 2,
    forecastMilli: sum.forecastMilli + forecastMilli,
  };
}

/** Thousandths to be reserved for the sum, headroom included. */
export function needOf(sum: DemandSum, rule: SharingRule): number {
  return quantileOf(sum, rule) / (1 - rule.headroom);
}

/** A channel's part of needOf() of a sum that it is in. */
export function shareOf(channel: ChannelDemand, sum: DemandSum, rule: SharingRule): number {
  const together = varianceOf(sum, rule);
  const margin = quantileOf(sum, rule) - sum.meanMilli;
  const own = channel.deviationMilli ** 2 + rule.common ** 2 * sum.forecastMilli * channel.forecastMilli;
  const part = together === 0 ? 0 : (margin * own) / together;
  return (channel.meanMilli + part) / (1 - rule.headroom);
}

/** In standard deviations. Abramowitz and Stegun 26.2.23, within 0.0005; for quantiles from 0.5. */
export function normalQuantile(quantile: number): number {
  const t = Math.sqrt(-2 * Math.log(1 - quantile));
  const above = 2.515517 + t * (0.802853 + t * 0.010328);
  const below = 1 + t * (1.432788 + t * (0.189269 + t * 0.001308));
  return Math.max(0, t - above / below);
}

/** Of a forecast's mean: none is surer, whatever its quantiles say. */
const LEAST_ERROR = 0.15;
/** Of the mean; pieces of 5 s of one stream varied by 6 to 18 % (docs/simulation.md). */
const LEAST_VARIATION = 0.1;
const Z90 = 1.2816;
const Z99 = 2.3263;

function sigmaOf({ q50, q90, q99 }: Quantiles): number {
  if (!(q50 > 0)) return 0;
  return Math.max(0, Math.log(q90 / q50) / Z90, Math.log(q99 / q50) / Z99);
}

function varianceOf({ variance, forecastMilli }: DemandSum, { common }: SharingRule): number {
  return variance + (common * forecastMilli) ** 2;
}

function quantileOf(sum: DemandSum, rule: SharingRule): number {
  const { meanMilli } = sum;
  if (meanMilli <= 0) return 0;
  const square = Math.log1p(varianceOf(sum, rule) / meanMilli ** 2);
  return Math.max(meanMilli, meanMilli * Math.exp(rule.z * Math.sqrt(square) - square / 2));
}
