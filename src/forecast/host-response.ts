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
/** The problem is convex and reweighting converges; this many are not needed. */
const ROUNDS = 50;
const SETTLED = 1e-6;

/** `components`: the length of every run's loadings. */
export function estimateResponse(components: number, runs: readonly MeasuredRun[]): HostResponse {
  let weights = new Float64Array(components);
  let trust = runs.map(() => 1);
  for (let round = 0; round < ROUNDS; round++) {
    const next = ridge(components, runs, trust);
    const moved = next.reduce((most, weight, k) => Math.max(most, Math.abs(weight - weights[k]!)), 0);
    weights = next;
    if (moved < SETTLED) break;
    trust = runs.map(({ logRatio, loadings, noise }) => {
      const error = Math.abs(logRatio - dot(loadings, weights)) / noise;
      return error <= HUBER ? 1 : HUBER / error;
    });
  }
  return { weights, logRatio: (loadings) => dot(loadings, weights) };
}

/** Solves (I + sum of trust / noise^2 x loadings loadings') weights = sum of trust / noise^2 x log ratio x loadings. */
function ridge(
  components: number,
  runs: readonly MeasuredRun[],
  trust: readonly number[],
): Float64Array<ArrayBuffer> {
  const matrix = new Float64Array(components * components);
  const right = new Float64Array(components);
  for (let k = 0; k < components; k++) matrix[k * components + k] = 1;
  for (const [i, { logRatio, loadings, noise }] of runs.entries()) {
    const precision = trust[i]! / noise ** 2;
    for (let k = 0; k < components; k++) {
      const scaled = precision * loadings[k]!;
      right[k]! += scaled * logRatio;
      for (let l = 0; l <= k; l++) matrix[k * components + l]! += scaled * loadings[l]!;
    }
  }
  return solvePositive(matrix, right);
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
