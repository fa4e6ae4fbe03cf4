import { binOf } from './calibration-drift.js';
import type { ForecastSource, Quantiles } from './forecast.js';

/** How often outcomes were at or below the quantiles that were handed out, in one class and horizon. */
export interface CoverageCount {
  observed: number;
  /** By quantile. */
  readonly covered: [number, number, number];
  /** Bins (see binOf) of the newest outcomes as digits, newest last. */
  recent: string;
  /** What the quantiles were multiplied by in the newest of them. */
  factors: [number, number, number];
}

/** For the metrics, by class, horizon and quantile. */
export interface Coverage {
  readonly source: ForecastSource;
  /** Empty unless source is lstm. */
  readonly modelId: string;
  /** Of running channels, which forecast with the channel's own use, or of new ones. */
  readonly running: boolean;
  /** "x264/heavy". */
  readonly class: string;
  readonly horizon: number;
  readonly quantile: 0.5 | 0.9 | 0.99;
  readonly observed: number;
  readonly covered: number;
  /** Of the last RECENT outcomes. */
  readonly recentObserved: number;
  readonly recentCovered: number;
  readonly factor: number;
}

export const RECENT = 50;
export const QUANTILES = [0.5, 0.9, 0.99] as const;

export function newCount(): CoverageCount {
  return { observed: 0, covered: [0, 0, 0], recent: '', factors: [1, 1, 1] };
}

export function count(counted: CoverageCount, demand: number, issued: Quantiles, raw: Quantiles): void {
  const bin = binOf(issued, demand);
  counted.observed++;
  for (const i of [0, 1, 2] as const) if (bin <= i) counted.covered[i]++;
  counted.recent = `${counted.recent}${bin}`.slice(-RECENT);
  counted.factors = [issued.q50 / raw.q50, issued.q90 / raw.q90, issued.q99 / raw.q99];
}

export function coverageOf({ observed, covered, recent, factors }: CoverageCount) {
  return QUANTILES.map((quantile, i) => ({
    quantile,
    observed,
    covered: covered[i]!,
    recentObserved: recent.length,
    recentCovered: [...recent].filter((bin) => Number(bin) <= i).length,
    factor: factors[i]!,
  }));
}
