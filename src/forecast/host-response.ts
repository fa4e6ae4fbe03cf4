/**
 * How one machine departs from what was expected of it, learned from a few runs:
 *
 *   log(measured / expected) = loadings . weights + noise
 *
 * A run's loadings say how strongly each component acts on it; they are scaled so that a weight is a standard normal
 * before anything was measured. The estimate is the most probable weights (ridge regression in Bayes' reading): with no
 * runs all are 0, with few they stay near it, with many they follow the runs. Errors count as squares near 0 and
 * linearly beyond (Huber), because a run that met a neighbour is slow by any amount.
 */
export interface MeasuredRun {
  readonly logRatio: number;
  readonly loadings: ArrayLike<number>;
  /** Standard deviation of the log ratio beside the components, above 0. */
  readonly noise: number;
}

export interface HostResponse {
  readonly weights: Float64Array;
  /** The expected log ratio of any run. */
  logRatio(loadings: ArrayLike<number>): number;
}

/** Beyond this many standard deviations an error counts linearly: 95 % efficient where nothing is wrong. */
const HUBER = 1.345;
/** Newton's steps end at the minimum itself, because the loss is a quadratic in pieces; this many are not needed. */
const ROUNDS = 100;
const SETTLED = 1e-9;
/** Of the decrease that the slope promises, what a step has to bring (Armijo); half a step is tried next. */
const ENOUGH = 1e-4;
const HALVINGS = 60;

/** `components`: the length of every run's loadings. */
export function estimateResponse(components: number, runs: readonly MeasuredRun[]): HostResponse {
  let weights = new Float64Array(components);
  for (let round = 0; round < ROUNDS; round++) {
    const { direction, slope } = newton(weights, runs);
    const next = step(weights, direction, slope, runs);
    const moved = next.reduce((most, weight, k) => Math.max(most, Math.abs(weight - weights[k]!)), 0);
    weights = next;
    if (moved < SETTLED) break;
  }
  return { weights, logRatio: (loadings) => dot(loadings, weights) };
}

/** Half the squared weights, plus what each run's error costs: a square near 0, its tangent beyond. */
function loss(weights: Float64Array, runs: readonly MeasuredRun[]): number {
  let total = dot(weights, weights) / 2;
  for (const run of runs) {
    const error = Math.abs(errorOf(run, weights));
    total += error <= HUBER ? error ** 2 / 2 : HUBER * (error - HUBER / 2);
  }
  return total;
}

/** Where a quadratic through the loss's slope and curvature has its minimum. Runs beyond HUBER pull, but do not curve. */
function newton(weights: Float64Array, runs: readonly MeasuredRun[]) {
  const components = weights.length;
  const matrix = new Float64Array(components * components);
  const gradient = weights.slice();
  for (let k = 0; k < components; k++) matrix[k * components + k] = 1;
  for (const run of runs) {
    const { loadings, noise } = run;
    const error = errorOf(run, weights);
    const pull = Math.max(-HUBER, Math.min(HUBER, error)) / noise;
    const curvature = Math.abs(error) <= HUBER ? 1 / noise ** 2 : 0;
    for (let k = 0; k < components; k++) {
      gradient[k]! -= pull * loadings[k]!;
      for (let l = 0; l <= k; l++) {
        matrix[k * components + l]! += curvature * loadings[k]! * loadings[l]!;
      }
    }
  }
  const direction = solvePositive(
    matrix,
    gradient.map((slope) => -slope),
  );
  return { direction, slope: dot(gradient, direction) };
}

/** The whole way, or the first of its halves that lowers the loss by enough; none when rounding hides any decrease. */
function step(
  weights: Float64Array<ArrayBuffer>,
  direction: Float64Array,
  slope: number,
  runs: readonly MeasuredRun[],
): Float64Array<ArrayBuffer> {
  const before = loss(weights, runs);
  for (let halving = 0, share = 1; halving < HALVINGS; halving++, share /= 2) {
    const next = weights.map((weight, k) => weight + share * direction[k]!);
    if (loss(next, runs) <= before + ENOUGH * share * slope) return next;
  }
  return weights;
}

function errorOf({ logRatio, loadings, noise }: MeasuredRun, weights: Float64Array): number {
  return (logRatio - dot(loadings, weights)) / noise;
}

/** Cholesky on the lower triangle, in place. The matrix is the identity plus squares: always positive definite. */
function solvePositive(matrix: Float64Array, right: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const n = right.length;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= matrix[i * n + k]! * matrix[j * n + k]!;
      matrix[i * n + j] = i === j ? Math.sqrt(sum) : sum / matrix[j * n + j]!;
    }
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) right[i]! -= matrix[i * n + k]! * right[k]!;
    right[i]! /= matrix[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) right[i]! -= matrix[k * n + i]! * right[k]!;
    right[i]! /= matrix[i * n + i]!;
  }
  return right;
}

function dot(loadings: ArrayLike<number>, weights: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < weights.length; k++) sum += loadings[k]! * weights[k]!;
  return sum;
}
