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
  const weights = trainer.weights();
  const { outBias } = lstmLayout(shape);
  const quantiles = trainer.predict(unseen.sequence, unseen.fixed, unseen.count);
  for (let target = 0; target < shape.targets; target++) {
    const answers = answersOf(quantiles, unseen, shape.targets, target);
    if (answers.length < LEAST_ANSWERS) continue;
    const bias90 = biasFor(
      QUANTILES[1],
      answers.map(({ y, q50, q90 }) => ({ over: y - q50, gap: q90 - q50 })),
    );
    const bias99 = biasFor(
      QUANTILES[2],
      answers.map(({ y, q50, q90, q99 }) => ({
        over: y - q50 - softplus(inverseSoftplus(q90 - q50) + bias90),
        gap: q99 - q90,
      })),
    );
    weights[outBias.offset + shape.targets + target]! += bias90;
    weights[outBias.offset + 2 * shape.targets + target]! += bias99;
  }
  return weights;
}

interface Answer {
  readonly y: number;
  readonly q50: number;
  readonly q90: number;
  readonly q99: number;
}

function answersOf(quantiles: Float32Array, rows: Packed, targets: number, target: number): Answer[] {
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
