import { describe, expect, it } from 'vitest';
import { fitLoadModel } from '../../src/feedback/load-fit.js';
import { meanAbsolute, methodErrors, networkErrors } from '../../src/feedback/load-scores.js';
import type { LoadSeries } from '../../src/feedback/load-series.js';
import { seededRandom } from '../../src/feedback/random.js';
import { openLoadForecaster, toResolution } from '../../src/forecast/load-forecast.js';
import { nestedMedians } from '../../src/forecast/load-window.js';

/** A load that is high every third sample, on a level of its own. */
function pulsing(from: number, to: number): LoadSeries[] {
  const random = seededRandom(from + 1);
  return Array.from({ length: to - from }, (_, i) => {
    const level = 5 + Math.floor(40 * random());
    const phase = Math.floor(3 * random());
    const load = Float64Array.from({ length: 120 }, (_, t) => {
      return level + ((t + phase) % 3 === 0 ? 30 : 0) + Math.floor(3 * random());
    });
    return { machine: `m${from + i}`, load };
  });
}

describe('a load model', () => {
  const model = fitLoadModel(pulsing(0, 60), { seed: 1, members: 2 });

  it('forecasts through onnxruntime what no level can, on machines that it has not seen', async () => {
    const unseen = pulsing(100, 110);
    const forecaster = await openLoadForecaster(model);
    const [next] = await networkErrors(forecaster, unseen);
    await forecaster.close();
    const level = methodErrors(nestedMedians, unseen, 1);
    expect(meanAbsolute(level)).toBeGreaterThan(8);
    expect(meanAbsolute(next!)).toBeLessThan(0.5 * meanAbsolute(level));
  });

  it('gives whole percents where it learned from whole percents', () => {
    expect(model.resolution).toBe(1);
    expect(toResolution(12.4, model.resolution)).toBe(12);
    expect(toResolution(12.4, 0)).toBe(12.4);
  });

  it('is the same for the same machines and seed, and its members are not', () => {
    const few = pulsing(0, 10);
    const [first, second] = [1, 1].map((seed) => fitLoadModel(few, { seed, members: 2 }));
    expect(second).toEqual(first);
    expect(first!.members[0]).not.toEqual(first!.members[1]);
  });

  it('is refused too little to learn from, with the counts', () => {
    const one = [{ machine: 'm', load: new Float64Array(100) }];
    expect(() => fitLoadModel(one, { seed: 1, members: 1 })).toThrow('1 machines have 99 samples');
  });
});
