import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCalibration } from '../../src/forecast/calibration.js';
import type { Forecast } from '../../src/forecast/forecast.js';
import { HORIZONS } from '../../src/forecast/forecast.js';
import { seededRandom } from '../support/seeded-random.js';

const forecast: Forecast = {
  source: 'lstm',
  modelId: 'm',
  cpuCount: 1,
  horizons: HORIZONS.map(({ fromS, toS }) => ({
    fromS,
    toS,
    demand: { q50: 1, q90: 1.2, q99: 1.4 },
    coreUsage: [{ q50: 0.5, q90: 0.6, q99: 0.7 }],
    hostLoad: { q50: 0.2, q90: 0.3, q99: 0.4 },
  })),
  notes: [],
};

/** Log-normal outcomes; the scale jumps in the middle, so that what the model believes is wrong twice. */
function coverageOf(
  seed: number,
  first: number,
  second: number,
  outcomes: number,
): { q90: number; q99: number } {
  const random = seededRandom(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const calibration = createCalibration({ nowMs: () => 0 });
  let [q90, q99] = [0, 0];
  for (let i = 0; i < outcomes; i++) {
    const issued = calibration.correct(forecast, 'x264');
    const scale = i < outcomes / 2 ? first : second;
    const demand = scale * Math.exp(0.25 * normal());
    if (demand <= issued.horizons[1]!.demand.q90) q90++;
    if (demand <= issued.horizons[1]!.demand.q99) q99++;
    calibration.observe(issued, 'x264', 1, demand);
  }
  return { q90: q90 / outcomes, q99: q99 / outcomes };
}

describe('the online calibration', () => {
  it('brings the 0.9 quantile to 0.9 +- 0.03 coverage on a stream whose scale jumps, for any seed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e6 }),
        fc.double({ min: 0.7, max: 2, noNaN: true }),
        fc.double({ min: 0.7, max: 2, noNaN: true }),
        (seed, first, second) => {
          const { q90, q99 } = coverageOf(seed, first, second, 2_000);
          expect(Math.abs(q90 - 0.9)).toBeLessThan(0.03);
          expect(Math.abs(q99 - 0.99)).toBeLessThan(0.01);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('would miss it without the correction', () => {
    const random = seededRandom(1);
    const outcomes = Array.from({ length: 500 }, () => 1.5 * (0.8 + 0.4 * random()));
    expect(outcomes.filter((demand) => demand <= 1.2).length / outcomes.length).toBeLessThan(0.2);
  });

  it('keeps quantiles ordered and finite whatever is observed', () => {
    const demand = fc.oneof(
      fc.double({ min: 0, max: 1e6 }),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1, 0),
    );
    fc.assert(
      fc.property(fc.array(demand, { maxLength: 200 }), (demands) => {
        const calibration = createCalibration({ nowMs: () => 0 });
        for (const value of demands) {
          const issued = calibration.correct(forecast, 'x265');
          for (const { demand: q } of issued.horizons) {
            expect(q.q50 > 0 && q.q50 <= q.q90 && q.q90 <= q.q99 && q.q99 < 1e3).toBe(true);
          }
          calibration.observe(issued, 'x265', 0, value);
        }
      }),
      { numRuns: 100 },
    );
  });
});
