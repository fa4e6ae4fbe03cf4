import { describe, expect, it } from 'vitest';
import { createTrainer, gradientCheck, type LstmTrainer } from '../../src/feedback/lstm-addon.js';
import { lstmLayout, tensorOf } from '../../src/feedback/lstm-layout.js';
import { type NetworkShape, networkShape } from '../../src/forecast/network.js';
import { isCorecastError } from '../../src/lib/errors.js';
import { seededRandom, uniform } from '../support/seeded-random.js';

const SMALL: NetworkShape = {
  steps: 4,
  sequenceFeatures: 3,
  staticFeatures: 5,
  hidden: 4,
  embed: 5,
  head: 6,
  targets: 4,
};

describe('the gradient', () => {
  it.each([
    ['one step', { ...SMALL, steps: 1 }, 3],
    ['one sample', SMALL, 1],
    ['several steps and samples', SMALL, 5],
    ['odd sizes', { ...SMALL, steps: 7, sequenceFeatures: 1, hidden: 9, embed: 1, targets: 1 }, 2],
  ])('agrees with central differences in every parameter: %s', (_, shape, batch) => {
    for (const seed of [1, 2, 3]) {
      const check = gradientCheck(shape, batch, seed);
      expect(check.parameters).toBe(lstmLayout(shape).size);
      expect(check.maxRelativeError).toBeGreaterThan(0);
      expect(check.maxRelativeError).toBeLessThan(1e-4);
    }
  });
});

