import { mean } from '../forecast/load-statistics.js';
import { nestedMedians } from '../forecast/load-window.js';
import { solvePositive } from '../lib/cholesky.js';
import { historyBefore } from './load-rows.js';
import { foldsOf, type LoadSeries } from './load-series.js';

/** A forecast of the load `ahead` samples on, in percent, from one sample or more, oldest first. */
export type LoadMethod = (history: Float64Array, ahead: number) => number;

/** The plain methods that a network must beat; what they have to choose is chosen on the training machines. */
export function loadPeers(
  training: readonly LoadSeries[],
  horizons: readonly number[],
  seed: number,
): Readonly<Record<string, LoadMethod>> {
  return {
    last_value: (history) => history.at(-1)!,
    mean_12: (history) => mean(history.subarray(Math.max(0, history.length - WINDOW))),
    ewma: fitEwma(training, horizons),
    ridge_ar: fitRidge(training, horizons, seed),
    nested_medians: nestedMedians,
  };
}

const WINDOW = 12;

const ALPHAS = Array.from({ length: 19 }, (_, i) => (i + 1) * 0.05);

/** Exponentially weighted; for each horizon the weight of the newest sample that errs least on the training machines. */
export function fitEwma(training: readonly LoadSeries[], horizons: readonly number[]): LoadMethod {
  const chosen = new Map(
    horizons.map((ahead) => [ahead, best(ALPHAS, (alpha) => ewmaError(training, alpha, ahead))]),
  );
  return (history, ahead) => {
    const alpha = chosen.get(ahead)!;
    return history.subarray(1).reduce((level, x) => level + alpha * (x - level), history[0]!);
  };
}

function ewmaError(series: readonly LoadSeries[], alpha: number, ahead: number): number {
  let sum = 0;
  for (const { load } of series) {
    let level = load[0]!;
    for (let i = 1; i + ahead - 1 < load.length; i++) {
      sum += Math.abs(load[i + ahead - 1]! - level);
      level += alpha * (load[i]! - level);
    }
  }
  return sum;
}

/** In variances of the inputs. */
const PENALTIES = [1e-4, 1e-3, 1e-2, 0.1, 1, 10];
const VALIDATION_FOLDS = 4;

/** Ridge regression on the last 12 samples, one for each horizon, the penalty chosen on a quarter of the training machines. */
export function fitRidge(
  training: readonly LoadSeries[],
  horizons: readonly number[],
  seed: number,
): LoadMethod {
  const [validation, ...rest] = foldsOf(training, VALIDATION_FOLDS, seed);
  const weights = new Map(
    horizons.map((ahead) => {
      const moments = ridgeMoments(rest.flat(), ahead);
      const penalty = best(PENALTIES, (each) => ridgeError(validation!, solveRidge(moments, each), ahead));
      return [ahead, solveRidge(ridgeMoments(training, ahead), penalty)];
    }),
  );
  return (history, ahead) => regress(weights.get(ahead)!, lagsOf(history));
}

interface Moments {
  readonly size: number;
  readonly squares: Float64Array;
  readonly products: Float64Array;
}

/** The last 12 samples, a short past padded with its oldest, and 1. */
function lagsOf(history: Float64Array): Float64Array {
  const lags = new Float64Array(WINDOW + 1).fill(1);
  for (let i = 0; i < WINDOW; i++) lags[i] = history[Math.max(0, history.length - WINDOW + i)]!;
  return lags;
}

function ridgeMoments(series: readonly LoadSeries[], ahead: number): Moments {
  const size = WINDOW + 1;
  const squares = new Float64Array(size * size);
  const products = new Float64Array(size);
  eachOutcome(series, ahead, (lags, outcome) => {
    for (let i = 0; i < size; i++) {
      products[i]! += lags[i]! * outcome;
      for (let j = 0; j <= i; j++) squares[i * size + j]! += lags[i]! * lags[j]!;
    }
  });
  return { size, squares, products };
}

/** The intercept, the last weight, is not penalised. */
function solveRidge({ size, squares, products }: Moments, penalty: number): Float64Array {
  const matrix = squares.slice();
  const one = size - 1;
  const count = squares[one * size + one]!;
  for (let i = 0; i < one; i++) {
    const variance = squares[i * size + i]! - squares[one * size + i]! ** 2 / count;
    // Without the least of penalties, machines that never change could not be solved.
    matrix[i * size + i]! += penalty * variance + 1e-6 * count;
  }
  return solvePositive(matrix, products.slice());
}

function ridgeError(series: readonly LoadSeries[], weights: Float64Array, ahead: number): number {
  let sum = 0;
  eachOutcome(series, ahead, (lags, outcome) => {
    sum += Math.abs(outcome - regress(weights, lags));
  });
  return sum;
}

function regress(weights: Float64Array, lags: Float64Array): number {
  return weights.reduce((sum, weight, i) => sum + weight * lags[i]!, 0);
}

function eachOutcome(
  series: readonly LoadSeries[],
  ahead: number,
  visit: (lags: Float64Array, outcome: number) => void,
): void {
  for (const { load } of series) {
    for (let position = WINDOW; position + ahead - 1 < load.length; position++) {
      visit(lagsOf(historyBefore(load, position)), load[position + ahead - 1]!);
    }
  }
}

function best(candidates: readonly number[], error: (candidate: number) => number): number {
  const errors = candidates.map(error);
  return candidates[errors.indexOf(Math.min(...errors))]!;
}
