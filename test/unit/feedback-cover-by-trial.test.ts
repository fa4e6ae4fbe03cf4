import { describe, expect, it } from 'vitest';
import { coverByTrial } from '../../src/feedback/cover-by-trial.js';
import { createTrainer } from '../../src/feedback/lstm-addon.js';
import { mergeNetworks } from '../../src/feedback/merge-networks.js';
import type { Packed } from '../../src/feedback/normalisation.js';
import { seededRandom } from '../../src/feedback/random.js';
import { STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import { networkShape } from '../../src/forecast/network.js';

const WIDTH = STATIC_FEATURE_NAMES.length;
const TRIED = STATIC_FEATURE_NAMES.indexOf('probePresent');
const SHAPE = networkShape(WIDTH);
const SCALING = { mean: new Array(WIDTH).fill(0.4), scale: new Array(WIDTH).fill(0.5) };

describe('what a forecast covers', () => {
  it('is 0.9 with a trial and without, though one is seven times surer than the other', () => {
    const members = [1, 2].map((seed) => createTrainer(SHAPE, seed).weights());
    const rows = answersWith(200, 200, members);
    const network = coverByTrial(members, SHAPE, rows, SCALING);
    const { tried, untried } = covered(network, rows);
    expect(tried.share).toBeCloseTo(0.9, 1);
    expect(untried.share).toBeCloseTo(0.9, 1);
    expect(untried.gap).toBeGreaterThan(3 * tried.gap);
  });

  it('is one thing for both kinds while one of them is rare', () => {
    const members = [createTrainer(SHAPE, 1).weights()];
    const rows = answersWith(200, 5, members);
    const network = coverByTrial(members, SHAPE, rows, SCALING);
    expect(network.shape).toEqual(SHAPE);
    const { tried, untried } = covered(network, rows);
    expect((200 * tried.share + 5 * untried.share) / 205).toBeCloseTo(0.9, 1);
  });

  it('leaves the medians as they are', () => {
    const member = createTrainer(SHAPE, 3).weights();
    const rows = answersWith(60, 60, [member]);
    const medians = (shape: typeof SHAPE, weights: Float32Array) =>
      predict(shape, weights, rows).filter((_, i) => i % 3 === 0);
    const { shape, weights } = coverByTrial([member], SHAPE, rows, SCALING);
    const before = medians(SHAPE, member);
    medians(shape, weights).forEach((median, i) => {
      expect(median).toBeCloseTo(before[i]!, 4);
    });
  });
});

/** The first target scatters around what the networks say: by 0.2 with a trial, by 1.5 without. Others are unknown. */
function answersWith(tried: number, untried: number, members: readonly Float32Array[]): Packed {
  const count = tried + untried;
  const random = seededRandom(11);
  const rows = {
    count,
    fixed: new Float32Array(count * WIDTH),
    target: new Float32Array(count * SHAPE.targets).fill(Number.NaN),
    sequence: new Float32Array(count * SHAPE.steps * SHAPE.sequenceFeatures),
  };
  for (let row = 0; row < count; row++) rows.fixed[row * WIDTH + TRIED] = (Number(row < tried) - 0.4) / 0.5;
  const { shape, weights } = mergeNetworks(SHAPE, members);
  const quantiles = predict(shape, weights, rows);
  for (let row = 0; row < count; row++) {
    const noise = (random() + random() + random() - 1.5) * (row < tried ? 0.4 : 3);
    rows.target[row * SHAPE.targets] = quantiles[row * SHAPE.targets * 3]! + noise;
  }
  return rows;
}

function covered({ shape, weights }: { shape: typeof SHAPE; weights: Float32Array }, rows: Packed) {
  const quantiles = predict(shape, weights, rows);
  const of = (present: boolean) => {
    const all = Array.from({ length: rows.count }, (_, i) => i).filter(
      (i) => rows.fixed[i * WIDTH + TRIED]! > 0 === present,
    );
    const at = (i: number) => i * shape.targets * 3;
    return {
      share: all.filter((i) => rows.target[i * shape.targets]! <= quantiles[at(i) + 1]!).length / all.length,
      gap: quantiles[at(all[0]!) + 1]! - quantiles[at(all[0]!)]!,
    };
  };
  return { tried: of(true), untried: of(false) };
}

function predict(shape: typeof SHAPE, weights: Float32Array, rows: Packed): Float32Array {
  const trainer = createTrainer(shape, 0);
  trainer.setWeights(weights);
  return trainer.predict(rows.sequence, rows.fixed, rows.count);
}
