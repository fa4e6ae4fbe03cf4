import { STATIC_FEATURE_NAMES } from '../forecast/features.js';
import type { NetworkShape } from '../forecast/network.js';
import { createTrainer } from './lstm-addon.js';
import { lstmLayout } from './lstm-layout.js';
import { mergeNetworks } from './merge-networks.js';
import type { Packed, Scaling } from './normalisation.js';
import { type CoverBiases, coverAnswers, coverBiases } from './quantile-bias.js';

/** With fewer answers of a kind than this, both kinds share what they have to cover. */
const LEAST_ANSWERS = 25;
const COLUMN = STATIC_FEATURE_NAMES.indexOf('probePresent');

export interface Network {
  readonly shape: NetworkShape;
  readonly weights: Float32Array;
}

/**
 * A forecast with a trial is several times surer than one without, and a network of few runs gets neither spread right. One
 * correction for both would be too wide for the first and too narrow for the second; so each kind has its own, told apart
 * by one more unit in each layer, which passes on whether there was a trial.
 */
export function coverByTrial(
  members: readonly Float32Array[],
  shape: NetworkShape,
  unseen: Packed,
  { mean, scale }: Pick<Scaling, 'mean' | 'scale'>,
): Network {
  const merged = mergeNetworks(shape, members);
  const trainer = createTrainer(merged.shape, 0);
  trainer.setWeights(merged.weights);
  const tried = rowsWhere(unseen, (row) => row[COLUMN]! * scale[COLUMN]! + mean[COLUMN]! > 0.5);
  const untried = rowsWhere(unseen, (row) => row[COLUMN]! * scale[COLUMN]! + mean[COLUMN]! <= 0.5);
  if (tried.count < LEAST_ANSWERS || untried.count < LEAST_ANSWERS) {
    return { shape: merged.shape, weights: coverAnswers(trainer, merged.shape, unseen) };
  }
  const biasesOf = (rows: Packed): CoverBiases =>
    coverBiases(trainer.predict(rows.sequence, rows.fixed, rows.count), rows, shape.targets, LEAST_ANSWERS);
  const wide = mergeNetworks(shape, members, 1);
  passOnTrial(wide, -mean[COLUMN]! / scale[COLUMN]!, 1 / scale[COLUMN]!, biasesOf(tried), biasesOf(untried));
  return wide;
}

/** `absent`: the normalised feature without a trial; `step`: what it is more with one. */
function passOnTrial(
  { shape, weights }: Network,
  absent: number,
  step: number,
  tried: CoverBiases,
  untried: CoverBiases,
): void {
  const layout = lstmLayout(shape);
  const set = (name: 'embed1' | 'embed2' | 'head' | 'out', row: number, column: number, value: number) => {
    weights[layout[name].offset + column * layout[name].rows + row] = value;
  };
  const unit = shape.embed - 1;
  set('embed1', unit, COLUMN, 1 / step);
  weights[layout.embed1Bias.offset + unit] = -absent / step;
  set('embed2', unit, unit, 1);
  set('head', shape.head - 1, shape.hidden + unit, 1);
  for (const [plane, quantile] of [
    [1, 'q90'],
    [2, 'q99'],
  ] as const) {
    for (let target = 0; target < shape.targets; target++) {
      const row = plane * shape.targets + target;
      const without = untried[quantile][target]!;
      weights[layout.outBias.offset + row]! += without;
      set('out', row, shape.head - 1, tried[quantile][target]! - without);
    }
  }
}

function rowsWhere(rows: Packed, wanted: (fixed: Float32Array) => boolean): Packed {
  const width = { sequence: 0, fixed: 0, target: 0 };
  for (const key of ['sequence', 'fixed', 'target'] as const) width[key] = rows[key].length / rows.count;
  const chosen = Array.from({ length: rows.count }, (_, i) => i).filter((i) =>
    wanted(rows.fixed.subarray(i * width.fixed, (i + 1) * width.fixed)),
  );
  const take = (key: 'sequence' | 'fixed' | 'target') => {
    const out = new Float32Array(chosen.length * width[key]);
    chosen.forEach((from, i) => {
      out.set(rows[key].subarray(from * width[key], (from + 1) * width[key]), i * width[key]);
    });
    return out;
  };
  return { count: chosen.length, sequence: take('sequence'), fixed: take('fixed'), target: take('target') };
}
