import type { ModelCard, NetworkShape } from '../forecast/network.js';
import { lstmLayout, TENSOR_NAMES, type Tensor, tensorOf } from './lstm-layout.js';
import type { Normalisation, Scaling } from './normalisation.js';

export function sameShape(a: NetworkShape, b: NetworkShape): boolean {
  return (Object.keys(a) as (keyof NetworkShape)[]).every((key) => a[key] === b[key]);
}

/**
 * The weights of an earlier model with the features and the normalisation of a new one. Features are told by their names;
 * those that the earlier model did not have count nothing yet.
 */
export function carriedOver(
  weights: Float32Array,
  card: ModelCard,
  names: readonly string[],
  normalisation: Normalisation,
): Float32Array {
  const shape = { ...card.shape, staticFeatures: names.length };
  const from = lstmLayout(card.shape);
  const to = lstmLayout(shape);
  const result = new Float32Array(to.size);
  for (const name of TENSOR_NAMES) {
    if (name !== 'embed1') result.set(tensorOf(weights, from[name]), to[name].offset);
  }
  const places = names.map((name) => card.staticFeatureNames.indexOf(name));
  places.forEach((old, column) => {
    if (old < 0) return;
    const at = from.embed1.offset + old * from.embed1.rows;
    result.set(weights.subarray(at, at + from.embed1.rows), to.embed1.offset + column * to.embed1.rows);
  });
  const { mean, scale } = normalisation.fixed;
  const moved = {
    ...card,
    shape,
    staticMean: places.map((old, i) => (old < 0 ? mean[i]! : card.staticMean[old]!)),
    staticScale: places.map((old, i) => (old < 0 ? scale[i]! : card.staticScale[old]!)),
  };
  return renormalised(result, moved, normalisation);
}

/**
 * The weights of an earlier model, changed so that with the new normalisation they compute what they computed with the
 * old one: x_old = (s1 / s0) x_new + (m1 - m0) / s0.
 */
export function renormalised(
  weights: Float32Array,
  card: ModelCard,
  normalisation: Normalisation,
): Float32Array {
  const layout = lstmLayout(card.shape);
  const result = weights.slice();
  const old = {
    sequence: { mean: card.sequenceMean, scale: card.sequenceScale },
    fixed: { mean: card.staticMean, scale: card.staticScale },
  };
  renormaliseColumns(result, layout.gates, layout.gatesBias, old.sequence, normalisation.sequence);
  renormaliseColumns(result, layout.embed1, layout.embed1Bias, old.fixed, normalisation.fixed);
  return result;
}

/**
 * A feature that never changed in training has taught nothing: its fresh, random weights would be noise on the first
 * host where it is different. Zero stays zero in training, as its input is always 0.
 */
export function withoutConstants(
  weights: Float32Array,
  shape: NetworkShape,
  normalisation: Normalisation,
): Float32Array {
  const layout = lstmLayout(shape);
  const result = weights.slice();
  const clear = (tensor: Tensor, constant: readonly boolean[]) => {
    constant.forEach((is, column) => {
      const at = tensor.offset + column * tensor.rows;
      if (is) result.fill(0, at, at + tensor.rows);
    });
  };
  clear(layout.gates, normalisation.sequence.constant);
  clear(layout.embed1, normalisation.fixed.constant);
  return result;
}

/**
 * A fresh network that says about what the cost table says, with a wide margin, is a better start than one that says
 * anything: on few runs it is where training ends up anyway.
 */
export function nearCostTable(weights: Float32Array, shape: NetworkShape): Float32Array {
  const { out, outBias } = lstmLayout(shape);
  const result = weights.slice();
  for (let i = 0; i < out.rows * out.columns; i++) result[out.offset + i]! *= 0.1;
  // The first plane is the bases; softplus(-1) = 0.31 is what the others add.
  result.fill(-1, outBias.offset + shape.targets, outBias.offset + outBias.rows);
  return result;
}

function renormaliseColumns(
  weights: Float32Array,
  weight: Tensor,
  bias: Tensor,
  old: Pick<Scaling, 'mean' | 'scale'>,
  now: Scaling,
): void {
  for (let column = 0; column < now.mean.length; column++) {
    const ratio = now.scale[column]! / old.scale[column]!;
    const shift = (now.mean[column]! - old.mean[column]!) / old.scale[column]!;
    for (let row = 0; row < weight.rows; row++) {
      const at = weight.offset + column * weight.rows + row;
      weights[bias.offset + row]! += weights[at]! * shift;
      weights[at]! *= ratio;
    }
  }
}
