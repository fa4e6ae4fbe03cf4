import { describe, expect, it } from 'vitest';
import { hostLoadForecast } from '../../src/forecast/host-load.js';

const hostAt = (busy: readonly number[]) => busy.map((share) => ({ busy: share }));
const NOTHING = { q50: 0, q90: 0, q99: 0 };

describe('the host load without a model', () => {
  it('is what the host did over the window, plus the channel’s share of all CPUs', () => {
    const load = hostLoadForecast(hostAt([0.3, 0.32, 0.28, 0.3]), { q50: 1, q90: 1.5, q99: 2 }, 4);
    expect(load.q50).toBeCloseTo(0.55, 9);
    expect(load.q90).toBeGreaterThan(0.3 + 1.5 / 4);
    expect(load.q99).toBeGreaterThan(load.q90);
  });

  it('is not set by one burst, which only makes it less certain', () => {
    const calm = hostLoadForecast(hostAt(new Array(12).fill(0.2)), NOTHING, 4);
    const burst = hostLoadForecast(hostAt([...new Array(11).fill(0.2), 0.9]), NOTHING, 4);
    expect(burst.q50).toBeCloseTo(calm.q50, 9);
    expect(burst.q90).toBeGreaterThan(calm.q90 + 0.1);
  });

  it('follows a level that stays', () => {
    const risen = hostLoadForecast(
      hostAt([...new Array(6).fill(0.2), ...new Array(6).fill(0.6)]),
      NOTHING,
      4,
    );
    expect(risen.q50).toBeCloseTo(0.4, 9);
  });

  it.each([[[]], [[Number.NaN]], [[0.5]], [[0.5, 0.7]]])('copes with a window of %j', (busy) => {
    const { q50, q90, q99 } = hostLoadForecast(hostAt(busy), NOTHING, 4);
    expect(q50).toBeGreaterThanOrEqual(0);
    expect(q50).toBeLessThanOrEqual(0.6);
    expect(q90).toBeGreaterThan(q50);
    expect(q99).toBeGreaterThan(q90);
    expect(q99).toBeLessThanOrEqual(1);
  });

  it('never exceeds the whole host nor falls below none of it', () => {
    const much = { q50: 1, q90: 1.5, q99: 2 };
    expect(hostLoadForecast([], much, 1)).toEqual({ q50: 1, q90: 1, q99: 1 });
    expect(hostLoadForecast(hostAt([0.1, 0.1]), { q50: -2, q90: -2, q99: -2 }, 1).q50).toBe(0);
  });
});
