import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { estimateResponse, type MeasuredRun } from '../../src/forecast/host-response.js';
import { seededNormal } from '../support/seeded-random.js';

const NOISE = 0.05;

/** Runs of a machine with these weights: a factor (the loading 1) and components that act on each run differently. */
function runsOf(weights: readonly number[], count: number, seed = 1, noise = NOISE): MeasuredRun[] {
  const normal = seededNormal(seed);
  return Array.from({ length: count }, () => {
    const loadings = weights.map((_, k) => (k === 0 ? 1 : 0.2 * normal()));
    const expected = weights.reduce((sum, weight, k) => sum + weight * loadings[k]!, 0);
    return { logRatio: expected + noise * normal(), loadings, noise: NOISE };
  });
}

describe('the response of a host', () => {
  it('is none before anything was measured', () => {
    const { weights, logRatio } = estimateResponse(3, []);
    expect([...weights]).toEqual([0, 0, 0]);
    expect(logRatio([1, 5, -5])).toBe(0);
  });

  it('recovers a planted factor and components from many runs', () => {
    const planted = [0.7, -1.2, 0.8];
    const { weights } = estimateResponse(3, runsOf(planted, 2_000));
    for (const [k, weight] of planted.entries()) expect(weights[k]).toBeCloseTo(weight, 1.5);
  });

  it('shrinks the components to one factor when runs are few, and lets go as they grow', () => {
    const share = (count: number) => {
      const seeds = Array.from({ length: 40 }, (_, seed) => runsOf([0.7, 2], count, seed));
      const found = seeds.map((runs) => estimateResponse(2, runs).weights);
      return found.reduce((sum, weights) => sum + weights[1]! / 2, 0) / found.length;
    };
    const shares = [1, 3, 10, 100].map(share);
    expect(shares[0]).toBeLessThan(0.5);
    expect(shares[3]).toBeGreaterThan(0.97);
    expect([...shares].sort((a, b) => a - b)).toEqual(shares);
  });

  it('forecasts better than one factor from a dozen runs', () => {
    let ratio = 0;
    for (let seed = 0; seed < 20; seed++) {
      const unseen = runsOf([0.4, 1, -1], 200, seed + 1_000, 0);
      const runs = runsOf([0.4, 1, -1], 12, seed);
      const response = estimateResponse(3, runs);
      const factor = runs.reduce((sum, { logRatio }) => sum + logRatio, 0) / runs.length;
      const miss = (of: (run: MeasuredRun) => number) =>
        unseen.reduce((sum, run) => sum + Math.abs(run.logRatio - of(run)), 0);
      ratio += miss(({ loadings }) => response.logRatio(loadings)) / miss(() => factor) / 20;
    }
    expect(ratio).toBeLessThan(0.35);
  });

  it('is moved little by one run in ten that met another job', () => {
    const runs = runsOf([0.3, 1], 40);
    const disturbed = runs.map((run, i) => (i % 10 === 0 ? { ...run, logRatio: run.logRatio - 2 } : run));
    const [calm, loud] = [estimateResponse(2, runs), estimateResponse(2, disturbed)];
    expect(Math.abs(calm.logRatio([1, 0]) - loud.logRatio([1, 0]))).toBeLessThan(0.02);
    expect(Math.abs(calm.logRatio([1, 0.2]) - loud.logRatio([1, 0.2]))).toBeLessThan(0.03);
  });

  it('trusts a run by its noise', () => {
    const sure = { logRatio: 0, loadings: [1], noise: 0.01 };
    const unsure = { logRatio: 1, loadings: [1], noise: 1 };
    expect(Math.abs(estimateResponse(1, [sure, unsure]).logRatio([1]))).toBeLessThan(1e-3);
  });
});

describe('for any runs', () => {
  const run = fc.record({
    logRatio: fc.double({ min: -5, max: 5, noNaN: true }),
    loadings: fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 3, maxLength: 3 }),
    noise: fc.double({ min: 0.01, max: 2, noNaN: true }),
  });
  const anyRuns = fc.array(run, { maxLength: 30 });
  const CONTRADICTION = [
    { logRatio: -0.05518, loadings: [2.874939, 0, 0], noise: 0.01 },
    { logRatio: 0, loadings: [-2.875916, 0, 0], noise: 0.01 },
  ];

  it('the estimate is the most probable one: no step away lowers the penalised loss', () => {
    fc.assert(
      fc.property(
        anyRuns,
        fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }),
        (runs, step) => {
          const { weights } = estimateResponse(3, runs);
          const at = penalisedLoss([...weights], runs);
          for (const scale of [1, 0.1, 0.01]) {
            const moved = [...weights].map((weight, k) => weight + scale * step[k]!);
            expect(penalisedLoss(moved, runs)).toBeGreaterThanOrEqual(at - 1e-4 * (1 + at));
          }
        },
      ),
      // Two sure runs that contradict each other: the loss is nearly flat between what they say.
      { examples: [[CONTRADICTION, [0.4846, 0, 0]]] },
    );
  });

  it('the order of the runs does not matter', () => {
    fc.assert(
      fc.property(anyRuns, (runs) => {
        const forth = estimateResponse(3, runs).weights;
        const back = estimateResponse(3, [...runs].reverse()).weights;
        for (let k = 0; k < 3; k++) expect(back[k]).toBeCloseTo(forth[k]!, 3);
      }),
    );
  });

  function penalisedLoss(weights: readonly number[], runs: readonly MeasuredRun[]): number {
    const huber = 1.345;
    const losses = runs.map(({ logRatio, loadings, noise }) => {
      const error = Math.abs(logRatio - weights.reduce((sum, w, k) => sum + w * loadings[k]!, 0)) / noise;
      return error <= huber ? error ** 2 / 2 : huber * (error - huber / 2);
    });
    return [...losses, ...weights.map((weight) => weight ** 2 / 2)].reduce((a, b) => a + b, 0);
  }
});
