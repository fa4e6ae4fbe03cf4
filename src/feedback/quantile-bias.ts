import { type NetworkShape, QUANTILES } from '../forecast/network.js';
import type { LstmTrainer } from './lstm-addon.js';
import { lstmLayout } from './lstm-layout.js';
import type { Packed } from './normalisation.js';

/** With fewer answers than this a share of 0.9 is a guess. */
const LEAST_ANSWERS = 50;
const LARGEST_BIAS = 2;

/**
 * A network that has fitted the sources it saw is too sure about one that it did not: its 0.9 quantile covers less there.
 * The validation sources are unseen too, so the biases of the upper quantiles are set, target by target, to what covers
 * 0.9 and 0.99 of them (split conformal prediction, Lei et al. 2018, inside the softplus so that quantiles still cannot
 * cross). What then remains is corrected online (forecast/calibration).
 */
export function coverAnswers(trainer: LstmTrainer, shape: NetworkShape, unseen: Packed): Float32Array {
  const quantiles = trainer.predict(unseen.sequence, unseen.fixed, unseen.count);
  return withBiases(trainer.weights(), shape, coverBiases(quantiles, unseen, shape.targets));
}

/** What to add inside the softplus of each target's upper quantiles; 0 where there are too few answers. */
export interface CoverBiases {
  readonly q90: readonly number[];
  readonly q99: readonly number[];
}

/** `quantiles`: [rows, targets, 3], of networks that had not seen the rows; several networks' may be mixed. */
export function coverBiases(
  quantiles: Float32Array,
  unseen: Pick<Packed, 'target' | 'count'>,
  targets: number,
  least = LEAST_ANSWERS,
): CoverBiases {
  const q90 = new Array<number>(targets).fill(0);
  const q99 = new Array<number>(targets).fill(0);
  for (let target = 0; target < targets; target++) {
    const answers = answersOf(quantiles, unseen, targets, target);
    if (answers.length < least) continue;
    const bias90 = biasFor(
      QUANTILES[1],
      answers.map(({ y, q50, q90 }) => ({ over: y - q50, gap: q90 - q50 })),
    );
    q90[target] = bias90;
    q99[target] = biasFor(
      QUANTILES[2],
      answers.map(({ y, q50, q90, q99 }) => ({
        over: y - q50 - softplus(inverseSoftplus(q90 - q50) + bias90),
        gap: q99 - q90,
      })),
    );
  }
  return { q90, q99 };
}

/** Weights of which the upper quantiles are moved by the biases. */
export function withBiases(
  weights: Float32Array,
  shape: NetworkShape,
  { q90, q99 }: CoverBiases,
): Float32Array {
  const { outBias } = lstmLayout(shape);
  const result = weights.slice();
  for (let target = 0; target < shape.targets; target++) {
    result[outBias.offset + shape.targets + target]! += q90[target]!;
    result[outBias.offset + 2 * shape.targets + target]! += q99[target]!;
  }
  return result;
}

interface Answer {
  readonly y: number;
  readonly q50: number;
  readonly q90: number;
  readonly q99: number;
}

function answersOf(
  quantiles: Float32Array,
  rows: Pick<Packed, 'target' | 'count'>,
  targets: number,
  target: number,
): Answer[] {
  const answers: Answer[] = [];
  for (let row = 0; row < rows.count; row++) {
    const y = rows.target[row * targets + target]!;
    const at = (row * targets + target) * QUANTILES.length;
    if (Number.isNaN(y)) continue;
    answers.push({ y, q50: quantiles[at]!, q90: quantiles[at + 1]!, q99: quantiles[at + 2]! });
  }
  return answers;
}

/** The least bias inside the softplus with which `gap` covers `over` in a share of `level` of the answers. */
function biasFor(level: number, answers: readonly { readonly over: number; readonly gap: number }[]): number {
  const inner = answers.map(({ over, gap }) => ({ over, d: inverseSoftplus(gap) }));
  // (n + 1) level is what makes the share hold for the next answer, not just for these.
  const wanted = Math.min(answers.length, Math.ceil((answers.length + 1) * level));
  const covers = (bias: number) => inner.filter(({ over, d }) => over <= softplus(d + bias)).length >= wanted;
  let [low, high] = [-LARGEST_BIAS, LARGEST_BIAS];
  if (covers(low)) return low;
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (covers(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function inverseSoftplus(y: number): number {
  const least = Math.max(y, 1e-6);
  return least + Math.log(-Math.expm1(-least));
}
