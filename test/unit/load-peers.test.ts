import { describe, expect, it } from 'vitest';
import { fitEwma, fitRidge, loadPeers } from '../../src/feedback/load-peers.js';
import { LEAST_HISTORY, methodErrors, networkErrors, spanErrors } from '../../src/feedback/load-scores.js';
import type { LoadSeries } from '../../src/feedback/load-series.js';
import { type Random, seededRandom } from '../../src/feedback/random.js';
import { LOAD_HORIZONS } from '../../src/forecast/load-window.js';

/** level(t) = 20 + keep (level(t - 1) - 20) + noise of up to 5 points either way. */
function autoregressive(keep: number, random: Random, count = 8): LoadSeries[] {
  return Array.from({ length: count }, (_, i) => {
    let level = 20;
    const load = Float64Array.from({ length: 300 }, () => {
      level = 20 + keep * (level - 20) + 10 * (random() - 0.5);
      return level;
    });
    return { machine: `m${i}`, load };
  });
}

describe('the plain methods', () => {
  const peers = loadPeers(autoregressive(0.5, seededRandom(1)), [1, 12], 1);
  const history = Float64Array.from({ length: 14 }, (_, i) => i);

  it('repeat the last value and the mean of the last twelve', () => {
    expect(peers['last_value']!(history, 1)).toBe(13);
    expect(peers['mean_12']!(history, 1)).toBe(7.5);
  });

  it('forecast from a single sample', () => {
    for (const [name, method] of Object.entries(peers)) {
      expect(method(Float64Array.of(20), 12), name).toBeGreaterThan(15);
      expect(method(Float64Array.of(20), 12), name).toBeLessThan(25);
    }
  });

  it('weigh the newest sample fully on a walk, and little on noise', () => {
    const jump = Float64Array.from({ length: 40 }, (_, i) => (i < 39 ? 20 : 30));
    expect(fitEwma(autoregressive(1, seededRandom(2)), [1])(jump, 1)).toBeGreaterThan(28);
    expect(fitEwma(autoregressive(0, seededRandom(3)), [1])(jump, 1)).toBeLessThan(21);
  });

  it('find the coefficient of an autoregression', () => {
    const ridge = fitRidge(autoregressive(0.5, seededRandom(4), 40), [1, 2], 1);
    const calm = new Float64Array(12).fill(20);
    const risen = calm.map((x, i) => (i === 11 ? 30 : x));
    // Up to the penalty: 5 is left of a rise of 10 after one sample, 2.5 after two.
    const left = (ahead: number) => ridge(risen, ahead) - ridge(calm, ahead);
    expect(ridge(calm, 1)).toBeCloseTo(20, 0);
    expect(Math.abs(left(1) - 5)).toBeLessThan(0.8);
    expect(Math.abs(left(2) - 2.5)).toBeLessThan(0.8);
  });
});

describe('errors', () => {
  const load = Float64Array.from({ length: 20 }, (_, i) => 2 * i);
  const series = [{ machine: 'm', load }];
  const last = (history: Float64Array) => history.at(-1)!;

  it('count every position with enough past and an outcome', () => {
    expect(methodErrors(last, series, 1)).toEqual({ forecasts: 8, absolute: 16, covered90: 0 });
    expect(methodErrors(last, series, 4)).toEqual({ forecasts: 5, absolute: 40, covered90: 0 });
    expect(methodErrors(last, series, 1, 1).forecasts).toBe(19);
  });

  it('of a span are those of its mean', () => {
    // Windows of 12 end at 22 to 32; the mean of the 2nd to 4th from there is 6 more than the last.
    const errors = spanErrors(
      (window) => ({ q50: last(window), q90: last(window) + 6 }),
      series,
      { first: 2, last: 4 },
      12,
    );
    expect(errors).toEqual({ forecasts: 5, absolute: 30, covered90: 5 });
  });

  it('are the same for a network that gives the same forecasts', async () => {
    const twice = [...series, ...series];
    const quantiles = { q50: 30, q90: 32, q99: 40 };
    const forecaster = {
      forecast: async (windows: readonly unknown[]) => windows.map(() => LOAD_HORIZONS.map(() => quantiles)),
      close: async () => {},
    };
    const errors = await networkErrors(forecaster, twice);
    for (const [h, ahead] of LOAD_HORIZONS.entries()) {
      const plain = methodErrors(() => quantiles.q50, twice, ahead);
      expect(errors[h]!.forecasts).toBe(plain.forecasts);
      expect(errors[h]!.absolute).toBeCloseTo(plain.absolute, 9);
    }
    // Outcomes 24 to 38 by twos: five of the eight are at or below 32.
    expect(errors[0]!.covered90).toBe(2 * 5);
    expect(LEAST_HISTORY).toBe(12);
  });
});
