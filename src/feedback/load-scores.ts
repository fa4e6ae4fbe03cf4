import type { Quantiles } from '../forecast/forecast.js';
import type { LoadForecaster } from '../forecast/load-forecast.js';
import { mean } from '../forecast/load-statistics.js';
import { LOAD_HORIZONS, loadWindow } from '../forecast/load-window.js';
import type { LoadMethod } from './load-peers.js';
import { historyBefore } from './load-rows.js';
import type { LoadSeries } from './load-series.js';

/**
 * How far forecasts of host load are from what came, in CPU points. One forecast for each position of each machine that
 * has a past of `LEAST_HISTORY` samples or more; all weigh the same.
 */
export const LEAST_HISTORY = 12;

/** Sums, so that the scores of several folds add up to those of all machines. */
export interface LoadErrors {
  readonly forecasts: number;
  readonly absolute: number;
  /** Outcomes at or below the 0.9 quantile; 0 of methods that give none. */
  readonly covered90: number;
}

export const NO_ERRORS: LoadErrors = { forecasts: 0, absolute: 0, covered90: 0 };

export function addErrors(a: LoadErrors, b: LoadErrors): LoadErrors {
  return {
    forecasts: a.forecasts + b.forecasts,
    absolute: a.absolute + b.absolute,
    covered90: a.covered90 + b.covered90,
  };
}

export function meanAbsolute({ absolute, forecasts }: LoadErrors): number {
  return absolute / forecasts;
}

export function coverage90({ covered90, forecasts }: LoadErrors): number {
  return covered90 / forecasts;
}

/** Of a plain method, `ahead` samples on. */
export function methodErrors(
  method: LoadMethod,
  series: readonly LoadSeries[],
  ahead: number,
  leastHistory = LEAST_HISTORY,
): LoadErrors {
  let forecasts = 0;
  let absolute = 0;
  for (const { load } of series) {
    for (let position = leastHistory; position + ahead - 1 < load.length; position++) {
      const forecast = method(historyBefore(load, position), ahead);
      absolute += Math.abs(load[position + ahead - 1]! - forecast);
      forecasts++;
    }
  }
  return { forecasts, absolute, covered90: 0 };
}

/** Steps ahead, 1 being the next one; both ends included. */
export interface StepSpan {
  readonly first: number;
  readonly last: number;
}

/** Of the mean load of a span, from a window of `steps` samples and nothing else: what the daemon's fallback gets. */
export function spanErrors(
  forecast: (window: Float64Array) => Pick<Quantiles, 'q50' | 'q90'>,
  series: readonly LoadSeries[],
  { first, last }: StepSpan,
  steps: number,
): LoadErrors {
  let errors = NO_ERRORS;
  for (const { load } of series) {
    for (let now = steps; now + last <= load.length; now++) {
      const { q50, q90 } = forecast(load.subarray(now - steps, now));
      const outcome = mean(load.subarray(now + first - 1, now + last));
      const covered90 = Number(outcome <= q90);
      errors = addErrors(errors, { forecasts: 1, absolute: Math.abs(outcome - q50), covered90 });
    }
  }
  return errors;
}

/** Of the network, for each of LOAD_HORIZONS; one machine at a time, so that memory stays bounded. */
export async function networkErrors(
  forecaster: LoadForecaster,
  series: readonly LoadSeries[],
  leastHistory = LEAST_HISTORY,
): Promise<LoadErrors[]> {
  let errors = LOAD_HORIZONS.map(() => NO_ERRORS);
  for (const { load } of series) {
    const positions = Array.from(
      { length: Math.max(0, load.length - leastHistory) },
      (_, i) => leastHistory + i,
    );
    const windows = positions.map((position) => loadWindow(historyBefore(load, position)));
    const forecasts = await forecaster.forecast(windows);
    errors = LOAD_HORIZONS.map((ahead, h) => {
      let sum = errors[h]!;
      for (const [i, position] of positions.entries()) {
        const outcome = load[position + ahead - 1];
        if (outcome === undefined) break;
        const { q50, q90 } = forecasts[i]![h]!;
        sum = addErrors(sum, {
          forecasts: 1,
          absolute: Math.abs(outcome - q50),
          covered90: Number(outcome <= q90),
        });
      }
      return sum;
    });
  }
  return errors;
}
