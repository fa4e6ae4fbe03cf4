import type { Quantiles } from './forecast.js';

/** How widely outcomes lie around what is expected, against the model's own spread: sums of squares in which the old fades. */
export interface Squares {
  weight: number;
  sum: number;
}

/** Normal quantiles of 0.5, 0.9 and 0.99. */
export const Z = [0, 1.2816, 2.3263] as const;

const FADES = 80;
/**
 * Outcomes that the model's own spread counts for, widened because models are too sure of what they have not seen (0.9
 * quantiles of held-out sources covered 79 %), and those that the stream's counts for in a class.
 */
const PRIOR = 5;
const UNSURE = 1.5;
const CLASS_PRIOR = 6;
const NOISE_PRIOR = 4;
const MOST_INHERITED = 20;
const LEAST_SPREAD = 0.02;

export function noSquares(): Squares {
  return { weight: 0, sum: 0 };
}

export function addSquare(squares: Squares, value: number, weight: number): void {
  const kept = Math.exp(-weight / FADES);
  squares.weight = squares.weight * kept + weight;
  squares.sum = squares.sum * kept + weight * value;
}

/** The model's standard deviation in log demand. */
export function spreadOf({ q50, q90 }: Quantiles): number {
  return Math.max(LEAST_SPREAD, Math.log(q90 / q50) / Z[1]);
}

/** What the spread of one horizon says of the next: its ratio, with the weight of at most MOST_INHERITED outcomes. */
export function inherited({ weight, sum }: Squares): Squares {
  const kept = Math.min(1, MOST_INHERITED / weight);
  return weight === 0 ? noSquares() : { weight: weight * kept, sum: sum * kept };
}

export function sumOf(a: Squares, b: Squares): Squares {
  return { weight: a.weight + b.weight, sum: a.sum + b.sum };
}

/** What the model's spread must be multiplied by. */
export function scaleOf(stream: Squares, own: Squares = noSquares()): number {
  const all = (PRIOR * UNSURE + stream.sum) / (PRIOR + stream.weight);
  return Math.sqrt((CLASS_PRIOR * all + own.sum) / (CLASS_PRIOR + own.weight));
}

/** Variance of single outcomes around their class, in log demand. */
export function noiseOf({ weight, sum }: Squares, spread = LEAST_SPREAD): number {
  return (NOISE_PRIOR * spread ** 2 + sum) / (NOISE_PRIOR + weight);
}

/**
 * Student's quantile over the normal one, for the scale of a stream: few outcomes know their spread badly. Abramowitz and
 * Stegun 26.7.5, within 2 % for five degrees of freedom or more.
 */
export function studentFactor(i: 0 | 1 | 2, stream: Squares): number {
  const freedom = PRIOR + stream.weight;
  const square = Z[i] ** 2;
  return i === 0
    ? 1
    : 1 + (square + 1) / (4 * freedom) + (5 * square ** 2 + 16 * square + 3) / (96 * freedom ** 2);
}