describe('training', () => {
  it('learns a tiny set by heart', () => {
    const rows = randomRows(SMALL, 8, 5);
    const trainer = createTrainer(SMALL, 1, { weightDecay: 0 });
    const before = trainer.loss(...rows, 8);
    for (let i = 0; i < 3000; i++) trainer.step(...rows, 8, i < 2000 ? 0.01 : 0.001);
    expect(trainer.loss(...rows, 8)).toBeLessThan(before / 50);
  });

  it('gives the same bits for the same seed and others for another', () => {
    const rows = randomRows(SMALL, 16, 6);
    const run = (seed: number) => {
      const trainer = createTrainer(SMALL, seed);
      for (let i = 0; i < 50; i++) trainer.step(...rows, 16, 0.01);
      return trainer.weights();
    };
    expect(run(7)).toEqual(run(7));
    expect(run(7)).not.toEqual(run(8));
  });

  it('goes on from saved weights and optimiser bit for bit as if it had never stopped', () => {
    const rows = randomRows(SMALL, 16, 6);
    const whole = createTrainer(SMALL, 7);
    for (let i = 0; i < 50; i++) whole.step(...rows, 16, 0.01);
    const first = createTrainer(SMALL, 7);
    for (let i = 0; i < 20; i++) first.step(...rows, 16, 0.01);
    const second = createTrainer(SMALL, 99);
    second.setWeights(first.weights());
    second.setOptimiser(first.optimiser());
    for (let i = 20; i < 50; i++) second.step(...rows, 16, 0.01);
    expect(second.weights()).toEqual(whole.weights());
    expect(second.optimiser()).toEqual(whole.optimiser());
  });

  it('does not depend on an earlier, larger batch', () => {
    const rows = randomRows(SMALL, 3, 9);
    const fresh = createTrainer(SMALL, 4);
    const used = createTrainer(SMALL, 4);
    used.predict(...(randomRows(SMALL, 64, 10).slice(0, 2) as [Float32Array, Float32Array]), 64);
    expect(used.step(...rows, 3, 0.01)).toBe(fresh.step(...rows, 3, 0.01));
    expect(used.weights()).toEqual(fresh.weights());
  });

  it('does not depend on an earlier, shorter batch either', () => {
    const rows = randomRows(SMALL, 16, 9);
    const fresh = createTrainer(SMALL, 4);
    const used = createTrainer(SMALL, 4);
    for (const size of [16, 5])
      used.predict(...(randomRows(SMALL, size, 10).slice(0, 2) as [Float32Array, Float32Array]), size);
    expect(used.step(...rows, 16, 0.01)).toBe(fresh.step(...rows, 16, 0.01));
    expect(used.weights()).toEqual(fresh.weights());
  });

  it('takes no notice of targets that are not known', () => {
    const [sequence, fixed, target] = randomRows(SMALL, 8, 11);
    const hidden = target.map((y, i) => (i % SMALL.targets === 2 ? Number.NaN : y));
    const trainer = createTrainer(SMALL, 1, { weightDecay: 0 });
    const plane = (weights: Float32Array) => outRow(weights, 2);
    const before = trainer.weights();
    for (let i = 0; i < 20; i++) expect(trainer.step(sequence, fixed, hidden, 8, 0.01)).toBeGreaterThan(0);
    expect(plane(trainer.weights())).toEqual(plane(before));
    expect(trainer.weights()).not.toEqual(before);
  });

  it('weighs rows by their known targets in loss(), however many pieces they come in', () => {
    const [sequence, fixed, target] = randomRows(SMALL, 600, 12);
    const masked = target.map((y, i) => (i < 2000 && i % 3 !== 0 ? Number.NaN : y));
    const trainer = createTrainer(SMALL, 1);
    expect(trainer.loss(sequence, fixed, masked, 600)).toBeCloseTo(
      pinballByHand(trainer, SMALL, sequence, fixed, masked),
      5,
    );
  });

  it('changes nothing and says NaN where no target is known', () => {
    const [sequence, fixed, target] = randomRows(SMALL, 4, 13);
    const trainer = createTrainer(SMALL, 1);
    const before = trainer.weights();
    expect(trainer.step(sequence, fixed, target.fill(Number.NaN), 4, 0.1)).toBeNaN();
    expect(trainer.loss(sequence, fixed, target, 4)).toBeNaN();
    expect(trainer.weights()).toEqual(before);
  });

  it('changes nothing when an input is not finite', () => {
    const [sequence, fixed, target] = randomRows(SMALL, 4, 14);
    const trainer = createTrainer(SMALL, 1);
    const before = trainer.weights();
    sequence[3] = Number.POSITIVE_INFINITY;
    fixed[0] = Number.NaN;
    expect(trainer.step(sequence, fixed, target, 4, 0.1)).toBeNaN();
    expect(trainer.weights()).toEqual(before);
  });

  it('never lets quantiles cross, however wild the weights and inputs', () => {
    const random = seededRandom(15);
    const trainer = createTrainer(SMALL, 1);
    for (const size of [0.1, 1, 10, 100]) {
      trainer.setWeights(uniform(random, lstmLayout(SMALL).size, size));
      const [sequence, fixed] = randomRows(SMALL, 32, size);
      const quantiles = trainer.predict(sequence, fixed, 32);
      for (let i = 0; i < quantiles.length; i += 3) {
        expect(quantiles[i + 1]!).toBeGreaterThanOrEqual(quantiles[i]!);
        expect(quantiles[i + 2]!).toBeGreaterThanOrEqual(quantiles[i + 1]!);
      }
    }
  });

  it('learns the quantiles of a distribution', () => {
    const shape = { ...SMALL, targets: 1 };
    const random = seededRandom(16);
    const count = 512;
    const sequence = new Float32Array(count * 12);
    const fixed = new Float32Array(count * 5).fill(1);
    const target = Float32Array.from({ length: count }, random);
    const trainer = createTrainer(shape, 3, { weightDecay: 0 });
    for (let i = 0; i < 3000; i++) trainer.step(sequence, fixed, target, count, i < 2000 ? 0.01 : 0.001);
    const sorted = target.toSorted();
    const [q50, q90, q99] = trainer.predict(sequence.subarray(0, 12), fixed.subarray(0, 5), 1);
    expect(Math.abs(q50! - sorted[count * 0.5]!)).toBeLessThan(0.02);
    expect(Math.abs(q90! - sorted[Math.floor(count * 0.9)]!)).toBeLessThan(0.02);
    expect(Math.abs(q99! - sorted[Math.floor(count * 0.99)]!)).toBeLessThan(0.02);
  });
});

describe('the instruction sets', () => {
  const available = ['portable', 'avx2', 'avx512'].filter((instructionSet) => {
    try {
      return createTrainer(SMALL, 1, { instructionSet }).instructionSet === instructionSet;
    } catch {
      return false;
    }
  });

  it.for(['portable', 'avx2', 'avx512'])('train alike: %s', (instructionSet, ctx) => {
    if (!available.includes(instructionSet)) ctx.skip(`this CPU has no ${instructionSet}`);
    const shape = networkShape(50);
    const rows = randomRows(shape, 37, 17);
    const run = (options: { instructionSet?: string }) => {
      const trainer = createTrainer(shape, 2, options);
      for (let i = 0; i < 20; i++) trainer.step(...rows, 37, 0.002);
      return trainer.predict(rows[0], rows[1], 37);
    };
    const expected = run({ instructionSet: 'portable' });
    const actual = run({ instructionSet });
    expect(Math.max(...expected.map((x, i) => Math.abs(x - actual[i]!)))).toBeLessThan(1e-3);
  });

  it('are chosen by what the CPU has: the last of those available', () => {
    expect(createTrainer(SMALL, 1).instructionSet).toBe(available.at(-1));
  });
});

