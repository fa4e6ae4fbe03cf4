import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  LOAD_SEQUENCE_FEATURES,
  LOAD_STATIC_FEATURES,
  LOAD_STEPS,
  LONGEST_HISTORY,
  loadOf,
  loadTarget,
  loadWindow,
  nestedMedians,
} from '../../src/forecast/load-window.js';

const percent = fc.integer({ min: 0, max: 100 });
const history = fc.array(percent, { minLength: 1, maxLength: 400 }).map((loads) => Float64Array.from(loads));

describe('a load window', () => {
  it('has the network’s lengths and only finite numbers, whatever the history', () => {
    fc.assert(
      fc.property(history, (loads) => {
        const { sequence, statics, centre, spread } = loadWindow(loads);
        expect(sequence).toHaveLength(LOAD_STEPS * LOAD_SEQUENCE_FEATURES);
        expect(statics).toHaveLength(LOAD_STATIC_FEATURES);
        expect([...sequence, ...statics].every(Number.isFinite)).toBe(true);
        expect(centre).toBeGreaterThanOrEqual(Math.min(...loads));
        expect(centre).toBeLessThanOrEqual(Math.max(...loads));
        expect(spread).toBeGreaterThanOrEqual(1);
      }),
    );
  });

  it('turns loads into the network’s unit and back', () => {
    fc.assert(
      fc.property(history, percent, (loads, load) => {
        const window = loadWindow(loads);
        expect(loadOf(window, loadTarget(window, load))).toBeCloseTo(load, 9);
      }),
    );
  });

  it('answers with no load below 0 or above 100', () => {
    const window = loadWindow(Float64Array.of(3, 90, 3));
    expect(loadOf(window, -1e6)).toBe(0);
    expect(loadOf(window, 1e6)).toBe(100);
  });

  it('is centred on nested medians, which a burst does not move', () => {
    const calm = Float64Array.from({ length: 60 }, (_, i) => 10 + (i % 3));
    const burst = calm.map((x, i) => (i > 56 ? 95 : x));
    expect(loadWindow(calm).centre).toBe(11);
    expect(loadWindow(burst).centre).toBeCloseTo(11, 0);
    expect(loadWindow(burst).centre).toBe(nestedMedians(burst));
  });

  it('takes the medians of the last 12, 24, 48 and of all samples', () => {
    const level = (count: number, load: number) => new Array<number>(count).fill(load);
    // 12: 8; 24: between 8 and 4; 48: 4; all 99: 0.
    const loads = Float64Array.from([...level(51, 0), ...level(36, 4), ...level(12, 8)]);
    expect(nestedMedians(loads)).toBe((8 + 6 + 4 + 0) / 4);
  });

  it('marks the steps of a short history that have no sample', () => {
    const { sequence } = loadWindow(Float64Array.of(20, 30));
    const present = Array.from(
      { length: LOAD_STEPS },
      (_, step) => sequence[step * LOAD_SEQUENCE_FEATURES + 2],
    );
    expect(present).toEqual([...new Array(LOAD_STEPS - 2).fill(0), 1, 1]);
    expect(sequence.at(-2)).toBeCloseTo(30 / 50, 6);
  });

  it('does not look beyond the longest history', () => {
    const recent = Float64Array.from({ length: LONGEST_HISTORY }, (_, i) => (i * 7) % 40);
    expect(loadWindow(Float64Array.from([99, 98, ...recent]))).toEqual(loadWindow(recent));
  });
});
