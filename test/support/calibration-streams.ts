import { type Calibration, createCalibration } from '../../src/forecast/calibration.js';
import { type Forecast, HORIZONS, type Quantiles } from '../../src/forecast/forecast.js';
import type { Signature } from '../../src/forecast/signature.js';
import { output, signatureOf } from './forecast-signatures.js';
import { seededRandom } from './seeded-random.js';

/** A forecast of the model "m" whose demand is log-normal: its median and its standard deviation in the logarithm. */
export function modelForecast(median: number, spread: number, source: Forecast['source'] = 'lstm'): Forecast {
  const at = (z: number) => median * Math.exp(z * spread);
  const demand: Quantiles = { q50: at(0), q90: at(1.2816), q99: at(2.3263) };
  return {
    source,
    modelId: source === 'lstm' ? 'm' : '',
    cpuCount: 1,
    horizons: HORIZONS.map(({ fromS, toS }) => ({
      fromS,
      toS,
      demand,
      coreUsage: [{ q50: 0.5, q90: 0.6, q99: 0.7 }],
      hostLoad: { q50: 0.2, q90: 0.3, q99: 0.4 },
    })),
    notes: [],
  };
}

/** One class each. */
export const X264_LIGHT: Signature = {
  ...signatureOf([output({ width: 160, height: 90 })]),
  input: { ...signatureOf().input, width: 160, height: 90 },
};
export const X264_HEAVY = signatureOf([output({ width: 3840, height: 2160 })]);
export const X265_HEAVY = signatureOf([
  output({ encoder: 'libx265', preset: 'medium', width: 3840, height: 2160 }),
]);

export function normals(seed: number): () => number {
  const random = seededRandom(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

export interface Told {
  readonly signature?: Signature;
  readonly horizon?: number;
  /** Of the model; the truth has a median of 1. */
  readonly median?: number;
  readonly spread?: number;
  readonly channel?: string;
}

/** Forecasts and tells outcomes one after another, and keeps the score. */
export class Replay {
  nowMs = 1_000_000;
  readonly calibration: Calibration;
  /** Of each outcome: was it at or below the 0.9 quantile that was handed out? */
  readonly covered: boolean[] = [];
  #count = 0;

  constructor(saved?: unknown) {
    this.calibration = createCalibration({ saved, nowMs: () => this.nowMs });
  }

  forecast({ signature = X264_LIGHT, median = 1, spread = 0.2 }: Told = {}): Forecast {
    return this.calibration.correct([modelForecast(median, spread)], signature)[0]!;
  }

  tell(demand: number, told: Told = {}): void {
    const { signature = X264_LIGHT, horizon = 0, channel = `channel-${this.#count++}` } = told;
    const forecast = this.forecast(told);
    this.covered.push(demand <= forecast.horizons[horizon]!.demand.q90);
    this.calibration.observe({ forecast, signature, horizon, demand, channel });
    this.nowMs += 60_000;
  }

  coverage(from = 0, to?: number): number {
    const outcomes = this.covered.slice(from, to);
    return outcomes.filter(Boolean).length / outcomes.length;
  }
}