describe('weights', () => {
  it('come back as they were set', () => {
    const trainer = createTrainer(SMALL, 1);
    const weights = uniform(seededRandom(2), lstmLayout(SMALL).size, 1);
    trainer.setWeights(weights);
    expect(trainer.weights()).toEqual(weights);
  });

  it('start with open forget gates and other biases at zero', () => {
    const bias = tensorOf(createTrainer(SMALL, 1).weights(), lstmLayout(SMALL).gatesBias);
    expect([...bias]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
  });
});

describe('wrong calls are refused with the field that is wrong', () => {
  const trainer = createTrainer(SMALL, 1);
  const rows = randomRows(SMALL, 4, 1);
  const [sequence, fixed, target] = rows;
  const infinite = trainer.weights().fill(Number.NaN, 3, 4);
  it.each<[string, string, () => unknown]>([
    ['an optimiser of another network', 'optimiser', () => trainer.setOptimiser(new Float32Array(3))],
    ['a batch that does not fit', 'sequence', () => trainer.step(...rows, 5, 0.1)],
    ['too few fixed', 'static', () => trainer.step(sequence, fixed.subarray(1), target, 4, 0.1)],
    ['too few targets', 'target', () => trainer.loss(sequence, fixed, target.subarray(1), 4)],
    [
      'no Float32Array',
      'sequence',
      () => trainer.predict(new Float64Array(48) as unknown as Float32Array, fixed, 4),
    ],
    ['batch 0', 'batch', () => trainer.predict(sequence, fixed, 0)],
    ['half a row', 'batch', () => trainer.predict(sequence, fixed, 3.5)],
    ['a huge batch', 'batch', () => trainer.step(...rows, 1e9, 0.1)],
    ['a NaN learning rate', 'learningRate', () => trainer.step(...rows, 4, Number.NaN)],
    ['weights of another shape', 'weights', () => trainer.setWeights(new Float32Array(3))],
    ['weights that are not finite', 'weights', () => trainer.setWeights(infinite)],
    ['a shape without steps', 'shape.steps', () => createTrainer({ ...SMALL, steps: 0 }, 1)],
    ['an enormous shape', 'shape', () => createTrainer({ ...SMALL, hidden: 4096, embed: 4096 }, 1)],
    ['a negative seed', 'seed', () => createTrainer(SMALL, -1)],
    ['a weight decay above 1', 'options.weightDecay', () => createTrainer(SMALL, 1, { weightDecay: 2 })],
    [
      'an unknown instruction set',
      'options.instructionSet',
      () => createTrainer(SMALL, 1, { instructionSet: 'mmx' }),
    ],
    ['a check of a large network', 'shape', () => gradientCheck(networkShape(60), 2, 1)],
  ])('%s', (_, field, call) => {
    let thrown: unknown;
    try {
      call();
    } catch (error) {
      thrown = error;
    }
    expect(isCorecastError(thrown, 'INVALID_ARGUMENT')).toBe(true);
    if (isCorecastError(thrown)) expect(thrown.details.violations?.[0]?.field).toBe(field);
  });
});

type Rows = [sequence: Float32Array, fixed: Float32Array, target: Float32Array];

function randomRows(shape: NetworkShape, batch: number, seed: number): Rows {
  const random = seededRandom(seed);
  return [
    uniform(random, batch * shape.steps * shape.sequenceFeatures, 1),
    uniform(random, batch * shape.staticFeatures, 1),
    uniform(random, batch * shape.targets, 1),
  ];
}

/** The weights of one target's three outputs. */
function outRow(weights: Float32Array, target: number): number[] {
  const layout = lstmLayout(SMALL);
  const out = tensorOf(weights, layout.out);
  const bias = tensorOf(weights, layout.outBias);
  return [0, 1, 2].flatMap((plane) => {
    const row = plane * SMALL.targets + target;
    const columns = Array.from({ length: SMALL.head }, (_, c) => out[c * layout.out.rows + row]!);
    return [...columns, bias[row]!];
  });
}

function pinballByHand(
  trainer: LstmTrainer,
  shape: NetworkShape,
  sequence: Float32Array,
  fixed: Float32Array,
  target: Float32Array,
): number {
  const quantiles = trainer.predict(sequence, fixed, target.length / shape.targets);
  let sum = 0;
  let known = 0;
  for (const [i, y] of target.entries()) {
    if (Number.isNaN(y)) continue;
    known += 3;
    for (const [j, level] of [0.5, 0.9, 0.99].entries()) {
      const miss = y - quantiles[i * 3 + j]!;
      sum += Math.max(level * miss, (level - 1) * miss);
    }
  }
  return sum / known;
}
