import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCalibration } from '../../src/forecast/calibration.js';
import {
  ALPHAS,
  CLASS_STEPS,
  expectationOf,
  LEAST_THETA,
  learn,
  MOST_THETA,
  moved,
  NO_PRIOR,
  newTrack,
} from '../../src/forecast/calibration-track.js';
import { modelForecast, normals, Replay, X264_LIGHT } from '../support/calibration-streams.js';

const CLASS = { family: 'x264', name: 'x264/light' } as const;
const raw = modelForecast(1, 0.2).horizons[0]!.demand;

/** Misses of each quantile over outcomes of channels that come back now and then, and the weight of each outcome. */
function missesOf(demands: readonly number[], channels: number) {
  const track = newTrack();
  const misses = [0, 0, 0];
  let weight = 0;
  for (const [i, demand] of demands.entries()) {
    const expected = expectationOf(track, CLASS, NO_PRIOR, 0.2);
    const { q50, q90, q99 } = moved(raw, expected);
    const before = track.clock;
    learn(track, CLASS, expected, { raw, demand, channel: `channel-${i % channels}` });
    weight += track.clock - before;
    for (const [j, quantile] of [q50, q90, q99].entries())
      if (demand > quantile) misses[j]! += track.clock - before;
  }
  return { misses, weight, theta: track.classes.get(CLASS.name)!.theta };
}

describe('the guarantee of a class', () => {
  /** Arbitrary, and made to be missed: long runs, alternations, drifts. */
  const demands = fc.oneof(
    fc.array(fc.double({ min: 0.6, max: 1.7, noNaN: true }), { minLength: 50, maxLength: 400 }),
    fc
      .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 50, max: 400 }))
      .map(([period, length]) =>
        Array.from({ length }, (_, i) => (Math.floor(i / period) % 2 === 0 ? 0.7 : 1.6)),
      ),
    fc.integer({ min: 50, max: 400 }).map((length) => Array.from({ length }, (_, i) => 0.6 + i / length)),
  );

  it('holds for any outcomes: misses differ from alpha by the range of theta over step and weight', () => {
    fc.assert(
      fc.property(demands, fc.integer({ min: 3, max: 1_000 }), (outcomes, channels) => {
        const { misses, weight, theta } = missesOf(outcomes, channels);
        for (const j of [0, 1, 2] as const) {
          const clamped = theta[j] <= LEAST_THETA || theta[j] >= MOST_THETA;
          expect(clamped).toBe(false);
          const off = misses[j]! / weight - ALPHAS[j];
          // The identity behind the bound: what was missed too often stands in theta, to the last outcome.
          expect(off * weight * CLASS_STEPS[j]).toBeCloseTo(theta[j], 9);
          expect(Math.abs(off)).toBeLessThanOrEqual((MOST_THETA - LEAST_THETA) / (CLASS_STEPS[j] * weight));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('is within two points of 0.9, and one of 0.99, over 2,000 outcomes of any bias, spread and shift', () => {
    const bias = fc.double({ min: 0.6, max: 1.7, noNaN: true });
    const spread = fc.double({ min: 0.08, max: 0.5, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), bias, bias, spread, (seed, first, second, believed) => {
        const normal = normals(seed);
        const outcomes = Array.from(
          { length: 2_000 },
          (_, i) => (i < 1_000 ? first : second) * Math.exp(0.2 * normal()),
        );
        const replay = new Replay();
        for (const demand of outcomes) replay.tell(demand, { spread: believed });
        expect(Math.abs(replay.coverage() - 0.9)).toBeLessThan(0.02);
        const q99 = replay.calibration.coverage().find((one) => one.horizon === 0 && one.quantile === 0.99)!;
        expect(Math.abs(q99.covered / q99.observed - 0.99)).toBeLessThan(0.01);
      }),
      { numRuns: 25 },
    );
  });

  it('would be missed without the correction', () => {
    const normal = normals(1);
    const outcomes = Array.from({ length: 500 }, () => 1.4 * Math.exp(0.2 * normal()));
    expect(outcomes.filter((demand) => demand <= raw.q90).length / outcomes.length).toBeLessThan(0.5);
  });
});

describe('the online calibration', () => {
  const demand = fc.oneof(
    fc.double({ min: 0, max: 1e6 }),
    fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1, 0, 1e-300, 1e300),
  );

  it('keeps quantiles ordered, finite and within its bounds whatever is observed', () => {
    fc.assert(
      fc.property(
        fc.array(demand, { maxLength: 200 }),
        fc.integer({ min: 0, max: 2 }),
        (demands, horizon) => {
          const replay = new Replay();
          for (const value of demands) {
            for (const { demand: q } of replay.forecast().horizons) {
              expect(q.q50 > 0.2 && q.q50 <= q.q90 && q.q90 <= q.q99 && q.q99 < 100).toBe(true);
            }
            replay.tell(value, { horizon, channel: '' });
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('goes on from its saved state as if it had never stopped', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { maxLength: 80 }), (demands) => {
        const first = new Replay();
        for (const value of demands) first.tell(value);
        const second = new Replay(JSON.parse(JSON.stringify(first.calibration.state())));
        second.nowMs = first.nowMs;
        for (const value of [1, 2, 0.5, 1]) {
          const [a, b] = [first.forecast(), second.forecast()].map(({ horizons }) => horizons[0]!.demand);
          expect(b!.q50 / a!.q50).toBeCloseTo(1, 4);
          expect(b!.q99 / a!.q99).toBeCloseTo(1, 4);
          first.tell(value, { channel: 'x' });
          second.tell(value, { channel: 'x' });
        }
        expect(second.calibration.coverage().length).toBe(first.calibration.coverage().length);
      }),
      { numRuns: 50 },
    );
  });

  it('begins anew from anything that is not its state', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.jsonValue()), (saved) => {
        const calibration = createCalibration({ saved, nowMs: () => 0 });
        expect(calibration.coverage()).toEqual([]);
        const forecast = modelForecast(1, 0.2);
        expect(calibration.correct([forecast], X264_LIGHT)[0]!.horizons).toEqual(forecast.horizons);
      }),
      { numRuns: 200 },
    );
  });
});
