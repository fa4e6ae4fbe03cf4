import { describe, expect, it } from 'vitest';
import { createTrainer } from '../../src/feedback/lstm-addon.js';
import { mergeNetworks } from '../../src/feedback/merge-networks.js';
import { seededRandom } from '../../src/feedback/random.js';
import type { NetworkShape } from '../../src/forecast/network.js';

const SHAPE: NetworkShape = {
  steps: 5,
  sequenceFeatures: 3,
  staticFeatures: 7,
  hidden: 4,
  embed: 6,
  head: 5,
  targets: 2,
};
const ROWS = 9;

describe('merged networks', () => {
  it('answer with the mean of what their members say', () => {
    const members = [1, 2, 3].map((seed) => createTrainer(SHAPE, seed).weights());
    const { shape, weights } = mergeNetworks(SHAPE, members);
    const each = members.map((member) => answers(SHAPE, member));
    const merged = answers(shape, weights);
    for (let at = 0; at < merged.length; at += 3) {
      const mean = (of: (row: Float32Array) => number) => each.reduce((sum, row) => sum + of(row), 0) / 3;
      expect(merged[at]).toBeCloseTo(
        mean((row) => row[at]!),
        5,
      );
      // Gaps are averaged before softplus, and softplus is convex: the gap of the mean is no more than the mean gap.
      const gap = merged[at + 1]! - merged[at]!;
      expect(gap).toBeGreaterThan(0);
      expect(gap).toBeLessThanOrEqual(mean((row) => row[at + 1]! - row[at]!) + 1e-5);
    }
  });

  it('of one member are that member', () => {
    const member = createTrainer(SHAPE, 4).weights();
    expect(mergeNetworks(SHAPE, [member])).toEqual({ shape: SHAPE, weights: member });
  });
});

function answers(shape: NetworkShape, weights: Float32Array): Float32Array {
  const trainer = createTrainer(shape, 0);
  trainer.setWeights(weights);
  const random = seededRandom(7);
  const numbers = (count: number) => Float32Array.from({ length: count }, () => 4 * random() - 2);
  return trainer.predict(
    numbers(ROWS * SHAPE.steps * SHAPE.sequenceFeatures),
    numbers(ROWS * SHAPE.staticFeatures),
    ROWS,
  );
}
